package registry

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

func TestWeigh(t *testing.T) {
	cases := map[string]struct {
		reason     string
		repository string
		keys       []string // the best one comes first
		none       []string // that do not fit
	}{
		"Host": {
			reason: "The more is known, the better.", repository: "r.test:5000/org/app",
			keys: []string{
				"r.test:5000/org/app", "https://r.test:5000/org", "*.test:5000/org", "R.test:5000", "*.test:5000",
			},
			none: []string{"r.test", "r.test:5001", "other.test:5000", "r.test:5000/or", "r.test:5000/org/app/x", "*.r.test:5000", ""},
		},
		"DockerHub": {
			reason: "Docker Hub has many names.", repository: "docker.io/org/app",
			keys: []string{"docker.io/org", "https://index.docker.io/v1/"},
			none: []string{"hub.docker.com", "docker.test"},
		},
		"AnyPort": {
			reason: "A pattern without a port fits any.", repository: "a.r.test:5000/app",
			keys: []string{"a.r.test:5000", "*.r.test"}, none: []string{"*.test", "a.r.test", "[.r.test"},
		},
		"Address": {
			reason: "Addresses are what they are.", repository: "127.0.0.1:5000/app", keys: []string{"127.0.0.1:5000"},
			none: []string{"127.0.0.1", "127.0.0.2:5000"},
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			n, err := ParseName(tc.repository, false)
			if err != nil {
				t.Fatal(err)
			}

			last := 1 << 30
			for _, key := range tc.keys {
				if w := weigh(key, n); w == 0 || w >= last {
					t.Errorf("%s\n%q weighs %d, and the one before %d", tc.reason, key, w, last)
				} else {
					last = w
				}
			}

			for _, key := range tc.none {
				if w := weigh(key, n); w != 0 {
					t.Errorf("%s\n%q weighs %d", tc.reason, key, w)
				}
			}
		})
	}
}

func TestParseChallenges(t *testing.T) {
	cases := map[string]struct {
		header string
		want   []challenge
	}{
		"Bearer": {
			header: `Bearer realm="https://auth.test/token",service="r",scope="repository:a/b:pull,push"`,
			want: []challenge{{"bearer", map[string]string{
				"realm": "https://auth.test/token", "service": "r", "scope": "repository:a/b:pull,push",
			}}},
		},
		"Basic": {header: `Basic realm="a \"b\""`, want: []challenge{{"basic", map[string]string{"realm": `a "b"`}}}},
		"Many": {
			header: `Negotiate, Basic realm=x , BEARER realm="y"`,
			want: []challenge{
				{"negotiate", map[string]string{}}, {"basic", map[string]string{"realm": "x"}},
				{"bearer", map[string]string{"realm": "y"}},
			},
		},
		"Spaces": {header: `Basic realm = "x", a=b`, want: []challenge{{"basic", map[string]string{"realm": "x", "a": "b"}}}},
		"Open":   {header: `Basic realm="x`, want: []challenge{{"basic", map[string]string{"realm": "x"}}}},
		"None":   {header: ``},
		"Broken": {header: `="x"`},
		"Orphan": {header: `a=b, Basic`, want: []challenge{{"basic", map[string]string{}}}},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, parseChallenges(tc.header), cmp.AllowUnexported(challenge{})); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func FuzzChallenges(f *testing.F) {
	for _, seed := range []string{
		`Bearer realm="https://auth.test/token",service="r",scope="repository:a/b:pull"`, `Basic realm="a \"b\""`,
		`Negotiate, Basic realm=x , BEARER realm="y"`, `="x"`, `a=b, Basic`, "Basic \x80=\"", `Bearer realm="`,
	} {
		f.Add(seed)
	}

	f.Fuzz(func(t *testing.T, header string) {
		for _, c := range parseChallenges(header) {
			if c.scheme == "" || c.params == nil || strings.ContainsAny(c.scheme, " \t\",=") {
				t.Errorf("%q: challenge %+v", header, c)
			}
		}
	})
}

const (
	aHash = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	bHash = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

	aLayer = `{"mediaType":"a/b","size":3,"digest":"` + aHash + `"}`
)

func TestReadManifest(t *testing.T) {
	const (
		manifestType = "application/vnd.oci.image.manifest.v1+json"
		indexType    = "application/vnd.oci.image.index.v1+json"
	)

	cases := map[string]struct {
		reason    string
		raw       string
		mediaType string
		layers    int
		children  int
		err       string
	}{
		"Manifest": {
			reason: "A manifest of OCI may say nothing of its type.",
			raw:    `{"schemaVersion":2,"config":` + aLayer + `,"layers":[` + aLayer + `]}`, mediaType: manifestType, layers: 1,
		},
		"Typed": {
			reason: "What it says itself counts.", mediaType: "text/plain; charset=utf-8",
			raw: `{"schemaVersion":2,"mediaType":"` + manifestType + `","config":` + aLayer + `,"layers":[` + aLayer + `]}`, layers: 1,
		},
		"Artifact": {
			reason: "Artifacts of ORAS have layers, and no more.", mediaType: manifestType,
			raw: `{"schemaVersion":2,"artifactType":"a/b","layers":[` + aLayer + `]}`, layers: 1,
		},
		"Index": {
			reason: "An index leads to others.", mediaType: indexType,
			raw: `{"schemaVersion":2,"manifests":[` + aLayer + `]}`, children: 1,
		},
		"Both": {
			reason: "What is both could be read in two ways.", mediaType: manifestType,
			raw: `{"schemaVersion":2,"manifests":[` + aLayer + `],"layers":[` + aLayer + `]}`, err: "is both a manifest and an index",
		},
		"IndexAsManifest": {
			reason: "An index that says it is a manifest.", mediaType: manifestType,
			raw: `{"schemaVersion":2,"manifests":[` + aLayer + `]}`, err: "holds nothing of it",
		},
		"ManifestAsIndex": {
			reason: "And the other way round.", mediaType: indexType,
			raw: `{"schemaVersion":2,"layers":[` + aLayer + `]}`, err: "holds nothing of it",
		},
		"Old": {
			reason: "The first version has other layers.", mediaType: "application/vnd.docker.distribution.manifest.v1+json",
			raw: `{"schemaVersion":1,"fsLayers":[]}`, err: "schema version 1 is not supported",
		},
		"NoJSON": {reason: "It is something else.", raw: `<html>`, err: "is no JSON object of a manifest"},
		"BadDigest": {
			reason: "Digests are digests.", mediaType: manifestType,
			raw: `{"schemaVersion":2,"layers":[{"digest":"sha256:../x"}]}`, err: "is no JSON object of a manifest",
		},
		"Negative": {
			reason: "Nothing is smaller than nothing.", mediaType: manifestType,
			raw: `{"schemaVersion":2,"layers":[{"size":-1,"digest":"` + aHash + `"}]}`, err: "negative size",
		},
		"NoDigest": {
			reason: "A layer has to have one.", mediaType: manifestType,
			raw: `{"schemaVersion":2,"layers":[{"size":1}]}`, err: "without a digest",
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			m, err := readManifest([]byte(tc.raw), tc.mediaType, v1.Hash{Algorithm: "sha256", Hex: "x"})
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Errorf("%s\nunexpected error: %v", tc.reason, err)
				}

				return
			}

			if err != nil || len(m.Layers) != tc.layers || len(m.children) != tc.children {
				t.Errorf("%s\nmanifest %+v: %v", tc.reason, m, err)
			}
		})
	}
}

func FuzzManifest(f *testing.F) {
	for _, seed := range []string{
		`{"schemaVersion":2,"config":` + aLayer + `,"layers":[` + aLayer + `],"annotations":{"a":"b"}}`,
		`{"schemaVersion":2,"manifests":[` + aLayer + `]}`,
		`{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","size":3,"digest":"` + bHash +
			`","platform":{"os":"linux","architecture":"amd64"}},{"mediaType":"application/vnd.oci.image.index.v1+json",` +
			`"digest":"` + aHash + `","platform":{"os":"unknown"}}]}`,
		`{"schemaVersion":2,"layers":null,"manifests":[]}`, `{"schemaVersion":1,"fsLayers":[]}`, `[]`, `{"layers":[{}]}`,
	} {
		f.Add([]byte(seed), "application/vnd.oci.image.manifest.v1+json")
		f.Add([]byte(seed), "application/vnd.oci.image.index.v1+json")
		f.Add([]byte(seed), "")
	}

	f.Fuzz(func(t *testing.T, raw []byte, mediaType string) {
		m, err := readManifest(raw, mediaType, v1.Hash{Algorithm: "sha256", Hex: "x"})
		if err != nil {
			return
		}

		if m.children != nil && m.Layers != nil {
			t.Error("it is both a manifest and an index")
		}

		for _, d := range append(m.Layers, m.children...) {
			if d.Size < 0 || d.Digest.Hex == "" {
				t.Errorf("descriptor %+v", d)
			}
		}

		if d, err := choose(m.children); err == nil && d.Hex == "" {
			t.Error("nothing was chosen")
		}
	})
}

func FuzzTags(f *testing.F) {
	for _, seed := range []string{
		`{"name":"a","tags":["a","b"]}`, `{"tags":null}`, `{"tags":[1]}`, `{"tags":{"a":[]}}`, `[]`, `{"a":{"tags":[]},"tags":[]}`,
	} {
		f.Add([]byte(seed))
	}

	f.Fuzz(func(t *testing.T, raw []byte) {
		l := tagList{limits: Limits{Tags: 3, TagBytes: 100}}
		_ = l.read(strings.NewReader(string(raw)))

		if len(l.tags) > 3 {
			t.Errorf("%d tags", len(l.tags))
		}
	})
}

func TestIsTag(t *testing.T) {
	for tag, want := range map[string]bool{
		"v1": true, "_": true, "1.0.0-rc.1_build": true, strings.Repeat("a", 128): true,
		"": false, ".a": false, "-a": false, "a/b": false, "a b": false, "a:b": false, "ä": false, strings.Repeat("a", 129): false,
	} {
		if got := isTag(tag); got != want {
			t.Errorf("isTag(%q) = %t", tag, got)
		}
	}
}
