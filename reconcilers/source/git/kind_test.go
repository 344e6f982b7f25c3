package git_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/test/gitserver"
)

func TestFirstRun(t *testing.T) {
	w := newWorld(t)
	r := w.repository(t, "app")
	s := w.serve(t, gitserver.HTTPOptions{})
	obj := object("app", s.URL(r))
	hash := commit(t, r, "main", gitserver.Change{Executables: map[string]string{"bin/run": "#!"}})
	revision := "main@sha1:" + hash

	got := w.bench(t, obj).run(t, obj)
	st := got.Object.Status

	expect(t, got.Object, meta.ReadyCondition, "True Succeeded: stored artifact for revision '"+revision+"'")
	expect(t, got.Object, meta.ArtifactInStorageCondition, "True Succeeded: stored artifact for revision '"+revision+"'")

	for _, typ := range []string{
		meta.ReconcilingCondition, meta.StalledCondition, meta.FetchFailedCondition,
		meta.StorageOperationFailedCondition, meta.ArtifactOutdatedCondition,
	} {
		expect(t, got.Object, typ, "")
	}

	path := "gitrepository/apps/app/" + hash + ".tar.gz"
	if st.Artifact.Path != path || st.Artifact.URL != "http://source.test/"+path || st.Artifact.Revision != revision {
		t.Errorf("artifact is %+v", st.Artifact)
	}

	if st.ObservedGeneration != 1 {
		t.Errorf("observed generation is %d", st.ObservedGeneration)
	}

	if diff := cmp.Diff([]string{"app.yaml 600 a: 1\n", "bin/", "bin/run 700 #!"}, w.files(t, st.Artifact)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}

	if diff := cmp.Diff([]string{"NewArtifact: stored artifact for commit 'Change the files'"}, reasons(got.Events)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}

	metadata := map[string]string{"revision": revision, "digest": st.Artifact.Digest}
	if diff := cmp.Diff(metadata, got.Events[0].Metadata); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}

	if got.Result.RequeueAfter != time.Minute {
		t.Errorf("next run after %s", got.Result.RequeueAfter)
	}

	if want := (gitserver.Counts{InfoRefs: 1, UploadPack: 1}); s.Counts() != want {
		t.Errorf("requests: %+v", s.Counts())
	}
}

// TestNothingNew shows what an interval costs in which nothing happened.
func TestNothingNew(t *testing.T) {
	cases := map[string]sourcev1.GitRepositoryRef{
		"Branch": {Branch: "main"}, "Tag": {Tag: "v1.0.0"}, "SemVer": {SemVer: "1.x"}, "Name": {Name: "refs/heads/main"},
	}

	for name, ref := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			r := w.repository(t, "app")
			check(t, r.Tag(t.Context(), "v1.0.0", "main", "Release"))

			s := w.serve(t, gitserver.HTTPOptions{})
			obj := object("app", s.URL(r), withRef(ref))
			b := w.bench(t, obj)
			first := b.run(t, obj)
			before := s.Counts()

			w.clock.Advance(time.Minute)

			second := b.run(t, obj)
			if got := s.Counts(); got.InfoRefs != before.InfoRefs+1 || got.UploadPack != before.UploadPack {
				t.Errorf("requests before %+v, after %+v", before, got)
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

func TestNothingNewOfACommit(t *testing.T) {
	w := newWorld(t)
	r := w.repository(t, "app")
	old := commit(t, r, "main", gitserver.Change{Files: map[string]string{"old": "old"}})
	commit(t, r, "main", gitserver.Change{Files: map[string]string{"new": "new"}})

	s := w.serve(t, gitserver.HTTPOptions{})
	obj := object("app", s.URL(r), withRef(sourcev1.GitRepositoryRef{Commit: old}))
	b := w.bench(t, obj)
	expect(t, b.run(t, obj).Object, meta.ReadyCondition, "True Succeeded: stored artifact for revision 'sha1:"+old+"'")

	before := s.Counts()
	w.clock.Advance(time.Hour)
	b.run(t, obj)

	if s.Counts() != before {
		t.Errorf("requests before %+v, after %+v: a commit stays what it is", before, s.Counts())
	}
}

func TestNewCommit(t *testing.T) {
	w := newWorld(t)
	r := w.repository(t, "app")
	s := w.serve(t, gitserver.HTTPOptions{})
	obj := object("app", s.URL(r))
	b := w.bench(t, obj)
	first := b.run(t, obj).Object.Status.Artifact

	hash := commit(t, r, "main", gitserver.Change{Files: map[string]string{"app.yaml": "a: 2\n"}})
	w.clock.Advance(time.Minute)

	got := b.run(t, obj)
	expect(t, got.Object, meta.ReadyCondition, "True Succeeded: stored artifact for revision 'main@sha1:"+hash+"'")

	if diff := cmp.Diff([]string{"app.yaml 600 a: 2\n"}, w.files(t, got.Object.Status.Artifact)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
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
			r := w.repository(t, "app")
			s := w.serve(t, gitserver.HTTPOptions{})
			obj := object("app", s.URL(r))
			b := w.bench(t, obj)
			first := b.run(t, obj).Object

			tc.harm(t, w.root, filepath.Join(w.root, first.Status.Artifact.Path))

			second := b.run(t, obj)
			expect(t, second.Object, meta.ReadyCondition, "True Succeeded: stored artifact for revision 'main@sha1:")
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
	r := w.repository(t, "app")
	s := w.serve(t, gitserver.HTTPOptions{})
	obj := object("app", s.URL(r))
	b := w.bench(t, obj)
	b.run(t, obj)

	check(t, b.api.Delete(t.Context(), obj))

	got := b.run(t, obj)
	if !got.Gone || len(got.Events) != 0 {
		t.Errorf("gone: %t, events %q", got.Gone, reasons(got.Events))
	}

	if left, _ := os.ReadDir(filepath.Join(w.root, "gitrepository")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestShared shows that objects of one repository share listings, clones and archives.
func TestShared(t *testing.T) {
	w := newWorld(t)
	r := w.repository(t, "app")
	check(t, r.Tag(t.Context(), "v1", "main", ""))

	s := w.serve(t, gitserver.HTTPOptions{})
	one, two := object("one", s.URL(r)), object("two", s.URL(r))
	tagged := object("tagged", s.URL(r), withRef(sourcev1.GitRepositoryRef{Tag: "v1"}))
	ignoring := object("ignoring", s.URL(r), func(s *sourcev1.GitRepositorySpec) { s.Ignore = new("app.yaml") })
	b := w.bench(t, one, two, tagged, ignoring)

	digests := map[string]string{}
	for _, obj := range []*sourcev1.GitRepository{one, two, tagged, ignoring} {
		digests[obj.Name] = b.run(t, obj).Object.Status.Artifact.Digest
	}

	if digests["one"] != digests["two"] || digests["one"] != digests["tagged"] || digests["one"] == digests["ignoring"] {
		t.Errorf("digests: %v", digests)
	}

	if want := (gitserver.Counts{InfoRefs: 1, UploadPack: 1}); s.Counts() != want {
		t.Errorf("requests: %+v", s.Counts())
	}

	w.clock.Advance(time.Minute)

	for _, obj := range []*sourcev1.GitRepository{one, two, tagged, ignoring} {
		b.run(t, obj)
	}

	if want := (gitserver.Counts{InfoRefs: 2, UploadPack: 1}); s.Counts() != want {
		t.Errorf("requests: %+v", s.Counts())
	}
}

// Whoever asks for news gets what is there when they ask, not what was there a moment ago.
func TestAskedForNews(t *testing.T) {
	w := newWorld(t)
	r := w.repository(t, "app")
	s := w.serve(t, gitserver.HTTPOptions{})
	obj := object("app", s.URL(r))
	b := w.bench(t, obj)
	b.run(t, obj)

	hash := commit(t, r, "main", gitserver.Change{Files: map[string]string{"b": "b"}})
	w.clock.Advance(time.Millisecond)

	if got := b.run(t, obj).Object.Status.Artifact.Revision; strings.Contains(got, hash) {
		t.Errorf("a look a moment later lists again: %q", got)
	}

	current := &sourcev1.GitRepository{}
	check(t, b.api.Get(t.Context(), client.ObjectKeyFromObject(obj), current))
	current.Annotations = map[string]string{meta.ReconcileRequestAnnotation: "now"}
	check(t, b.api.Update(t.Context(), current))

	got := b.run(t, obj).Object
	if got.Status.Artifact.Revision != "main@sha1:"+hash || got.Status.LastHandledReconcileAt != "now" {
		t.Errorf("revision %q, handled %q", got.Status.Artifact.Revision, got.Status.LastHandledReconcileAt)
	}
}

func TestChangedContentConfig(t *testing.T) {
	w := newWorld(t)
	r := w.repository(t, "app")
	commit(t, r, "main", gitserver.Change{Files: map[string]string{"docs/a.md": "a", "deploy/b.yaml": "b"}})

	s := w.serve(t, gitserver.HTTPOptions{})
	obj := object("app", s.URL(r))
	b := w.bench(t, obj)
	first := b.run(t, obj).Object.Status.Artifact

	current := &sourcev1.GitRepository{}
	check(t, b.api.Get(t.Context(), client.ObjectKeyFromObject(obj), current))
	current.Spec.Ignore, current.Spec.SparseCheckout = new("*.md"), []string{"./docs", "deploy"}
	current.Generation = 2
	check(t, b.api.Update(t.Context(), current))

	got := b.run(t, obj).Object
	if diff := cmp.Diff([]string{"deploy/", "deploy/b.yaml 600 b", "docs/"}, w.files(t, got.Status.Artifact)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}

	if got.Status.Artifact.Revision != first.Revision || *got.Status.ObservedIgnore != "*.md" ||
		len(got.Status.ObservedSparseCheckout) != 2 {
		t.Errorf("status %+v", got.Status)
	}
}

func TestStalled(t *testing.T) {
	cases := map[string]struct {
		change func(*sourcev1.GitRepositorySpec)
		want   string
	}{
		"URL": {
			change: func(s *sourcev1.GitRepositorySpec) { s.URL = "ftp://jane:secret@example.com/x" },
			want:   "URLInvalid: failed to parse url 'ftp://example.com/x'",
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			r := w.repository(t, "app")
			s := w.serve(t, gitserver.HTTPOptions{})
			obj := object("app", s.URL(r), tc.change)

			got := w.bench(t, obj).run(t, obj)
			expect(t, got.Object, meta.StalledCondition, "True "+tc.want)
			expect(t, got.Object, meta.ReadyCondition, "False "+tc.want)

			if got.Object.Status.Artifact != nil || s.Counts() != (gitserver.Counts{}) || got.Result.RequeueAfter != 0 {
				t.Errorf("artifact %v, requests %+v, result %+v", got.Object.Status.Artifact, s.Counts(), got.Result)
			}
		})
	}
}

func TestRecovery(t *testing.T) {
	w := newWorld(t)
	r := w.repository(t, "app")
	s := w.serve(t, gitserver.HTTPOptions{Username: "jane", Password: "secret"})
	w.secret("auth", map[string]string{"username": "jane", "password": "secret"})

	obj := object("app", s.URL(r), withSecret("auth"))
	b := w.bench(t, obj)
	b.run(t, obj)

	w.secret("auth", map[string]string{"username": "jane", "password": "guess"})
	w.clock.Advance(time.Minute)

	failed := b.run(t, obj)
	expect(t, failed.Object, meta.ReadyCondition, "False GitOperationFailed: failed to checkout and determine revision: ")
	expect(t, failed.Object, meta.FetchFailedCondition, "True GitOperationFailed: ")
	expect(t, failed.Object, meta.ReconcilingCondition, "True ProgressingWithRetry: ")

	if message := condition(failed.Object, meta.ReadyCondition); strings.Contains(message, "guess") {
		t.Errorf("the password shows: %s", message)
	}

	if failed.Object.Status.Artifact == nil {
		t.Error("the artifact is gone")
	}

	w.secret("auth", map[string]string{"username": "jane", "password": "secret"})

	got := b.run(t, obj)
	expect(t, got.Object, meta.ReadyCondition, "True Succeeded: ")
	expect(t, got.Object, meta.FetchFailedCondition, "")

	if events := reasons(got.Events); len(events) != 1 || !strings.HasPrefix(events[0], "Succeeded: stored artifact for commit ") {
		t.Errorf("events %q", events)
	}
}
