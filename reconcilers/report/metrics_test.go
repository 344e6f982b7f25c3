package report

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
)

func TestMetrics(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	m, err := NewMetrics(registry, fluxv1.OperatorReport{APIVersion: "fluxcd.controlplane.io/v1", Version: "v0.1.0", Platform: "linux/amd64"})
	if err != nil {
		t.Fatal(err)
	}
	const operator = `
# HELP flux_operator_info The operator itself.
# TYPE flux_operator_info gauge
flux_operator_info{api_version="fluxcd.controlplane.io/v1",platform="linux/amd64",version="v0.1.0"} 1
`
	expect := func(reason, want string) {
		t.Helper()
		if err := testutil.GatherAndCompare(registry, strings.NewReader(want)); err != nil {
			t.Errorf("%s: %v", reason, err)
		}
	}
	expect("before the first report, only the operator is known", operator)

	m.set([]object{
		{kind: "FluxInstance", uid: "1", name: "flux", namespace: "flux-system", ready: "True", reason: "ReconciliationSucceeded", registry: "ghcr.io/fluxcd", revision: "v2.9.5@sha256:1"},
		{kind: "ResourceSet", uid: "2", name: "apps", namespace: "apps", ready: "False", reason: "BuildFailed", resources: 3, revision: "sha256:2"},
		{kind: "ResourceSetInputProvider", uid: "3", name: "prs", namespace: "apps", ready: "True", reason: "Succeeded", url: "https://git.example.com"},
		{kind: "Kustomization", uid: "4", name: "app", namespace: "apps", ready: "Unknown", suspended: true, revision: "r1", source: "fleet", path: "./deploy"},
	})
	expect("each object is told of under the metric of its kind", `
# HELP flux_instance_info A FluxInstance, and how it is.
# TYPE flux_instance_info gauge
flux_instance_info{exported_namespace="flux-system",kind="FluxInstance",name="flux",ready="True",reason="ReconciliationSucceeded",registry="ghcr.io/fluxcd",revision="v2.9.5@sha256:1",suspended="False",uid="1"} 1`+operator+`
# HELP flux_resource_info An object of a Flux kind, and how it is.
# TYPE flux_resource_info gauge
flux_resource_info{exported_namespace="apps",kind="Kustomization",name="app",path="./deploy",ready="Unknown",reason="",ref="",revision="r1",source_name="fleet",suspended="True",uid="4",url=""} 1
# HELP flux_resourceset_info A ResourceSet, and how it is.
# TYPE flux_resourceset_info gauge
flux_resourceset_info{exported_namespace="apps",kind="ResourceSet",name="apps",ready="False",reason="BuildFailed",resources="3",revision="sha256:2",suspended="False",uid="2"} 1
# HELP flux_resourcesetinputprovider_info A ResourceSetInputProvider, and how it is.
# TYPE flux_resourcesetinputprovider_info gauge
flux_resourcesetinputprovider_info{exported_namespace="apps",kind="ResourceSetInputProvider",name="prs",ready="True",reason="Succeeded",suspended="False",uid="3",url="https://git.example.com"} 1
`)

	m.set(nil)
	expect("what is gone is gone here", operator)
}
