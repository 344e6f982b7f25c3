package process

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/weir-dev/weir/test/e2e/platform"
	"github.com/weir-dev/weir/test/helmrepo"
)

// workload is a chart of a repository, with a Deployment that is waited for.
func workload(t *testing.T, s *story) {
	charts := must(helmrepo.Serve(t.Context(), t.TempDir(), helmrepo.Options{}))(t)
	t.Cleanup(charts.Close)

	if err := charts.Add(helmrepo.Chart("podinfo", "6.0.0"), helmrepo.Chart("podinfo", "6.1.0")); err != nil {
		t.Fatal(err)
	}

	app := s.release(s.namespace, "app", "", map[string]any{
		"chart": map[string]any{
			"metadata": map[string]any{"labels": map[string]any{setLabel: s.set}},
			"spec": map[string]any{
				"chart": "podinfo", "version": "6.0.0", "sourceRef": map[string]any{"kind": "HelmRepository", "name": "charts"},
			},
		},
	})
	unstructured.RemoveNestedField(app.Object, "spec", "chartRef")

	replicas := func(want int64) func(platform.Snapshot) error {
		return func(now platform.Snapshot) error {
			d := now.Get(platform.Deployment(), s.namespace, "app")
			if d == nil {
				return errors.New("the Deployment is not there")
			}

			if got := platform.Number(d, "status", "availableReplicas"); got != want {
				return fmt.Errorf("%d replicas are available, not %d", got, want)
			}

			return nil
		}
	}

	s.apply(t, s.object(kind("HelmRepository"), s.namespace, "charts", map[string]any{"url": charts.URL()}), app)
	s.await(t, "installed", s.became("True InstallSucceeded", "app.v1 with chart podinfo@6.0.0"))

	if err := replicas(1)(s.view.Now()); err != nil { // it is not Ready before
		s.fail(t, "waited for", err)
	}

	s.edit(t, helmRelease(), s.namespace, "app", `{"spec":{"chart":{"spec":{"version":"6.1.0"}},"values":{"replicaCount":2}}}`)
	s.await(t, "upgraded", s.became("True UpgradeSucceeded", "with chart podinfo@6.1.0"), replicas(2))

	// Nothing is rolled back unless one asks for that, and another try comes with another spec.
	s.values(t, `{"replicaCount":-1}`)
	s.await(t, "failed", s.became("False UpgradeFailed, stalled RetriesExceeded"))
	s.values(t, `{"replicaCount":3}`)
	s.await(t, "mended", s.became("True UpgradeSucceeded"), replicas(3))
	s.gone(t)
}

// definitions brings custom resource definitions, and replaces them if asked.
func definitions(t *testing.T, s *story) {
	name := s.namespace // definitions are the cluster's
	definition := "widgets." + name + ".example.com"

	has := func(property string, want bool) {
		t.Helper()

		crd := platform.Object(platform.Definition(), "", definition)
		if err := s.client.Get(deadline(t, patience), keyOf(crd), crd); err != nil {
			t.Fatal(err)
		}

		if got := strings.Contains(fmt.Sprint(crd.Object["spec"]), property); got != want {
			t.Errorf("that the definition has the property %q: want %t, got %t", property, want, got)
		}
	}
	widget := func(property, want string) {
		t.Helper()

		w := platform.Object(helmRelease(), s.namespace, "app")
		w.SetAPIVersion(name + ".example.com/v1")
		w.SetKind("Widget")

		if err := s.client.Get(deadline(t, patience), keyOf(w), w); err != nil {
			t.Fatal(err)
		}

		if got := platform.Text(w, "spec", property); got != want {
			t.Errorf("the widget has the %s %q, want %q", property, got, want)
		}
	}

	s.push(t, name, "1.0.0", helmrepo.WithDefinitions(name, "1.0.0", "size"))
	s.push(t, name, "2.0.0", helmrepo.WithDefinitions(name, "2.0.0", "size", "colour"))
	s.apply(t, s.chart(s.namespace, name, "1.0.0"), s.release(s.namespace, "app", name, map[string]any{"values": map[string]any{"value": "small"}}))
	s.await(t, "installed", s.became("True InstallSucceeded"))
	has("colour", false)
	widget("size", "small")

	// What is there stays as it is, unless it may be replaced.
	s.edit(t, helmRelease(), s.namespace, "app", `{"spec":{"upgrade":{"crds":"CreateReplace"},"values":{"value":"red"}}}`)
	s.await(t, "upgraded", s.became("True UpgradeSucceeded", "@1.0.0+"))
	s.tag(t, s.namespace, name, "2.0.0")
	s.await(t, "upgraded with the definition", s.became("True UpgradeSucceeded", "@2.0.0+"))
	has("colour", true)
	widget("colour", "red")
	s.gone(t)
	has("colour", true) // with what other objects there are of the kind
}

// family is a chart with others in it.
func family(t *testing.T, s *story) {
	s.push(t, "family", "1.0.0", helmrepo.WithFamily("family", "1.0.0"))
	s.apply(t, s.chart(s.namespace, "family", "1.0.0"), s.release(s.namespace, "app", "family", map[string]any{
		"values": map[string]any{"global": map[string]any{"team": "blue"}, "store": map[string]any{"size": "large"}},
	}))
	s.await(t, "installed", s.became("True InstallSucceeded"), s.value("none"), valueOf(s.namespace, "app-store", "size", "large"))

	for name, want := range map[string]string{"app": "family", "app-store": "store"} {
		labels := s.view.Now().Get(platform.Core("ConfigMap"), s.namespace, name).GetLabels()
		wanted := map[string]string{
			"team": "blue", "chart": want, "app.kubernetes.io/managed-by": "Helm",
			"helm.toolkit.fluxcd.io/name": "app", "helm.toolkit.fluxcd.io/namespace": s.namespace,
		}
		expect(t, "labels of "+name, wanted, labels)
	}

	s.values(t, `{"store":{"enabled":false}}`)
	s.await(t, "what is switched off is gone", s.became("True UpgradeSucceeded"), valueOf(s.namespace, "app-store", "size", "absent"))
	s.gone(t)
}

// bulk is a chart of 5 MB, of which Helm can keep every release.
func bulk(t *testing.T, s *story) {
	s.push(t, "bulk", "1.0.0", helmrepo.WithBulk("bulk", "1.0.0", 5_000_000, 0))
	s.apply(t, s.chart(s.namespace, "bulk", "1.0.0"), s.release(s.namespace, "app", "bulk", nil))
	s.await(t, "installed", s.became("True InstallSucceeded"), s.value("none"), func(now platform.Snapshot) error {
		o := now.Get(platform.Core("ConfigMap"), s.namespace, "app-4")
		if o == nil || len(platform.Text(o, "data", "dashboard.json")) < 90_000 {
			return errors.New("a dashboard is missing")
		}

		return nil
	})
	s.values(t, `{"value":"more"}`)
	s.await(t, "upgraded", s.became("True UpgradeSucceeded"), s.value("more"), s.newest("v2 deployed"))
	expect(t, "records", map[string]string{"app.v1": "superseded", "app.v2": "deployed"}, s.records(t))
	s.gone(t)
}

// excess is a chart of which Helm could not keep a release: nothing of it gets into the cluster, and one is told what is too much.
func excess(t *testing.T, s *story) {
	name := s.namespace
	files := helmrepo.WithBulk(name, "1.0.0", 5_000_000, 2_000_000)
	files["crds/widgets.yaml"] = helmrepo.WithDefinitions(name, "1.0.0", "size")["crds/widgets.yaml"]

	s.push(t, name, "1.0.0", files)
	s.apply(t, s.chart(s.namespace, name, "1.0.0"), s.release(s.namespace, "app", name, nil))
	s.await(t, "refused", func(now platform.Snapshot) error {
		o := now.Get(helmRelease(), s.namespace, "app")
		if o == nil {
			return errors.New("the HelmRelease is not there")
		}

		state, reason, message := platform.Condition(o, "Ready")
		for _, part := range []string{"False InstallFailed", "bytes, and a Secret has room for 1", `most of it are chart file "noise.txt" about`} {
			if !strings.Contains(state+" "+reason+": "+message, part) {
				return fmt.Errorf("Ready is %s %s: %s", state, reason, message)
			}
		}

		return nil
	}, s.value("absent"))
	expect(t, "records", map[string]string{}, s.records(t))

	if s.view.Now().Get(platform.Definition(), "", "widgets."+name+".example.com") != nil {
		t.Error("the definition was applied")
	}

	smaller := maps.Clone(files)
	delete(smaller, "noise.txt")

	smaller["Chart.yaml"] = strings.ReplaceAll(smaller["Chart.yaml"], "1.0.0", "1.0.1")
	s.push(t, name, "1.0.1", smaller)
	s.tag(t, s.namespace, name, "1.0.1")
	s.await(t, "installed without it", s.became("True InstallSucceeded"), s.value("none"))
	s.gone(t)
}
