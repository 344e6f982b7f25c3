package kustomize_test

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	"github.com/weir-dev/weir/api/meta"
)

// TestTenancyOfWhatIsRare proves for the rest what TestTenancy does: for looks at rights, for what is read because fields are ignored, for fields that
// are taken over, and for objects that nobody may watch, which are read, deleted and looked for one by one.
func TestTenancyOfWhatIsRare(t *testing.T) {
	for name, away := range map[string]bool{"Home": false, "Away": true} {
		t.Run(name, func(t *testing.T) {
			x := newTenant(t, away, false)
			x.applies("applied", "a", "1-hush", "b", "1")
			x.did("the first apply", 6)

			x.clock.advance(5 * time.Minute)
			x.once("app")
			x.did("a look at the rights to what is others'", 1)

			x.calm()
			x.patch("b", "kubectl-edit", `{"data":{"more":"x"}}`)
			x.awaken("app", "a hand edit")
			x.run("app", "taken over", func(*kustomizev1.Kustomization) bool { return x.value("b", "more") == "" })
			x.did("fields that are taken over", 2)

			x.edit("app", func(k *kustomizev1.Kustomization) {
				k.Spec.Ignore = []meta.IgnoreRule{{Paths: []string{"/data/free"}, Target: &meta.Selector{Kind: "ConfigMap", Name: "b"}}}
			})
			x.publish("repo", "main@sha1:2", tenantFiles("b.yaml", configMap("b", "2")))
			x.applies("applied with a field that is ignored", "b", "2")
			x.did("ignored fields", 2)

			x.proxy.blind.Store(new("/secrets"))
			x.edit("app", func(k *kustomizev1.Kustomization) { k.Spec.Wait = true })
			x.publish("repo", "main@sha1:3", tenantFiles("b.yaml", configMap("b", "2"), "s.yaml", secret("s", "one")+"immutable: true\n"))
			x.keeps("applied what nobody may watch", "one")
			x.did("what nobody may watch", 3)

			must(t, x.c.Patch(t.Context(), x.secretAt(), client.RawPatch(types.MergePatchType,
				[]byte(`{"metadata":{"annotations":{"kustomize.toolkit.fluxcd.io/force":"enabled"}}}`)), client.FieldOwner("somebody")))
			x.publish("repo", "main@sha1:4", tenantFiles("b.yaml", configMap("b", "2"), "s.yaml", secret("s", "two")+"immutable: true\n"))
			x.keeps("created anew what nobody may watch", "two")
			x.did("a recreation of what nobody may watch", 5)
		})
	}
}

func (x *tenant) patch(name, manager, patch string) {
	x.t.Helper()
	obj := &corev1.ConfigMap{}
	obj.Namespace, obj.Name = x.namespace, name
	must(x.t, x.c.Patch(x.t.Context(), obj, client.RawPatch(types.MergePatchType, []byte(patch)), client.FieldOwner(manager)))
}

func (x *tenant) secretAt() *corev1.Secret {
	obj := &corev1.Secret{}
	obj.Namespace, obj.Name = x.namespace, "s"

	return obj
}

// value returns a value in a ConfigMap of the cluster that is applied to.
func (x *tenant) value(name, key string) string {
	x.t.Helper()

	obj := &corev1.ConfigMap{}
	must(x.t, x.c.Get(x.t.Context(), types.NamespacedName{Namespace: x.namespace, Name: name}, obj))

	return obj.Data[key]
}

// keeps runs the Kustomization until the Secret has the password. Nobody is woken for what nobody may watch.
func (x *tenant) keeps(what, password string) {
	x.t.Helper()

	for range 200 {
		x.once("app")

		obj := x.secretAt()
		if err := x.c.Get(x.t.Context(), client.ObjectKeyFromObject(obj), obj); err == nil && string(obj.Data["password"]) == password {
			x.once("app") // and looks at its health

			return
		}
	}

	x.t.Fatalf("never %s: %v", what, x.get("app").Status.Conditions)
}
