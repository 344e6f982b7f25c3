package apply

import (
	"fmt"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/weir-dev/weir/reconcilers/access"
)

func TestMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	m, err := NewMetrics(registry)
	if err != nil {
		t.Fatal(err)
	}
	owner := access.ID{Kind: "Kustomization", Namespace: "ns", Name: "app"}
	change := func(d *Drift) Changes {
		return Changes{{Ref: access.Ref{ID: access.ID{Group: "apps", Kind: "Deployment", Name: "d"}}, Action: Configured, Drift: d}}
	}
	m.corrected(owner, change(nil))
	m.corrected(owner, change(&Drift{Fields: []string{`.spec.containers[name="a"].image`, `.spec.containers[name="b"].image`, ".spec.replicas"}}))
	m.corrected(owner, change(&Drift{Gone: true}))
	want := `
# HELP weir_drift_corrections_total How often a field that somebody else had changed was put back.
# TYPE weir_drift_corrections_total counter
weir_drift_corrections_total{field="",kind="Kustomization",name="app",namespace="ns",object="apps/Deployment"} 1
weir_drift_corrections_total{field=".spec.containers.image",kind="Kustomization",name="app",namespace="ns",object="apps/Deployment"} 1
weir_drift_corrections_total{field=".spec.replicas",kind="Kustomization",name="app",namespace="ns",object="apps/Deployment"} 1
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
	for i := range 2 * mostSeries {
		m.corrected(owner, change(&Drift{Fields: []string{fmt.Sprintf(".data.k%d", i)}}))
	}
	if got := testutil.CollectAndCount(m.corrections); got != mostSeries+1 {
		t.Errorf("series: %d", got)
	}
	m.forget(owner)
	if got := testutil.CollectAndCount(m.corrections); got != 0 {
		t.Errorf("series of an owner that is gone: %d", got)
	}
	(*Metrics)(nil).corrected(owner, change(&Drift{}))
	(*Metrics)(nil).forget(owner)
}
