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
	if got := testutil.CollectAndCount(m.corrections); got != 0 || len(m.known) != 0 || len(m.shared) != 0 {
		t.Errorf("series of an owner that is gone: %d, known are %v and %v", got, m.known, m.shared)
	}
	(*Metrics)(nil).corrected(owner, change(&Drift{}))
	(*Metrics)(nil).forget(owner)
}

// TestMetricsOfOthers shows that no tenant can use up what the others are told.
func TestMetricsOfOthers(t *testing.T) {
	m, err := NewMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	fields := func(n int) Changes {
		d := &Drift{}
		for i := range n {
			d.Fields = append(d.Fields, fmt.Sprintf(".data.k%d", i))
		}
		return Changes{{Ref: access.Ref{ID: access.ID{Kind: "ConfigMap", Name: "c"}}, Action: Configured, Drift: d}}
	}
	const owners = 3 * mostShared / mostSeries
	for i := range owners {
		m.corrected(access.ID{Kind: "Kustomization", Namespace: "greedy", Name: fmt.Sprint(i)}, fields(2*mostSeries))
	}
	if got := testutil.CollectAndCount(m.corrections); got != mostShared+owners {
		t.Errorf("series of one namespace: %d", got)
	}
	m.corrected(access.ID{Kind: "Kustomization", Namespace: "modest", Name: "app"}, fields(1))
	if got := testutil.ToFloat64(m.corrections.WithLabelValues("Kustomization", "app", "modest", "ConfigMap", ".data.k0")); got != 1 {
		t.Errorf("the correction of somebody else is counted %v times", got)
	}
}
