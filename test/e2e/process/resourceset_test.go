package process

import (
	"fmt"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/test/e2e/platform"
)

// TestResourceSet takes a ResourceSet through its life beside an operator: whatever it depends on makes it run, at once and not at its
// interval of an hour.
func TestResourceSet(t *testing.T) {
	s := newStageOn(t, shared.Start(t), "--controllers=instance", "--image="+image)
	s.raise(t)
	namespace := s.namespace(t, "resourceset")
	group := schema.GroupVersion{Group: "fluxcd.controlplane.io", Version: "v1"}

	provider := platform.Object(group.WithKind("ResourceSetInputProvider"), namespace, "apps")
	provider.SetAnnotations(map[string]string{"fluxcd.controlplane.io/reconcile": "disabled"}) // the test exports
	provider.Object["spec"] = map[string]any{"type": "Static"}

	settings := platform.Object(platform.Core("ConfigMap"), namespace, "settings")
	settings.SetLabels(map[string]string{"reconcile.fluxcd.io/watch": "Enabled"})
	settings.Object["data"] = map[string]any{"colour": "red"}

	set := platform.Object(group.WithKind("ResourceSet"), namespace, "apps")
	set.Object["spec"] = map[string]any{
		"inputsFrom": []any{map[string]any{"name": "apps"}},
		"resources": []any{map[string]any{
			"apiVersion": "v1", "kind": "ConfigMap",
			"metadata": map[string]any{
				"name": "app-<< inputs.name >>", "namespace": namespace,
				"annotations": map[string]any{"fluxcd.controlplane.io/copyFrom": namespace + "/settings"},
			},
		}},
	}

	s.apply(t, provider, settings, set)

	patch := func(what client.Object, body string, status bool) {
		t.Helper()

		raw := client.RawPatch(types.MergePatchType, []byte(body))

		var err error
		if status {
			err = s.client.Status().Patch(deadline(t, patience), what, raw)
		} else {
			err = s.client.Patch(deadline(t, patience), what, raw)
		}

		if err != nil {
			t.Fatal(err)
		}
	}
	colour := func(name, want string) func(platform.Snapshot) error {
		return func(now platform.Snapshot) error {
			got := "none"
			if o := now.Get(platform.Core("ConfigMap"), namespace, name); o != nil {
				got = platform.Text(o, "data", "colour")
			}

			if got != want {
				return fmt.Errorf("the colour of %s is %s, not %s", name, got, want)
			}

			return nil
		}
	}

	patch(provider, `{"status":{"lastExportedRevision":"sha256:1","exportedInputs":[{"id":"1","name":"one"},{"id":"2","name":"two"}]}}`, true)
	s.await(t, "what the provider exports is applied", colour("app-one", "red"), colour("app-two", "red"))

	patch(provider, `{"status":{"lastExportedRevision":"sha256:2","exportedInputs":[{"id":"2","name":"two"},{"id":"3","name":"three"}]}}`, true)
	s.await(t, "other inputs are applied", colour("app-one", "none"), colour("app-two", "red"), colour("app-three", "red"))

	patch(settings, `{"data":{"colour":"blue"}}`, false)
	s.await(t, "another original is copied", colour("app-two", "blue"), colour("app-three", "blue"))

	patch(platform.Object(platform.Core("ConfigMap"), namespace, "app-two"), `{"data":{"colour":"green"}}`, false)
	s.await(t, "a hand edit is put back", colour("app-two", "blue"))

	if err := s.client.Delete(deadline(t, patience), set); err != nil {
		t.Fatal(err)
	}

	s.await(t, "all is gone with the ResourceSet", colour("app-two", "none"), colour("app-three", "none"))
}
