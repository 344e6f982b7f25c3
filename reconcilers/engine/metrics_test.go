package engine_test

import (
	"context"
	"errors"
	"maps"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/engine/enginetest"
)

// series returns the value of each series, by its name and labels; of a histogram the sum.
func series(t *testing.T, r *prometheus.Registry) map[string]float64 {
	t.Helper()

	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}

	values := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			values[f.GetName()+labels(m)] = m.GetGauge().GetValue() + m.GetHistogram().GetSampleSum()
		}
	}

	return values
}

func labels(m *dto.Metric) string {
	s := ""
	for _, l := range m.GetLabel() {
		s += " " + l.GetName() + "=" + l.GetValue()
	}

	return s
}

// of returns the series of the object.
func of(name string, took, suspended float64, status map[string]float64) map[string]float64 {
	id := " kind=Kustomization name=" + name + " namespace=apps"
	values := map[string]float64{"gotk_reconcile_duration_seconds" + id: took, "gotk_suspend_status" + id: suspended}

	for s, v := range status {
		values["gotk_reconcile_condition"+id+" status="+s+" type=Ready"] = v
	}

	return values
}

func TestMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()

	metrics, err := engine.NewMetrics(registry)
	if err != nil {
		t.Fatal(err)
	}

	var (
		bench   *enginetest.Bench[object, scope]
		verdict error
	)

	k := newKind(step{Name: "last", Reason: "ActFailed", Run: func(context.Context, object, *scope) error {
		bench.Clock.Advance(2 * time.Second)

		return verdict
	}})
	k.Delete = k.Steps
	obj, still := newObject(), newObject(suspended, func(obj object) { obj.Name = "still" })
	bench = enginetest.New(t, k, enginetest.Options{Engine: engine.Options{Metrics: metrics}}, obj, still)

	check := func(reason string, want ...map[string]float64) {
		t.Helper()

		all := map[string]float64{}
		for _, w := range want {
			maps.Copy(all, w)
		}

		if diff := cmp.Diff(all, series(t, registry)); diff != "" {
			t.Errorf("%s: -want, +got:\n%s", reason, diff)
		}
	}

	bench.Run(t, obj)
	check("success", of("podinfo", 2, 0, map[string]float64{"True": 1, "False": 0, "Unknown": 0}))

	verdict = errors.New("no")
	bench.Run(t, obj)
	check("failure", of("podinfo", 4, 0, map[string]float64{"True": 0, "False": 1, "Unknown": 0}))

	verdict = engine.Await(time.Minute, "health")
	bench.Run(t, obj)

	remaining := of("still", 0, 1, nil)
	bench.Run(t, still)
	check("awaiting, and one that is suspended",
		of("podinfo", 6, 0, map[string]float64{"True": 0, "False": 0, "Unknown": 1}), remaining)

	verdict = nil
	if err := bench.Client.Delete(t.Context(), obj); client.IgnoreNotFound(err) != nil {
		t.Fatal(err)
	}

	if got := bench.Run(t, obj); !got.Gone {
		t.Fatalf("the object is still there: %v", got)
	}

	check("deleted", remaining)

	if _, err := engine.NewMetrics(registry); err == nil {
		t.Error("registered twice: want an error")
	}
}
