package bucket_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/ingest"
	"github.com/weir-dev/weir/reconcilers/source"
	"github.com/weir-dev/weir/test/s3server"
)

func TestFirstRun(t *testing.T) {
	w := newWorld(t)
	s := w.server(t, s3server.Options{})
	put(t, s, map[string]string{"empty/": "", ".sourceignore": "*.md\n", "README.md": "ignored"})

	obj := object("app", s)
	got := w.bench(t, obj).run(t, obj)
	st := got.Object.Status
	files := map[string]string{"app.yaml": "a: 1\n", "base/kustomization.yaml": "b: 1\n"}
	revision := revisionOf(files)

	expect(t, got.Object, meta.ReadyCondition, "True Succeeded: stored artifact: revision '"+revision+"'")
	expect(t, got.Object, meta.ArtifactInStorageCondition, "True Succeeded: stored artifact: revision '"+revision+"'")

	for _, typ := range []string{
		meta.ReconcilingCondition, meta.StalledCondition, meta.FetchFailedCondition,
		meta.StorageOperationFailedCondition, meta.ArtifactOutdatedCondition,
	} {
		expect(t, got.Object, typ, "")
	}

	path := "bucket/apps/app/" + strings.TrimPrefix(revision, "sha256:") + ".tar.gz"
	if st.Artifact.Path != path || st.Artifact.URL != "http://source.test/"+path || st.Artifact.Revision != revision {
		t.Errorf("artifact is %+v", st.Artifact)
	}

	if st.ObservedGeneration != 1 || st.URL != "http://source.test/bucket/apps/app/latest.tar.gz" {
		t.Errorf("observed generation is %d, the URL %q", st.ObservedGeneration, st.URL)
	}

	same(t, "files", files, w.files(t, st.Artifact))
	same(t, "events", []string{"NewArtifact: stored artifact with 2 fetched files from 'apps' bucket"}, reasons(got.Events))
	same(t, "metadata", map[string]string{"revision": revision, "digest": st.Artifact.Digest}, got.Events[0].Metadata)
	same(t, "requests", []string{".sourceignore", "app.yaml", "base/kustomization.yaml", "list"}, requests(s))

	if got.Result.RequeueAfter != time.Minute {
		t.Errorf("next run after %s", got.Result.RequeueAfter)
	}

	if latest, err := os.ReadFile(filepath.Join(w.root, "bucket/apps/app/latest.tar.gz")); err != nil || len(latest) == 0 {
		t.Errorf("the latest artifact is not there: %v", err)
	}
}

// TestNothingNew shows what an interval costs in which nothing happened.
func TestNothingNew(t *testing.T) {
	w := newWorld(t)
	s := w.server(t, s3server.Options{})
	put(t, s, map[string]string{".sourceignore": "*.md\n"})

	obj := object("app", s)
	b := w.bench(t, obj)
	first := b.run(t, obj)
	requests(s)
	w.clock.Advance(time.Minute)

	second := b.run(t, obj)
	same(t, "requests", []string{"list"}, requests(s))
	same(t, "status", first.Object.Status, second.Object.Status)

	if len(second.Patches)+len(second.Events) != 0 {
		t.Errorf("%d patches, events %q", len(second.Patches), reasons(second.Events))
	}
}

func TestOnlyWhatChangedIsFetched(t *testing.T) {
	w := newWorld(t)
	s := w.server(t, s3server.Options{})
	put(t, s, map[string]string{"old.yaml": "old", "c/d/e.yaml": "e"})

	obj := object("app", s)
	b := w.bench(t, obj)
	b.run(t, obj)
	requests(s)

	put(t, s, map[string]string{"app.yaml": "a: 2\n", "c/new.yaml": "new"})
	check(t, s.Delete("apps", "old.yaml"))
	w.clock.Advance(time.Minute)

	got := b.run(t, obj)
	files := map[string]string{"app.yaml": "a: 2\n", "base/kustomization.yaml": "b: 1\n", "c/d/e.yaml": "e", "c/new.yaml": "new"}

	same(t, "requests", []string{"app.yaml", "c/new.yaml", "list"}, requests(s))
	same(t, "files", files, w.files(t, got.Object.Status.Artifact))
	same(t, "revision", revisionOf(files), got.Object.Status.Artifact.Revision)
	same(t, "events", []string{"NewArtifact: stored artifact with 4 fetched files from 'apps' bucket"}, reasons(got.Events))

	// An object that goes costs nothing but the listing.
	check(t, s.Delete("apps", "app.yaml"))
	delete(files, "app.yaml")
	w.clock.Advance(time.Minute)

	got = b.run(t, obj)
	same(t, "requests", []string{"list"}, requests(s))
	same(t, "files", files, w.files(t, got.Object.Status.Artifact))

	// Another process knows nothing of the etags, and fetches all once something changed.
	put(t, s, map[string]string{"app.yaml": "a: 3\n"})
	files["app.yaml"] = "a: 3\n"
	w.clock.Advance(time.Minute)

	stored := &sourcev1.Bucket{}
	check(t, b.api.Get(t.Context(), client.ObjectKeyFromObject(obj), stored))

	other := w.bench(t, stored)
	got = other.run(t, stored)
	same(t, "requests", []string{"app.yaml", "base/kustomization.yaml", "c/d/e.yaml", "c/new.yaml", "list"}, requests(s))
	same(t, "files", files, w.files(t, got.Object.Status.Artifact))
}

// An artifact that is the same as ever gives the same bytes, however it came to be.
func TestArtifactsAreReproducible(t *testing.T) {
	w := newWorld(t)
	s := w.server(t, s3server.Options{})
	a, c := object("a", s), object("c", s, func(s *sourcev1.BucketSpec) { s.Region = "us-east-1" })
	b := w.bench(t, a, c)
	b.run(t, a)

	put(t, s, map[string]string{"app.yaml": "a: 2\n", "z/z.yaml": "z"})
	w.clock.Advance(time.Minute)

	pieced, whole := b.run(t, a).Object.Status.Artifact, b.run(t, c).Object.Status.Artifact
	if pieced.Digest != whole.Digest {
		t.Errorf("digests %s and %s", pieced.Digest, whole.Digest)
	}
}

// The archive is the one that a walk through the same files gives.
func TestArtifactsAreThoseOfDirectories(t *testing.T) {
	w := newWorld(t)
	s := w.server(t, s3server.Options{})
	put(t, s, map[string]string{"a/b": "1", "a-b": "2", "a.b": "3", "a/b.c/d": "4", "z/y/x": "5"})

	obj := object("app", s)
	got := w.bench(t, obj).run(t, obj).Object.Status.Artifact

	raw, err := os.Open(filepath.Join(w.root, got.Path))
	check(t, err)

	defer raw.Close()

	dir := t.TempDir()
	_, err = ingest.Untar(t.Context(), raw, dir, ingest.Limits{})
	check(t, err)

	d, release, err := w.store.Add(t.Context(), source.Archive(t.Context(), w.store, dir, source.Rules{}))
	check(t, err)
	release()
	same(t, "digest", got.Digest, d.String())
}

func TestStorageIsLost(t *testing.T) {
	cases := map[string]struct {
		reason string
		lose   func(t *testing.T, w *world, a *meta.Artifact)
		events []string
	}{
		"Gone": {
			reason: "An artifact that is gone is made again.",
			lose: func(t *testing.T, w *world, _ *meta.Artifact) {
				t.Helper()
				check(t, os.RemoveAll(filepath.Join(w.root, "bucket")))
				check(t, os.RemoveAll(filepath.Join(w.root, ".blobs")))
			},
		},
		"Corrupt": {
			reason: "An artifact that is not what it was is made again, and nothing of it is used.",
			lose: func(t *testing.T, w *world, a *meta.Artifact) {
				t.Helper()

				f, err := os.OpenFile(filepath.Join(w.root, a.Path), os.O_WRONLY, 0)
				check(t, err)
				_, err = f.WriteAt([]byte("xxxx"), 60)
				check(t, err)
				check(t, f.Close())
			},
			events: []string{"ArtifactVerificationFailed: failed to verify integrity of artifact"},
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			s := w.server(t, s3server.Options{})
			obj := object("app", s)
			b := w.bench(t, obj)
			first := b.run(t, obj).Object.Status.Artifact

			tc.lose(t, w, first)
			w.clock.Advance(time.Minute)

			got := b.run(t, obj)
			expect(t, got.Object, meta.ReadyCondition, "True Succeeded: stored artifact: revision '"+first.Revision+"'")
			check(t, w.store.Verify(got.Object.Status.Artifact))
			same(t, "digest", first.Digest, got.Object.Status.Artifact.Digest)

			for i, want := range tc.events {
				if all := reasons(got.Events); len(all) <= i || !strings.HasPrefix(all[i], want) {
					t.Errorf("%s\nevents: %q", tc.reason, all)
				}
			}
		})
	}
}

// What is wrong with the archive of the last run does not get into the next one.
func TestCorruptArchiveIsNotReused(t *testing.T) {
	w := newWorld(t)
	s := w.server(t, s3server.Options{})
	obj := object("app", s)
	b := w.bench(t, obj)
	first := b.run(t, obj).Object.Status.Artifact

	// It changes right before it is read.
	s.Before(func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.URL.RawQuery, "list-type") {
			raw, err := os.ReadFile(filepath.Join(w.root, first.Path))
			check(t, err)
			raw[len(raw)-12] ^= 0xff
			check(t, os.WriteFile(filepath.Join(w.root, first.Path), raw, 0o600))
		}

		return false
	})

	put(t, s, map[string]string{"new.yaml": "new"})
	requests(s)
	w.clock.Advance(time.Minute)

	got := b.run(t, obj)
	same(t, "requests", []string{"app.yaml", "base/kustomization.yaml", "list", "new.yaml"}, requests(s))
	same(t, "files", map[string]string{"app.yaml": "a: 1\n", "base/kustomization.yaml": "b: 1\n", "new.yaml": "new"},
		w.files(t, got.Object.Status.Artifact))
}

func TestChangesWhileFetching(t *testing.T) {
	cases := map[string]struct {
		reason string
		change func(t *testing.T, s *s3server.Server)
		want   map[string]string
	}{
		"Gone": {
			reason: "An object that is gone is dropped.",
			change: func(t *testing.T, s *s3server.Server) { t.Helper(); check(t, s.Delete("apps", "app.yaml")) },
			want:   map[string]string{"base/kustomization.yaml": "b: 1\n"},
		},
		"Changed": {
			reason: "An object that changed counts with its new etag.",
			change: func(t *testing.T, s *s3server.Server) { t.Helper(); put(t, s, map[string]string{"app.yaml": "a: 2\n"}) },
			want:   map[string]string{"app.yaml": "a: 2\n", "base/kustomization.yaml": "b: 1\n"},
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			s := w.server(t, s3server.Options{})

			var once sync.Once
			s.Before(func(_ http.ResponseWriter, r *http.Request) bool {
				if r.URL.RawQuery == "" && strings.HasSuffix(r.URL.Path, ".yaml") {
					once.Do(func() { tc.change(t, s) })
				}

				return false
			})

			obj := object("app", s)
			b := w.bench(t, obj)
			got := b.run(t, obj)

			same(t, tc.reason, tc.want, w.files(t, got.Object.Status.Artifact))
			same(t, tc.reason, revisionOf(tc.want), got.Object.Status.Artifact.Revision)
			same(t, tc.reason,
				[]string{fmt.Sprintf("NewArtifact: stored artifact with %d fetched files from 'apps' bucket", len(tc.want))},
				reasons(got.Events))

			// The next run finds what it has.
			requests(s)
			w.clock.Advance(time.Minute)
			b.run(t, obj)
			same(t, "requests", []string{"list"}, requests(s))
		})
	}
}

// Rules that change what is wanted fetch only what was not there before.
// A server that sends more than it listed is stopped.
func TestShare(t *testing.T) {
	w := newWorld(t)
	s := w.server(t, s3server.Options{Keys: map[string]string{"reader": "secret", "other": "secret"}})
	w.secret("reader", map[string]string{"accesskey": "reader", "secretkey": "secret"})
	w.secret("other", map[string]string{"accesskey": "other", "secretkey": "secret"})

	objects := make([]*sourcev1.Bucket, 0, 9)
	for i := range 8 {
		objects = append(objects, object(fmt.Sprint("app-", i), s, withSecret("reader")))
	}

	objects = append(objects, object("other", s, withSecret("other")))
	b := w.bench(t, objects...)

	var wg sync.WaitGroup
	for _, obj := range objects[:8] {
		wg.Go(func() {
			got := b.run(t, obj)
			expect(t, got.Object, meta.ReadyCondition, "True Succeeded")
		})
	}

	wg.Wait()
	same(t, "requests", []string{"app.yaml", "base/kustomization.yaml", "list"}, requests(s))

	// Who has other credentials may see something else.
	expect(t, b.run(t, objects[8]).Object, meta.ReadyCondition, "True Succeeded")
	same(t, "requests", []string{"app.yaml", "base/kustomization.yaml", "list"}, requests(s))

	// Who asks for news gets some.
	w.clock.Advance(time.Second)
	b.run(t, objects[0])
	same(t, "requests within a moment", []string(nil), requests(s))

	stored := &sourcev1.Bucket{}
	check(t, b.api.Get(t.Context(), client.ObjectKeyFromObject(objects[0]), stored))
	stored.Annotations = map[string]string{meta.ReconcileRequestAnnotation: "now"}
	check(t, b.api.Update(t.Context(), stored))
	b.run(t, stored)
	same(t, "requests when asked", []string{"list"}, requests(s))
}

func TestTimeout(t *testing.T) {
	w := newWorld(t)
	s := w.server(t, s3server.Options{})
	s.Before(func(_ http.ResponseWriter, r *http.Request) bool {
		<-r.Context().Done()

		return true
	})

	obj := object("app", s, func(s *sourcev1.BucketSpec) { s.Timeout = &metav1.Duration{Duration: 50 * time.Millisecond} })
	got := w.bench(t, obj).run(t, obj)
	expect(t, got.Object, meta.FetchFailedCondition, "True BucketOperationFailed: ")
	expect(t, got.Object, meta.ReconcilingCondition, "True ProgressingWithRetry")
}

func TestDelete(t *testing.T) {
	w := newWorld(t)
	s := w.server(t, s3server.Options{})
	obj := object("app", s)
	b := w.bench(t, obj)
	b.run(t, obj)
	check(t, b.api.Delete(context.Background(), obj))

	if got := b.run(t, obj); !got.Gone {
		t.Error("the object is still there")
	}

	if _, err := os.Stat(filepath.Join(w.root, "bucket/apps/app")); !os.IsNotExist(err) {
		t.Errorf("its artifacts are still there: %v", err)
	}
}
