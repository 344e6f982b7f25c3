package kustomize_test

import (
	"context"
	"slices"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	"github.com/weir-dev/weir/reconcilers/kustomize"
)

// relatives looks through all Kustomizations.
type relatives struct{ client.Reader }

func (r relatives) all(ctx context.Context, which func(*kustomizev1.Kustomization) bool) ([]*kustomizev1.Kustomization, error) {
	var list kustomizev1.KustomizationList
	if err := r.List(ctx, &list); err != nil {
		return nil, err
	}

	var found []*kustomizev1.Kustomization

	for i := range list.Items {
		if which(&list.Items[i]) {
			found = append(found, &list.Items[i])
		}
	}

	return found, nil
}

func (r relatives) Kustomization(ctx context.Context, key types.NamespacedName) (*kustomizev1.Kustomization, error) {
	obj := &kustomizev1.Kustomization{}

	return obj, r.Get(ctx, key, obj)
}

func (r relatives) OfSource(ctx context.Context, kind string, key types.NamespacedName) ([]*kustomizev1.Kustomization, error) {
	return r.all(ctx, func(k *kustomizev1.Kustomization) bool {
		gotKind, got := kustomize.SourceKey(k)

		return gotKind == kind && got == key
	})
}

func (r relatives) DependingOn(ctx context.Context, key types.NamespacedName) ([]*kustomizev1.Kustomization, error) {
	return r.all(ctx, func(k *kustomizev1.Kustomization) bool { return slices.Contains(kustomize.DependencyKeys(k), key) })
}
