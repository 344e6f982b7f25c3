package bucket_test

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/test/s3server"
)

// A large bucket costs memory while it is listed and fetched, and little after that.
func TestLargeBucket(t *testing.T) {
	const objects = 10_000

	w := newWorld(t)

	s, err := s3server.Start(t.Context(), s3server.Options{})
	check(t, err)
	t.Cleanup(s.Close)
	check(t, s.MakeBucket("apps"))

	for i := range objects {
		_, err := s.Put("apps", fmt.Sprintf("clusters/region-%02d/namespace-%03d/object-%05d.yaml", i%20, i%500, i), "kind: ConfigMap\n")
		check(t, err)
	}

	obj := object("app", s, func(s *sourcev1.BucketSpec) { s.Timeout = &metav1.Duration{Duration: 10 * time.Minute} })
	b := w.bench(t, obj)

	before := heap()
	start := time.Now()
	got := b.run(t, obj)
	expect(t, got.Object, meta.ReadyCondition, "True Succeeded")

	after := heap()
	t.Logf("first run %s, %d connections, %d KiB kept, artifact of %d KiB",
		time.Since(start), s.Connections(), (after-before)/1024, *got.Object.Status.Artifact.Size/1024)

	s.Requests()
	w.clock.Advance(time.Minute)

	start = time.Now()
	allocated := total()
	b.run(t, obj)
	t.Logf("second run %s, %d KiB allocated", time.Since(start), (total()-allocated)/1024)

	if listings := len(s.Requests()); listings > objects/1000+2 {
		t.Errorf("%d requests", listings)
	}
}

func heap() int64 {
	runtime.GC()
	runtime.GC()

	var m runtime.MemStats
	runtime.ReadMemStats(&m)

	return int64(m.HeapAlloc) //nolint:gosec // no heap is that large
}

func total() int64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)

	return int64(m.TotalAlloc) //nolint:gosec // see heap
}
