package report_test

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	"github.com/weir-dev/weir/reconcilers/report"
)

// BenchmarkReport tells what a report about many Kustomizations costs: run it with -benchtime 3x.
func BenchmarkReport(b *testing.B) {
	const objects, workers = 10_000, 16
	e := start(b, "many")
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := w; i < objects; i += workers {
				if err := e.c.Create(e.ctx, kustomization(e.ns, i)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	e.requests.Take()

	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for b.Loop() {
		must(b, report.Create(e.ctx, e.deps, e.ns))
	}
	requests := 0
	for _, n := range e.requests.Take() {
		requests += n
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(requests)/float64(b.N), "requests/op")
	b.ReportMetric(float64(int64(after.HeapAlloc)-int64(before.HeapAlloc))/(1<<20), "MiB-kept")

	start := time.Now()
	if _, err := e.registry.Gather(); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(time.Since(start).Milliseconds()), "ms/scrape")
}

// kustomization is of a usual size: with an annotation of kubectl, as most have.
func kustomization(namespace string, i int) *kustomizev1.Kustomization {
	return &kustomizev1.Kustomization{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: fmt.Sprintf("app-%05d", i),
			Annotations: map[string]string{"kubectl.kubernetes.io/last-applied-configuration": strings.Repeat("x", 1500)},
		},
		Spec: kustomizev1.KustomizationSpec{
			Interval: metav1.Duration{Duration: time.Minute}, Path: fmt.Sprintf("./apps/%05d", i),
			SourceRef: kustomizev1.CrossNamespaceSourceReference{Kind: "GitRepository", Name: "fleet"},
		},
	}
}
