package bucket_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/artifact"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/engine/enginetest"
	"github.com/weir-dev/weir/reconcilers/ingest"
	"github.com/weir-dev/weir/reconcilers/secrets"
	"github.com/weir-dev/weir/reconcilers/source/bucket"
	"github.com/weir-dev/weir/test/s3server"
)

// world is all that a Bucket meets: Secrets, a store, and the buckets of a process.
type world struct {
	root    string
	store   *artifact.Store
	secrets map[types.NamespacedName]*corev1.Secret
	buckets bucket.Options
	deps    bucket.Deps // what a test wants to be different
	clock   *enginetest.Clock
}

func newWorld(t *testing.T) *world {
	t.Helper()

	w := &world{root: t.TempDir(), secrets: map[types.NamespacedName]*corev1.Secret{}, clock: &enginetest.Clock{}}
	w.clock.Advance(24 * time.Hour)
	w.buckets = bucket.Options{Dir: t.TempDir(), Transports: &ingest.Transports{}, Now: w.clock.Now}

	var err error
	w.store, err = artifact.NewStore(artifact.StoreOptions{Root: w.root, Address: "source.test", Now: w.clock.Now})
	check(t, err)

	return w
}

func check(t *testing.T, err error) {
	t.Helper()

	if err != nil {
		t.Fatal(err)
	}
}

// server is an S3 server with the bucket "apps" of two objects.
func (w *world) server(t *testing.T, o s3server.Options) *s3server.Server {
	t.Helper()

	s, err := s3server.Start(t.Context(), o)
	check(t, err)
	t.Cleanup(s.Close)

	check(t, s.MakeBucket("apps"))
	put(t, s, map[string]string{"app.yaml": "a: 1\n", "base/kustomization.yaml": "b: 1\n"})

	return s
}

func put(t *testing.T, s *s3server.Server, objects map[string]string) {
	t.Helper()

	for _, key := range slices.Sorted(maps.Keys(objects)) {
		_, err := s.Put("apps", key, objects[key])
		check(t, err)
	}
}

// revisionOf returns the revision of objects on an S3 server.
func revisionOf(objects map[string]string) string {
	text := ""
	for _, key := range slices.Sorted(maps.Keys(objects)) {
		text += fmt.Sprintf("%s %s\n", key, s3server.ETag(objects[key]))
	}

	return sum(text)
}

func sum(text string) string { return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(text))) }

// bench runs Buckets, all in one process.
type bench struct {
	run func(t *testing.T, obj *sourcev1.Bucket) enginetest.Result[*sourcev1.Bucket]
	api client.WithWatch
}

func (w *world) bench(t *testing.T, objects ...*sourcev1.Bucket) bench {
	t.Helper()

	buckets, err := bucket.NewBuckets(w.buckets)
	check(t, err)

	kind := bucket.Kind(bucket.Deps{
		Store: w.store, Buckets: buckets, Workers: w.deps.Workers, Patience: w.deps.Patience,
		Secrets: secrets.ReaderFunc(func(_ context.Context, namespace, name string) (*corev1.Secret, error) {
			if s, ok := w.secrets[types.NamespacedName{Namespace: namespace, Name: name}]; ok {
				return s, nil
			}

			return nil, apierrors.NewNotFound(schema.GroupResource{Resource: "secrets"}, name)
		}),
	})

	all := make([]client.Object, 0, len(objects))
	for _, o := range objects {
		all = append(all, o)
	}

	b := enginetest.New(t, kind, enginetest.Options{}, all...)

	return bench{
		run: func(t *testing.T, obj *sourcev1.Bucket) enginetest.Result[*sourcev1.Bucket] {
			t.Helper()

			return b.Run(t, obj)
		},
		api: b.Client,
	}
}

// object returns a Bucket of a server; change changes its spec.
func object(name string, s *s3server.Server, change ...func(*sourcev1.BucketSpec)) *sourcev1.Bucket {
	obj := &sourcev1.Bucket{
		ObjectMeta: metav1.ObjectMeta{Namespace: "apps", Name: name, Generation: 1},
		Spec:       sourcev1.BucketSpec{BucketName: "apps", Interval: metav1.Duration{Duration: time.Minute}},
	}

	if s != nil {
		obj.Spec.Endpoint, obj.Spec.Insecure = s.Addr, s.CA == nil
	}

	for _, c := range change {
		c(&obj.Spec)
	}

	return obj
}

func withSecret(name string) func(*sourcev1.BucketSpec) {
	return func(s *sourcev1.BucketSpec) { s.SecretRef = &meta.LocalObjectReference{Name: name} }
}

func withIgnore(rules string) func(*sourcev1.BucketSpec) {
	return func(s *sourcev1.BucketSpec) { s.Ignore = &rules }
}

func withPrefix(prefix string) func(*sourcev1.BucketSpec) {
	return func(s *sourcev1.BucketSpec) { s.Prefix = prefix }
}

func (w *world) secret(name string, data map[string]string) {
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "apps", Name: name}, Data: map[string][]byte{}}
	for k, v := range data {
		s.Data[k] = []byte(v)
	}

	w.secrets[types.NamespacedName{Namespace: "apps", Name: name}] = s
}

// files returns what is in the artifact, by path.
func (w *world) files(t *testing.T, a *meta.Artifact) map[string]string {
	t.Helper()

	if a == nil {
		t.Fatal("there is no artifact")
	}

	raw, err := os.ReadFile(filepath.Join(w.root, a.Path))
	check(t, err)

	dir := t.TempDir()
	_, err = ingest.Untar(t.Context(), bytes.NewReader(raw), dir, ingest.Limits{})
	check(t, err)

	got := map[string]string{}
	check(t, filepath.WalkDir(dir, func(p string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}

		rel, _ := filepath.Rel(dir, p)
		b, err := os.ReadFile(p)
		got[rel] = string(b)

		return err
	}))

	return got
}

// expect fails unless the condition begins with want, which is empty if it must not be there.
func expect(t *testing.T, obj *sourcev1.Bucket, typ, want string) {
	t.Helper()

	got := ""
	if c := engine.Condition(obj, typ); c != nil {
		got = fmt.Sprintf("%s %s: %s", c.Status, c.Reason, c.Message)
	}

	if (want == "") != (got == "") || !strings.HasPrefix(got, want) {
		t.Errorf("%s is %q, want %q", typ, got, want)
	}
}

// reasons returns the reasons and messages of the events.
func reasons(events []engine.Event) []string {
	got := make([]string, 0, len(events))
	for _, e := range events {
		got = append(got, e.Reason+": "+e.Message)
	}

	slices.Sort(got)

	return got
}

// requests returns what the server got since the last call: listings as "list", objects by their keys, sorted.
func requests(s *s3server.Server) []string {
	var got []string

	for _, r := range s.Requests() {
		switch {
		case r.Listing():
			got = append(got, "list")
		case r.Content():
			got = append(got, strings.TrimPrefix(r.Path, "/apps/"))
		case r.Query != "location=":
			got = append(got, strings.TrimSpace(r.Method+" "+r.Path+" "+r.Query))
		}
	}

	slices.Sort(got)

	return got
}

func same(t *testing.T, what string, want, got any) {
	t.Helper()

	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s: -want +got:\n%s", what, diff)
	}
}
