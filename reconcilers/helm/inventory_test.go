package helm_test

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v2 "github.com/weir-dev/weir/api/helm/v2"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/engine"
)

const (
	role = `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: "{{ .Release.Namespace }}:role"}
rules: []
`
	hook = `
apiVersion: v1
kind: ConfigMap
metadata: {name: hook, annotations: {helm.sh/hook: pre-install}}
`
)

// TestInventory lists what a release consists of.
func TestInventory(t *testing.T) {
	t.Parallel()

	e := newEnv(t)
	entries := func(names ...string) []meta.ResourceRef {
		known := map[string]meta.ResourceRef{
			"one": {ID: e.namespace + "_one__ConfigMap", Version: "v1"}, "two": {ID: e.namespace + "_two__ConfigMap", Version: "v1"},
			"role": {ID: "_" + e.namespace + "__role_rbac.authorization.k8s.io_ClusterRole", Version: "v1"},
		}

		out := make([]meta.ResourceRef, len(names))
		for i, name := range names {
			out[i] = known[name]
		}

		return out
	}
	listed := func(obj *v2.HelmRelease) []meta.ResourceRef {
		if obj.Status.Inventory == nil {
			return nil
		}

		return obj.Status.Inventory.Entries
	}

	e.publish("1.0.0", map[string]string{"one": one, "hook": hook, "role": role})
	e.declare(func(spec *v2.HelmReleaseSpec) {
		always := true
		spec.Upgrade = &v2.Upgrade{Remediation: &v2.UpgradeRemediation{RemediateLastFailure: &always}}
	})
	same(t, "installed", entries("role", "one"), listed(e.once()))

	e.publish("1.1.0", map[string]string{"one": one, "two": two})
	same(t, "upgraded", entries("one", "two"), listed(e.once()))

	e.publish("2.0.0", map[string]string{"config": broken})

	obj := e.once()
	same(t, "Remediated", true, engine.IsTrue(obj, v2.RemediatedCondition))
	same(t, "rolled back", entries("one", "two"), listed(obj))

	e.publish("2.1.0", map[string]string{"one": one})
	obj = e.once()
	same(t, "upgraded", entries("one"), listed(obj))

	before := obj.DeepCopy()
	obj.Status.Inventory = nil
	must(t, e.c.Status().Patch(t.Context(), obj, client.MergeFrom(before)))
	same(t, "of another controller", entries("one"), listed(e.once()))
}

// TestInventoryOfUninstalled is empty.
func TestInventoryOfUninstalled(t *testing.T) {
	t.Parallel()

	e := newEnv(t)
	e.publish("1.0.0", map[string]string{"one": one, "config": broken})
	e.declare(func(spec *v2.HelmReleaseSpec) {
		always := true
		spec.Interval = metav1.Duration{Duration: 1 << 40}
		spec.Install = &v2.Install{Remediation: &v2.InstallRemediation{RemediateLastFailure: &always}}
	})

	obj := e.once()
	same(t, "Remediated", true, engine.IsTrue(obj, v2.RemediatedCondition))

	if obj.Status.Inventory != nil {
		t.Errorf("the inventory of what was uninstalled is %v", obj.Status.Inventory)
	}
}
