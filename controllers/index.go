package controllers

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	"github.com/weir-dev/weir/reconcilers/kustomize"
)

// Indexes of Kustomizations by what makes them run. The values are references, from ref.
const (
	bySource     = "weir.source"
	byDependency = "weir.dependsOn"
	byConfig     = "weir.config"
)

// configKinds are the kinds of objects that hold variables.
func configKinds() []string { return []string{"ConfigMap", "Secret"} }

// ref is how indexes write a reference to an object.
func ref(kind string, key types.NamespacedName) string { return kind + "/" + key.String() }

// indexKustomizations makes Kustomizations findable in the cache by the objects that they refer to.
func (p *Process) indexKustomizations(ctx context.Context) error {
	for field, values := range map[string]func(k *kustomizev1.Kustomization) []string{
		bySource: sourceOf, byDependency: dependenciesOf, byConfig: configsOf,
	} {
		err := p.GetFieldIndexer().IndexField(ctx, &kustomizev1.Kustomization{}, field, func(obj client.Object) []string {
			k, ok := obj.(*kustomizev1.Kustomization)
			if !ok {
				return nil
			}

			return values(k)
		})
		if err != nil {
			return fmt.Errorf("index Kustomizations by %s: %w", field, err)
		}
	}

	return nil
}

func sourceOf(k *kustomizev1.Kustomization) []string {
	return []string{ref(kustomize.SourceKey(k))}
}

func dependenciesOf(k *kustomizev1.Kustomization) []string {
	var refs []string
	for _, key := range kustomize.DependencyKeys(k) {
		refs = append(refs, ref(kustomizev1.KustomizationKind, key))
	}

	return refs
}

func configsOf(k *kustomizev1.Kustomization) []string {
	var refs []string

	for _, kind := range configKinds() {
		for _, key := range kustomize.ConfigKeys(k, kind) {
			refs = append(refs, ref(kind, key))
		}
	}

	return refs
}

// find returns the names of the Kustomizations that an index has under the value.
func (p *Process) find(ctx context.Context, field, value string) []types.NamespacedName {
	list := &kustomizev1.KustomizationList{}

	err := p.GetClient().List(ctx, list, client.MatchingFields{field: value}, client.UnsafeDisableDeepCopy,
		client.DisableReadYourWritesConsistency) // what was just written here is on its way as an event of its own
	if err != nil {
		logf.FromContext(ctx).Error(err, "Kustomizations could not be looked up", "index", field, "value", value)

		return nil
	}

	keys := make([]types.NamespacedName, 0, len(list.Items))
	for i := range list.Items {
		keys = append(keys, client.ObjectKeyFromObject(&list.Items[i]))
	}

	return keys
}
