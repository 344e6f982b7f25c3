package helmrepository_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/test/helmrepo"
)

func TestFirstIndex(t *testing.T) {
	w := newWorld(t)
	s := serve(t, helmrepo.Options{ETag: true}, "6.3.5", "6.4.0")
	obj := object("podinfo", s.URL())
	got := w.bench(t, obj).run(t, obj)

	raw := s.Index()
	revision := digest.FromBytes(raw).String()
	file := "helmrepository/apps/podinfo/index-" + digest.FromBytes(raw).Encoded() + ".yaml"
	content := asHelm(t, raw)

	want := &meta.Artifact{
		Path: file, URL: "http://source.test/" + file, Revision: revision,
		Digest: digest.FromString(content).String(), Size: new(int64(len(content))),
		LastUpdateTime: metav1.NewTime(w.clock.Now()),
	}
	if diff := cmp.Diff(want, got.Object.Status.Artifact); diff != "" {
		t.Errorf("artifact: -want +got:\n%s", diff)
	}

	if w.stored(t, file) != content || w.stored(t, "helmrepository/apps/podinfo/index.yaml") != content {
		t.Errorf("the artifact is\n%s\nwant\n%s", w.stored(t, file), content)
	}

	if got := got.Object.Status.URL; got != "http://source.test/helmrepository/apps/podinfo/index.yaml" {
		t.Errorf("status.url is %q", got)
	}

	message := "True Succeeded: stored artifact: revision '" + revision + "'"
	if diff := cmp.Diff([]string{"Ready " + message, "ArtifactInStorage " + message}, conditions(got.Object)); diff != "" {
		t.Errorf("conditions: -want +got:\n%s", diff)
	}

	event := engine.Event{
		Reason:   "NewArtifact",
		Message:  fmt.Sprintf("stored fetched index of size %.4gkB from '%s'", float64(len(content))/1000, s.URL()),
		Metadata: map[string]string{"revision": revision, "digest": want.Digest},
	}
	if diff := cmp.Diff([]engine.Event{event}, got.Events); diff != "" {
		t.Errorf("events: -want +got:\n%s", diff)
	}

	if got.Object.Status.ObservedGeneration != 1 || got.Result.RequeueAfter != time.Minute {
		t.Errorf("observed generation %d, requeued after %s", got.Object.Status.ObservedGeneration, got.Result.RequeueAfter)
	}
}

func TestUnchangedIndex(t *testing.T) {
	cases := map[string]struct {
		reason  string
		options helmrepo.Options
		want    []int
	}{
		"ETag":         {reason: "A tag saves the download.", options: helmrepo.Options{ETag: true}, want: []int{200, 304}},
		"LastModified": {reason: "So does a time.", options: helmrepo.Options{LastModified: true}, want: []int{200, 304}},
		"Both":         {reason: "Both do.", options: helmrepo.Options{ETag: true, LastModified: true}, want: []int{200, 304}},
		"Gzip":         {reason: "Compressed, too.", options: helmrepo.Options{ETag: true, Gzip: true}, want: []int{200, 304}},
		"None":         {reason: "Without, the digest tells.", want: []int{200, 200}},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			s := serve(t, tc.options, "6.3.5")
			obj := object("podinfo", s.URL())
			b := w.bench(t, obj)
			first := b.run(t, obj)

			w.clock.Advance(time.Minute)

			got := b.run(t, obj)
			if len(got.Patches) != 0 || len(got.Events) != 0 || got.Err != nil {
				t.Errorf("%s\npatches %v, events %v, error %v", tc.reason, got.Patches, got.Events, got.Err)
			}

			if diff := cmp.Diff(first.Object.Status, got.Object.Status); diff != "" {
				t.Errorf("%s\n-before +after:\n%s", tc.reason, diff)
			}

			if diff := cmp.Diff(tc.want, statuses(s)); diff != "" {
				t.Errorf("%s\nrequests: -want +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestChangedIndex(t *testing.T) {
	w := newWorld(t)
	s := serve(t, helmrepo.Options{ETag: true}, "6.3.5")
	obj := object("podinfo", s.URL())
	b := w.bench(t, obj)
	before := b.run(t, obj).Object

	add(t, s, "6.4.0")
	w.clock.Advance(time.Minute)

	got := b.run(t, obj)
	revision := digest.FromBytes(s.Index()).String()

	if got.Object.Status.Artifact.Revision != revision || before.Status.Artifact.Revision == revision {
		t.Errorf("revision %s, before %s", got.Object.Status.Artifact.Revision, before.Status.Artifact.Revision)
	}

	expect(t, got.Object, meta.ReadyCondition, "True Succeeded: stored artifact: revision '"+revision+"'")
	expect(t, got.Object, meta.ArtifactOutdatedCondition, "")

	if len(got.Events) != 1 || got.Events[0].Reason != "NewArtifact" {
		t.Errorf("events %+v", got.Events)
	}

	for _, p := range []string{before.Status.Artifact.Path, got.Object.Status.Artifact.Path} {
		if len(w.stored(t, p)) == 0 {
			t.Errorf("%s is empty", p)
		}
	}

	if w.stored(t, "helmrepository/apps/podinfo/index.yaml") != asHelm(t, s.Index()) {
		t.Error("the alias is not the latest index")
	}
}

// An index that cannot be read leaves the one that is stored, and says that it is out of date.
func TestBrokenIndexLater(t *testing.T) {
	w := newWorld(t)
	s := serve(t, helmrepo.Options{}, "6.3.5")
	obj := object("podinfo", s.URL())
	b := w.bench(t, obj)
	before := b.run(t, obj).Object

	good := s.Index()
	s.SetIndex([]byte("entries: {}\n"))
	w.clock.Advance(time.Minute)

	got := b.run(t, obj)
	revision := digest.FromBytes(s.Index()).String()

	failure := "IndexationFailed: failed to load Helm repository from index YAML at " + s.URL() + ": no API version specified"
	want := []string{
		"Reconciling True ProgressingWithRetry: " + failure[len("IndexationFailed: "):],
		"Ready False " + failure,
		"ArtifactInStorage True Succeeded: stored artifact: revision '" + before.Status.Artifact.Revision + "'",
		"ArtifactOutdated True NewRevision: new index revision '" + revision + "'",
		"FetchFailed True " + failure,
	}
	if diff := cmp.Diff(want, conditions(got.Object)); diff != "" {
		t.Errorf("conditions: -want +got:\n%s", diff)
	}

	if diff := cmp.Diff(before.Status.Artifact, got.Object.Status.Artifact); diff != "" {
		t.Errorf("artifact: -before +after:\n%s", diff)
	}

	s.SetIndex(good)
	w.clock.Advance(time.Minute)

	healed := b.run(t, obj)
	expect(t, healed.Object, meta.ReadyCondition, "True Succeeded: ")
	expect(t, healed.Object, meta.ArtifactOutdatedCondition, "")

	if len(healed.Events) != 1 || healed.Events[0].Reason != "Succeeded" {
		t.Errorf("events %v", told(healed.Events))
	}
}

func TestLostArtifact(t *testing.T) {
	cases := map[string]struct {
		reason string
		damage func(file string) error
		events int
	}{
		"Removed": {reason: "What is gone is fetched again.", damage: os.Remove, events: 1},
		"Changed": {
			reason: "What is not what it was is told and fetched again.",
			damage: func(file string) error { return os.WriteFile(file, []byte("x"), 0o600) }, events: 2,
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			s := serve(t, helmrepo.Options{ETag: true}, "6.3.5")
			obj := object("podinfo", s.URL())
			b := w.bench(t, obj)
			file := filepath.Join(w.root, b.run(t, obj).Object.Status.Artifact.Path)

			check(t, tc.damage(file))
			w.clock.Advance(time.Minute)

			got := b.run(t, obj).Object
			expect(t, got, meta.ReadyCondition, "True Succeeded: ")

			if w.stored(t, got.Status.Artifact.Path) != asHelm(t, s.Index()) {
				t.Errorf("%s\nit is not there", tc.reason)
			}

			if diff := cmp.Diff([]int{200, 200}, statuses(s)); diff != "" {
				t.Errorf("%s\nrequests: -want +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// Objects with the same repository cost it one request, and one artifact has many names.
func TestSharedRepository(t *testing.T) {
	w := newWorld(t)
	s := serve(t, helmrepo.Options{ETag: true}, "6.3.5")

	objects := make([]*sourcev1.HelmRepository, 0, 20)
	for i := range 20 {
		objects = append(objects, object(fmt.Sprintf("podinfo-%d", i), s.URL()))
	}

	b := w.bench(t, objects...)

	for range 3 {
		var all sync.WaitGroup
		for _, obj := range objects {
			all.Go(func() { b.run(t, obj) })
		}

		all.Wait()
		w.clock.Advance(time.Minute)
	}

	if diff := cmp.Diff([]int{200, 304, 304}, statuses(s)); diff != "" {
		t.Errorf("requests: -want +got:\n%s", diff)
	}

	one, err := os.Stat(filepath.Join(w.root, "helmrepository/apps/podinfo-1/index.yaml"))
	check(t, err)

	two, err := os.Stat(filepath.Join(w.root, "helmrepository/apps/podinfo-2/index.yaml"))
	check(t, err)

	if !os.SameFile(one, two) {
		t.Error("the same index is stored twice")
	}
}

// Somebody with other credentials asks for himself.
func TestOtherCredentials(t *testing.T) {
	w := newWorld(t)
	s := serve(t, helmrepo.Options{Username: "jane", Password: "secret", ETag: true}, "6.3.5")
	w.secret("right", map[string]string{"username": "jane", "password": "secret"})
	w.secret("wrong", map[string]string{"username": "john", "password": "guess"})

	jane, john, nobody := object("jane", s.URL(), withSecret("right")), object("john", s.URL(), withSecret("wrong")),
		object("nobody", s.URL())
	b := w.bench(t, jane, john, nobody)

	expect(t, b.run(t, jane).Object, meta.ReadyCondition, "True Succeeded: ")

	for _, obj := range []*sourcev1.HelmRepository{john, nobody} {
		got := b.run(t, obj).Object
		expect(t, got, meta.ReadyCondition, "False Failed: failed to fetch Helm repository index: failed to fetch "+s.URL()+
			"/index.yaml : 401 Unauthorized")

		if got.Status.Artifact != nil {
			t.Errorf("%s got an artifact", obj.Name)
		}
	}
}

func TestRequestedAt(t *testing.T) {
	w := newWorld(t)
	s := serve(t, helmrepo.Options{ETag: true}, "6.3.5")
	obj := object("podinfo", s.URL())
	b := w.bench(t, obj)
	b.run(t, obj)
	b.run(t, obj) // at the same moment: no news is expected

	b.change(t, obj, func(obj *sourcev1.HelmRepository) {
		obj.Annotations = map[string]string{meta.ReconcileRequestAnnotation: "now"}
	})
	w.clock.Advance(time.Millisecond)

	got := b.run(t, obj)
	if got.Object.Status.LastHandledReconcileAt != "now" {
		t.Errorf("handled %q", got.Object.Status.LastHandledReconcileAt)
	}

	if diff := cmp.Diff([]int{200, 304, 304}, statuses(s)); diff != "" {
		t.Errorf("requests: -want +got:\n%s", diff)
	}
}

func TestSuspended(t *testing.T) {
	w := newWorld(t)
	s := serve(t, helmrepo.Options{}, "6.3.5")
	obj := object("podinfo", s.URL(), func(s *sourcev1.HelmRepositorySpec) { s.Suspend = true })

	got := w.bench(t, obj).run(t, obj)
	if len(s.Requests()) != 0 || got.Object.Status.Artifact != nil || len(got.Object.Status.Conditions) != 0 {
		t.Errorf("requests %v, status %+v", s.Requests(), got.Object.Status)
	}
}

func TestStatic(t *testing.T) {
	w := newWorld(t)
	obj := object("podinfo", "oci://registry.test/charts", func(s *sourcev1.HelmRepositorySpec) { s.Type = "oci" })

	got := w.bench(t, obj).run(t, obj)
	if len(got.Patches) != 0 || len(got.Object.Finalizers) != 0 || got.Result.RequeueAfter != 0 || got.Err != nil {
		t.Errorf("patches %v, result %+v, %v", got.Patches, got.Result, got.Err)
	}
}

func TestBecomeStatic(t *testing.T) {
	w := newWorld(t)
	s := serve(t, helmrepo.Options{}, "6.3.5")
	obj := object("podinfo", s.URL())
	b := w.bench(t, obj)
	file := filepath.Join(w.root, b.run(t, obj).Object.Status.Artifact.Path)

	b.change(t, obj, func(obj *sourcev1.HelmRepository) {
		obj.Spec.Type, obj.Spec.URL, obj.Generation = "oci", "oci://registry.test/charts", 2
	})

	got := b.run(t, obj)
	if diff := cmp.Diff(sourcev1.HelmRepositoryStatus{}, got.Object.Status); diff != "" {
		t.Errorf("status: -want +got:\n%s", diff)
	}

	if len(got.Object.Finalizers) != 0 || got.Result.RequeueAfter != 0 || got.Err != nil {
		t.Errorf("finalizers %v, result %+v, %v", got.Object.Finalizers, got.Result, got.Err)
	}

	if _, err := os.Stat(filepath.Dir(file)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the artifacts are still there: %v", err)
	}

	if again := b.run(t, obj); len(again.Patches) != 0 {
		t.Errorf("patches %v", again.Patches)
	}

	b.change(t, obj, func(obj *sourcev1.HelmRepository) {
		obj.Spec.Type, obj.Spec.URL, obj.Generation = "", s.URL(), 3
	})
	expect(t, b.run(t, obj).Object, meta.ReadyCondition, "True Succeeded: ")
}

func TestDeleted(t *testing.T) {
	w := newWorld(t)
	s := serve(t, helmrepo.Options{}, "6.3.5")
	obj := object("podinfo", s.URL())
	b := w.bench(t, obj)
	file := filepath.Join(w.root, b.run(t, obj).Object.Status.Artifact.Path)

	check(t, b.api.Delete(t.Context(), obj))

	if got := b.run(t, obj); !got.Gone || got.Err != nil {
		t.Errorf("gone %v, error %v", got.Gone, got.Err)
	}

	if _, err := os.Stat(filepath.Dir(file)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the artifacts are still there: %v", err)
	}
}
