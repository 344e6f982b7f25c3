package oci_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/opencontainers/go-digest"

	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/ingest"
	server "github.com/weir-dev/weir/test/registry"
)

func TestFirstRun(t *testing.T) {
	w := newWorld(t)
	s := serve(t, server.Options{})
	hash := pushFiles(t, s, "latest", map[string]string{"app.yaml": "a: 1\n", "bin/run*": "#!", ".git/config": "c"},
		map[string]string{
			"org.opencontainers.image.source": "https://git.test/app", "org.opencontainers.image.revision": "main@sha1:abc",
		})
	obj := object("app", s)
	revision := "latest@" + hash.String()

	got := w.bench(t, obj).run(t, obj)
	st := got.Object.Status

	expect(t, got.Object, meta.ReadyCondition, "True Succeeded: stored artifact for digest '"+revision+"'")
	expect(t, got.Object, meta.ArtifactInStorageCondition, "True Succeeded: stored artifact for digest '"+revision+"'")

	for _, typ := range []string{
		meta.ReconcilingCondition, meta.StalledCondition, meta.FetchFailedCondition, meta.SourceVerifiedCondition,
		meta.StorageOperationFailedCondition, meta.ArtifactOutdatedCondition,
	} {
		expect(t, got.Object, typ, "")
	}

	path := "ocirepository/apps/app/" + hash.String() + ".tar.gz"
	if st.Artifact.Path != path || st.Artifact.URL != "http://source.test/"+path || st.Artifact.Revision != revision {
		t.Errorf("artifact is %+v", st.Artifact)
	}

	if st.ObservedGeneration != 1 || st.URL != "http://source.test/ocirepository/apps/app/latest.tar.gz" {
		t.Errorf("status is %+v", st)
	}

	if st.Artifact.Metadata["org.opencontainers.image.source"] != "https://git.test/app" {
		t.Errorf("metadata are %v", st.Artifact.Metadata)
	}

	if diff := cmp.Diff([]string{"app.yaml 600 a: 1\n", "bin/", "bin/run 700 #!"}, w.files(t, st.Artifact)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}

	if linked, err := filepath.EvalSymlinks(filepath.Join(w.root, filepath.Dir(path), "latest.tar.gz")); err != nil ||
		filepath.Base(linked) != filepath.Base(path) {
		t.Errorf("latest.tar.gz is %q: %v", linked, err)
	}

	events := []string{"NewArtifact: stored artifact with revision '" + revision + "' from '" + obj.Spec.URL +
		"', origin source 'https://git.test/app', origin revision 'main@sha1:abc'"}
	if diff := cmp.Diff(events, reasons(got.Events)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}

	metadata := map[string]string{"revision": revision, "digest": st.Artifact.Digest, "originRevision": "main@sha1:abc"}
	if diff := cmp.Diff(metadata, got.Events[0].Metadata); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}

	if got.Result.RequeueAfter != time.Minute {
		t.Errorf("next run after %s", got.Result.RequeueAfter)
	}

	if diff := cmp.Diff(server.Counts{Pings: 1, Manifests: 1, Blobs: 1}, s.Counts()); diff != "" {
		t.Errorf("requests: -want +got:\n%s", diff)
	}
}

func TestReferences(t *testing.T) {
	tags := []string{"latest", "1.0.0", "1.1.0", "1.2.0-rc.1", "2.0.0_build.5", "v3", "nightly", "1.1.0-alpine"}

	cases := map[string]struct {
		reason   string
		ref      *sourcev1.OCIRepositoryRef
		selector *sourcev1.OCILayerSelector
		tag      string // that is found
		digest   bool   // the revision is a digest
		want     string // what Ready begins with, if that is no success
	}{
		"None":   {reason: "The tag latest is the default.", tag: "latest"},
		"Empty":  {reason: "An empty reference means the same.", ref: &sourcev1.OCIRepositoryRef{}, tag: "latest"},
		"Tag":    {reason: "A tag is taken as it is.", ref: &sourcev1.OCIRepositoryRef{Tag: "nightly"}, tag: "nightly"},
		"SemVer": {reason: "The highest version in the range.", ref: &sourcev1.OCIRepositoryRef{SemVer: "1.x"}, tag: "1.1.0"},
		"SemVerBeforeTag": {
			reason: "A range comes before a tag.",
			ref:    &sourcev1.OCIRepositoryRef{SemVer: "1.0.x", Tag: "nightly"}, tag: "1.0.0",
		},
		"PreRelease": {
			reason: "A range that names one takes pre-releases.",
			ref:    &sourcev1.OCIRepositoryRef{SemVer: ">=1.0.0-0 <2.0.0"}, tag: "1.2.0-rc.1",
		},
		"Filter": {
			reason: "Only tags that match count.",
			ref:    &sourcev1.OCIRepositoryRef{SemVer: ">=1.0.0-0", SemverFilter: ".*-alpine$"}, tag: "1.1.0-alpine",
		},
		"Short": {reason: "Versions may be short.", ref: &sourcev1.OCIRepositoryRef{SemVer: "3"}, tag: "v3"},
		"Chart": {
			reason: "Tags of charts have an underscore for the plus of a version.",
			ref:    &sourcev1.OCIRepositoryRef{SemVer: "2.0.x"}, tag: "2.0.0_build.5",
			selector: &sourcev1.OCILayerSelector{MediaType: string(server.HelmContent), Operation: "copy"},
		},
		"Underscore": {
			reason: "Elsewhere, that is no version.",
			ref:    &sourcev1.OCIRepositoryRef{SemVer: "2.0.x"}, want: "no match found for semver: 2.0.x",
		},
		"NoMatch": {
			reason: "No tag in the range.", ref: &sourcev1.OCIRepositoryRef{SemVer: ">=9"}, want: "no match found for semver: >=9",
		},
		"BadRange": {
			reason: "What is no range.", ref: &sourcev1.OCIRepositoryRef{SemVer: "one"}, want: "semver 'one' parse error: ",
		},
		"BadFilter": {
			reason: "What is no expression.", ref: &sourcev1.OCIRepositoryRef{SemVer: "1.x", SemverFilter: "("},
			want: "semverFilter '(' parse error: ",
		},
		"Digest": {
			reason: "A digest comes before all.",
			ref:    &sourcev1.OCIRepositoryRef{SemVer: "1.x", Tag: "nightly"}, tag: "1.0.0", digest: true,
		},
		"BadDigest": {
			reason: "What is no digest.", ref: &sourcev1.OCIRepositoryRef{Digest: "sha256:abc"},
			want: "'sha256:abc' is no digest",
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			s := serve(t, server.Options{})
			digests := map[string]v1.Hash{}

			for _, tag := range tags {
				content, err := server.Tarball(map[string]string{"tag": tag})
				check(t, err)

				mediaType := server.FluxContent
				if tc.selector != nil {
					mediaType = types.MediaType(tc.selector.MediaType)
				}

				img, err := server.Artifact{Layers: []server.Layer{{MediaType: mediaType, Content: content}}}.Image()
				check(t, err)

				digests[tag] = pushImage(t, s, tag, img)
			}

			if tc.digest {
				tc.ref.Digest = digests[tc.tag].String()
			}

			obj := object("app", s, func(s *sourcev1.OCIRepositorySpec) { s.Reference, s.LayerSelector = tc.ref, tc.selector })
			got := w.bench(t, obj).run(t, obj).Object

			if tc.want != "" {
				want := "False ReadOperationFailed: failed to determine the artifact tag for '" + obj.Spec.URL + "': " + tc.want
				expect(t, got, meta.ReadyCondition, want)
				expect(t, got, meta.FetchFailedCondition, "True"+strings.TrimPrefix(want, "False"))

				return
			}

			revision := tc.tag + "@" + digests[tc.tag].String()
			if tc.digest {
				revision = digests[tc.tag].String()
			}

			if !got.Status.Artifact.HasRevision(revision) {
				t.Errorf("%s\nwant %q, got %+v", tc.reason, revision, got.Status.Artifact)
			}
		})
	}
}

// TestNothingNew shows what an interval costs in which nothing happened.
func TestNothingNew(t *testing.T) {
	cases := map[string]struct {
		ref    sourcev1.OCIRepositoryRef
		pinned bool
		want   server.Counts
	}{
		"Tag":    {ref: sourcev1.OCIRepositoryRef{Tag: "1.0.0"}, want: server.Counts{Heads: 1}},
		"SemVer": {ref: sourcev1.OCIRepositoryRef{SemVer: "1.x"}, want: server.Counts{Heads: 1, Tags: 1}},
		"Digest": {pinned: true},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			s := serve(t, server.Options{Username: "u", Password: "p", Tokens: true})
			w.pullSecret("pull", s, "u", "p")

			hash := push(t, s, "1.0.0", "a: 1\n")
			if tc.pinned {
				tc.ref.Digest = hash.String()
			}

			obj := object("app", s, withRef(tc.ref), func(s *sourcev1.OCIRepositorySpec) {
				s.SecretRef = &meta.LocalObjectReference{Name: "pull"}
			})
			b := w.bench(t, obj)
			first := b.run(t, obj)
			expect(t, first.Object, meta.ReadyCondition, "True")

			before := s.Counts()

			w.clock.Advance(time.Minute)

			second := b.run(t, obj)
			if diff := cmp.Diff(tc.want, s.Counts().Since(before)); diff != "" {
				t.Errorf("requests: -want +got:\n%s", diff)
			}

			if len(second.Patches)+len(second.Events) != 0 {
				t.Errorf("%d patches, events %q", len(second.Patches), reasons(second.Events))
			}

			if diff := cmp.Diff(first.Object.Status, second.Object.Status); diff != "" {
				t.Errorf("-first +second:\n%s", diff)
			}
		})
	}
}

func TestNewRevision(t *testing.T) {
	w := newWorld(t)
	s := serve(t, server.Options{})
	push(t, s, "latest", "a: 1\n")

	obj := object("app", s)
	b := w.bench(t, obj)
	first := b.run(t, obj).Object.Status.Artifact

	hash := push(t, s, "latest", "a: 2\n")
	w.clock.Advance(time.Minute)

	before := s.Counts()
	got := b.run(t, obj)
	expect(t, got.Object, meta.ReadyCondition, "True Succeeded: stored artifact for digest 'latest@"+hash.String()+"'")

	if diff := cmp.Diff([]string{"app.yaml 600 a: 2\n"}, w.files(t, got.Object.Status.Artifact)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}

	if diff := cmp.Diff(server.Counts{Heads: 1, Manifests: 1, Blobs: 1}, s.Counts().Since(before)); diff != "" {
		t.Errorf("requests: -want +got:\n%s", diff)
	}

	// Those who are on their way to the old one still get it, until the next run after a while.
	check(t, w.store.Verify(first))
	w.clock.Advance(2 * time.Minute)

	third := b.run(t, obj)
	if err := w.store.Verify(first); err == nil {
		t.Error("the superseded artifact is still there")
	}

	if diff := cmp.Diff([]string{"GarbageCollectionSucceeded: garbage collected 1 artifacts"}, reasons(third.Events)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestLayers(t *testing.T) {
	content, err := server.Tarball(map[string]string{"app.yaml": "a: 1\n", "logo.png": "png", "dir/x.txt": "x"})
	check(t, err)

	plain := server.Layer{MediaType: "text/plain", Content: []byte("text")}
	files := server.Layer{MediaType: server.FluxContent, Content: content}

	cases := map[string]struct {
		reason   string
		layers   []server.Layer
		docker   bool
		config   types.MediaType
		selector *sourcev1.OCILayerSelector
		ignore   *string
		limits   ingest.Limits
		want     []string // files
		raw      []byte   // or the content of the artifact
		ready    string
	}{
		"First": {
			reason: "The first layer is unpacked, without what nobody wants.", layers: []server.Layer{files, plain},
			want: []string{"app.yaml 600 a: 1\n", "dir/", "dir/x.txt 600 x"},
		},
		"Ignore": {
			reason: "Rules of the object replace the default ones.", layers: []server.Layer{files}, ignore: new("dir/\n"),
			want: []string{"app.yaml 600 a: 1\n", "logo.png 600 png"},
		},
		"Docker": {
			reason: "Manifests of Docker are as good.", layers: []server.Layer{files}, docker: true,
			want: []string{"app.yaml 600 a: 1\n", "dir/", "dir/x.txt 600 x"},
		},
		"Config": {
			reason: "What the artifact says it is does not matter.", layers: []server.Layer{files}, config: "application/x",
			want: []string{"app.yaml 600 a: 1\n", "dir/", "dir/x.txt 600 x"},
		},
		"MediaType": {
			reason: "The first layer with the media type.", layers: []server.Layer{plain, files, plain},
			selector: &sourcev1.OCILayerSelector{MediaType: string(server.FluxContent)},
			want:     []string{"app.yaml 600 a: 1\n", "dir/", "dir/x.txt 600 x"},
		},
		"Copy": {
			reason: "A copy is the layer, byte for byte.", layers: []server.Layer{files, plain},
			selector: &sourcev1.OCILayerSelector{Operation: "copy"}, raw: content,
		},
		"CopyOther": {
			reason: "Also if it is no archive.", layers: []server.Layer{files, plain},
			selector: &sourcev1.OCILayerSelector{MediaType: "text/plain", Operation: "copy"}, raw: []byte("text"),
		},
		"NoSuchLayer": {
			reason: "No layer has the media type.", layers: []server.Layer{files},
			selector: &sourcev1.OCILayerSelector{MediaType: "text/html"},
			ready:    "False OCIArtifactLayerOperationFailed: failed to find layer with media type 'text/html' in artifact",
		},
		"NoLayer": {
			reason: "There is no layer.",
			ready:  "False OCIArtifactLayerOperationFailed: no layers found in artifact",
		},
		"NoArchive": {
			reason: "What is no archive cannot be unpacked.", layers: []server.Layer{plain},
			ready: "False OCIArtifactLayerOperationFailed: failed to extract layer contents from artifact: ",
		},
		"TooLarge": {
			reason: "Limits hold.", layers: []server.Layer{files}, limits: ingest.Limits{Entries: 2},
			ready: "False OCIArtifactLayerOperationFailed: failed to extract layer contents from artifact: ",
		},
		"TooLargeCopy": {
			reason: "For copies as well.", layers: []server.Layer{files}, limits: ingest.Limits{Bytes: 10},
			selector: &sourcev1.OCILayerSelector{Operation: "copy"},
			ready:    "False OCIArtifactLayerOperationFailed: failed to extract layer contents from artifact: it has ",
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.limits = tc.limits
			s := serve(t, server.Options{})

			img, err := server.Artifact{Layers: tc.layers, Docker: tc.docker, Config: tc.config}.Image()
			check(t, err)
			pushImage(t, s, "latest", img)

			obj := object("app", s, func(s *sourcev1.OCIRepositorySpec) { s.LayerSelector, s.Ignore = tc.selector, tc.ignore })
			got := w.bench(t, obj).run(t, obj).Object

			if tc.ready != "" {
				expect(t, got, meta.ReadyCondition, tc.ready)
				expect(t, got, meta.FetchFailedCondition, "True"+strings.TrimPrefix(tc.ready, "False"))

				if got.Status.Artifact != nil {
					t.Errorf("%s\nartifact %+v", tc.reason, got.Status.Artifact)
				}

				return
			}

			if tc.raw != nil {
				if raw := w.read(t, got.Status.Artifact); string(raw) != string(tc.raw) ||
					!got.Status.Artifact.HasDigest(digest.FromBytes(tc.raw).String()) {
					t.Errorf("%s\nartifact %+v", tc.reason, got.Status.Artifact)
				}
			} else if diff := cmp.Diff(tc.want, w.files(t, got.Status.Artifact)); diff != "" {
				t.Errorf("%s\n-want +got:\n%s", tc.reason, diff)
			}

			if diff := cmp.Diff(tc.selector, got.Status.ObservedLayerSelector); diff != "" {
				t.Errorf("observed selector: -want +got:\n%s", diff)
			}

			if diff := cmp.Diff(tc.ignore, got.Status.ObservedIgnore); diff != "" {
				t.Errorf("observed ignore: -want +got:\n%s", diff)
			}
		})
	}
}

// A change of what is made of a layer makes another artifact of the same revision.
func TestChangedSpec(t *testing.T) {
	w := newWorld(t)
	s := serve(t, server.Options{})
	pushFiles(t, s, "latest", map[string]string{"app.yaml": "a: 1\n", "b.yaml": "b"}, nil)

	obj := object("app", s)
	b := w.bench(t, obj)
	first := b.run(t, obj).Object.Status.Artifact

	b.change(t, obj, func(o *sourcev1.OCIRepository) { o.Spec.Ignore = new("b.yaml") })

	second := b.run(t, obj)
	if diff := cmp.Diff([]string{"app.yaml 600 a: 1\n"}, w.files(t, second.Object.Status.Artifact)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}

	if a := second.Object.Status.Artifact; a.Revision != first.Revision || a.Digest == first.Digest || len(second.Events) != 1 {
		t.Errorf("artifact %+v, events %q", a, reasons(second.Events))
	}

	b.change(t, obj, func(o *sourcev1.OCIRepository) { o.Spec.LayerSelector = &sourcev1.OCILayerSelector{Operation: "copy"} })

	third := b.run(t, obj).Object.Status
	if third.ObservedLayerSelector == nil || third.Artifact.Digest == second.Object.Status.Artifact.Digest {
		t.Errorf("status %+v", third)
	}

	b.change(t, obj, func(o *sourcev1.OCIRepository) { o.Spec.LayerSelector, o.Spec.Ignore = nil, nil })

	fourth := b.run(t, obj).Object.Status
	if fourth.Artifact.Digest != first.Digest || fourth.ObservedLayerSelector != nil || fourth.ObservedIgnore != nil {
		t.Errorf("status %+v, artifact %+v", fourth, fourth.Artifact)
	}
}

func TestIndex(t *testing.T) {
	platforms := func(t *testing.T, all ...v1.Platform) v1.ImageIndex {
		t.Helper()

		index := v1.ImageIndex(empty.Index)

		for _, p := range all {
			img, err := server.Flux(map[string]string{"platform": p.String()}, nil)
			check(t, err)

			index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &p}})
		}

		return index
	}

	cases := map[string]struct {
		reason    string
		platforms []v1.Platform
		want      []string
		ready     string
	}{
		"Many": {
			reason:    "One of many is for the usual platform.",
			platforms: []v1.Platform{{OS: "linux", Architecture: "arm64"}, {OS: "linux", Architecture: "amd64"}},
			want:      []string{"platform 600 linux/amd64"},
		},
		"One": {
			reason: "There is no choice.", platforms: []v1.Platform{{OS: "linux", Architecture: "arm64"}},
			want: []string{"platform 600 linux/arm64"},
		},
		"Attested": {
			reason:    "What says something about another one does not count.",
			platforms: []v1.Platform{{OS: "unknown", Architecture: "unknown"}, {OS: "linux", Architecture: "arm64"}},
			want:      []string{"platform 600 linux/arm64"},
		},
		"None": {
			reason:    "None of many is for the usual platform.",
			platforms: []v1.Platform{{OS: "linux", Architecture: "arm64"}, {OS: "windows", Architecture: "amd64"}},
			ready:     "False OCIArtifactPullFailed: failed to pull artifact from '",
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			s := serve(t, server.Options{})
			hash, err := s.PushIndex(t.Context(), "org/app", "latest", platforms(t, tc.platforms...))
			check(t, err)

			obj := object("app", s)
			got := w.bench(t, obj).run(t, obj).Object

			if tc.ready != "" {
				expect(t, got, meta.ReadyCondition, tc.ready)

				return
			}

			if diff := cmp.Diff(tc.want, w.files(t, got.Status.Artifact)); diff != "" {
				t.Errorf("%s\n-want +got:\n%s", tc.reason, diff)
			}

			if !got.Status.Artifact.HasRevision("latest@" + hash.String()) {
				t.Errorf("%s\nrevision %q", tc.reason, got.Status.Artifact.Revision)
			}
		})
	}
}

func TestLostStorage(t *testing.T) {
	cases := map[string]struct {
		reason string
		harm   func(t *testing.T, root, file string)
		events []string
	}{
		"File": {
			reason: "A lost file is made again.",
			harm:   func(t *testing.T, _, file string) { check(t, os.Remove(file)) },
		},
		"All": {
			reason: "A lost storage is filled again.",
			harm: func(t *testing.T, root, _ string) {
				entries, err := os.ReadDir(root)
				check(t, err)

				for _, e := range entries {
					check(t, os.RemoveAll(filepath.Join(root, e.Name())))
				}
			},
		},
		"Corrupt": {
			reason: "A corrupt file is replaced, and people are told.",
			harm:   func(t *testing.T, _, file string) { check(t, os.WriteFile(file, []byte("rot"), 0o600)) },
			events: []string{"ArtifactVerificationFailed: failed to verify integrity of artifact: digest mismatch"},
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			s := serve(t, server.Options{})
			hash := push(t, s, "latest", "a: 1\n")
			obj := object("app", s)
			b := w.bench(t, obj)
			first := b.run(t, obj).Object

			tc.harm(t, w.root, filepath.Join(w.root, first.Status.Artifact.Path))

			second := b.run(t, obj)
			expect(t, second.Object, meta.ReadyCondition, "True Succeeded: stored artifact for digest 'latest@"+hash.String()+"'")
			check(t, w.store.Verify(second.Object.Status.Artifact))

			if second.Object.Status.Artifact.Digest != first.Status.Artifact.Digest {
				t.Errorf("%s\nthe digest changed", tc.reason)
			}

			events := reasons(second.Events)
			if len(events) != len(tc.events) || len(events) > 0 && !strings.HasPrefix(events[0], tc.events[0]) {
				t.Errorf("%s\nevents %q", tc.reason, events)
			}
		})
	}
}

func TestDelete(t *testing.T) {
	w := newWorld(t)
	s := serve(t, server.Options{})
	push(t, s, "latest", "a: 1\n")

	obj := object("app", s)
	b := w.bench(t, obj)
	b.run(t, obj)
	check(t, b.api.Delete(t.Context(), obj))

	got := b.run(t, obj)
	if !got.Gone || len(got.Events) != 0 {
		t.Errorf("gone: %t, events %q", got.Gone, reasons(got.Events))
	}

	if left, _ := os.ReadDir(filepath.Join(w.root, "ocirepository")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// What is pinned is not looked after, unless somebody wants to know whether it can be reached.
func TestChangedURL(t *testing.T) {
	w := newWorld(t)
	s := serve(t, server.Options{})
	digest := push(t, s, "latest", "a: 1\n")

	obj := object("app", s, withRef(sourcev1.OCIRepositoryRef{Digest: digest.String()}))
	b := w.bench(t, obj)
	expect(t, b.run(t, obj).Object, meta.ReadyCondition, "True Succeeded: ")

	b.change(t, obj, func(o *sourcev1.OCIRepository) { o.Spec.URL = "oci://" + s.Addr + "/org/none" })

	got := b.run(t, obj).Object
	expect(t, got, meta.ReadyCondition, "False OCIArtifactPullFailed: failed to determine artifact digest: ")

	if !got.Status.Artifact.HasRevision(digest.String()) {
		t.Errorf("artifact %+v", got.Status.Artifact)
	}
}

func TestSuspendAndAsk(t *testing.T) {
	w := newWorld(t)
	s := serve(t, server.Options{})
	push(t, s, "latest", "a: 1\n")

	obj := object("app", s)
	b := w.bench(t, obj)
	b.run(t, obj)

	b.change(t, obj, func(o *sourcev1.OCIRepository) { o.Spec.Suspend = true })

	before := s.Counts()
	if b.run(t, obj); s.Counts() != before {
		t.Error("a suspended object was looked after")
	}

	b.change(t, obj, func(o *sourcev1.OCIRepository) {
		o.Spec.Suspend = false
		o.Annotations = map[string]string{meta.ReconcileRequestAnnotation: "now"}
	})

	got := b.run(t, obj).Object
	if got.Status.LastHandledReconcileAt != "now" || s.Counts().Since(before).Heads != 1 {
		t.Errorf("status %+v, requests %+v", got.Status, s.Counts().Since(before))
	}
}
