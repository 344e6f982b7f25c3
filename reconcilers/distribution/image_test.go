package distribution

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseImage(t *testing.T) {
	tests := map[string]struct {
		reason string
		in     string
		want   Image
		err    string
	}{
		"Full": {
			reason: "Port, tag and digest are told apart.",
			in:     "localhost:5000/weir:dev@" + testDigest,
			want:   Image{Repository: "localhost:5000/weir", Tag: "dev", Digest: testDigest},
		},
		"NoTag": {
			reason: "The port is no tag.",
			in:     "localhost:5000/weir@" + testDigest,
			want:   Image{Repository: "localhost:5000/weir", Digest: testDigest},
		},
		"TagOnly": {
			reason: "The repository is kept as written: no docker.io is added.",
			in:     "weir:v1",
			want:   Image{Repository: "weir", Tag: "v1"},
		},
		"Malformed": {
			reason: "What no runtime would pull is refused at once.",
			in:     "Not An Image",
			err:    `parse image reference "Not An Image": could not parse reference: Not An Image`,
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := ParseImage(tc.in)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s\n(-want +got):\n%s", tc.reason, diff)
			}
			if tc.err != "" {
				if diff := cmp.Diff(tc.err, fmt.Sprint(err)); diff != "" {
					t.Errorf("%s\n(-want +got):\n%s", tc.reason, diff)
				}
				return
			}
			if diff := cmp.Diff(tc.in, got.String()); diff != "" {
				t.Errorf("%s\n(-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestComponentImage(t *testing.T) {
	own := Image{Repository: "example.com/team/operator", Tag: "v0.1.0", Digest: testDigest}
	tests := map[string]struct {
		reason   string
		own      Image
		registry string
		want     string
	}{
		"Upstream":      {"A manifest for upstream Flux works as it is.", own, "ghcr.io/fluxcd", "example.com/team/operator:v0.1.0@" + testDigest},
		"DockerHub":     {"The short name of Docker Hub is one of them.", own, "fluxcd", "example.com/team/operator:v0.1.0@" + testDigest},
		"Enterprise":    {"So is each variant of the enterprise builds.", own, "ghcr.io/controlplaneio-fluxcd/distroless", "example.com/team/operator:v0.1.0@" + testDigest},
		"Slash":         {"A trailing slash makes no other registry.", own, "ghcr.io/fluxcd/", "example.com/team/operator:v0.1.0@" + testDigest},
		"Mirror":        {"Any other registry mirrors Weir's image, under its name.", own, "mirror.example.com:5000/x", "mirror.example.com:5000/x/weir:v0.1.0@" + testDigest},
		"LooksAlike":    {"A registry is recognised by its whole name.", own, "evil.example.com/ghcr.io/fluxcd", "evil.example.com/ghcr.io/fluxcd/weir:v0.1.0@" + testDigest},
		"DigestOnly":    {"Clients require a tag; beside a digest it decides nothing.", Image{Repository: "r/weir", Digest: testDigest}, "fluxcd", "r/weir:v2.9.5@" + testDigest},
		"NoTagNoDigest": {"Without a digest no tag is made up: it would be another image.", Image{Repository: "r/weir"}, "fluxcd", "r/weir"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, componentImage(tc.own, tc.registry, "v2.9.5").String()); diff != "" {
				t.Errorf("%s\n(-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestCanonical(t *testing.T) {
	for repository, want := range map[string]string{
		"fluxcd/source-controller":           "index.docker.io/fluxcd/source-controller",
		"docker.io/fluxcd/source-controller": "index.docker.io/fluxcd/source-controller",
		"ghcr.io/fluxcd/source-controller":   "ghcr.io/fluxcd/source-controller",
		"mirror.example.com:5000/x/weir":     "mirror.example.com:5000/x/weir",
		"localhost:5000/weir":                "localhost:5000/weir",
		"Not a repository":                   "Not a repository",
	} {
		if got := (Image{Repository: repository, Tag: "v1"}).Canonical(); got != want {
			t.Errorf("%q is told as %q, want %q", repository, got, want)
		}
	}
}

func TestCheckUpgrade(t *testing.T) {
	tests := map[string]struct {
		reason   string
		from, to string
		want     string
	}{
		"First":     {"The first installation is no downgrade.", "", "v2.9.5@" + testDigest, "<nil>"},
		"Same":      {"A new build of the same version is an upgrade.", "v2.9.5@sha256:1", "v2.9.5@sha256:2", "<nil>"},
		"Minor":     {"Minor versions may be skipped upwards.", "v2.6.4@sha256:1", "v2.9.5", "<nil>"},
		"Major":     {"A new major version with a lower minor is an upgrade.", "v2.9.5@sha256:1", "v3.0.0", "<nil>"},
		"Patch":     {"Going back within a minor version is how one leaves a bad patch.", "v2.9.5@sha256:1", "v2.9.4", "<nil>"},
		"MinorDown": {"A lower minor version does not know what is stored.", "v2.10.0@sha256:1", "v2.9.5", "downgrading from 2.10.0 to 2.9.5 is not supported, reinstall needed"},
		"MajorDown": {"Neither does a lower major version.", "v3.0.0@sha256:1", "v2.9.5", "downgrading from 3.0.0 to 2.9.5 is not supported, reinstall needed"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, fmt.Sprint(CheckUpgrade(tc.from, tc.to))); diff != "" {
				t.Errorf("%s\n(-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}
