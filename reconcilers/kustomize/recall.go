package kustomize

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"

	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/apply"
	"github.com/weir-dev/weir/reconcilers/engine"
)

// recall adds to the inventory of a Kustomization that is deleted what an earlier process has applied for it without coming
// to write that down. Which kinds that was nobody knows any more, so all are looked through; only if the status leaves it open,
// for that takes a request for each kind.
func (r *reconciler) recall(ctx context.Context, obj *kustomizev1.Kustomization, s *scope) error {
	if (obj.Spec.KubeConfig != nil && s.site == nil) || r.checkAccount(obj) != nil || r.accounted(ctx, obj, s) {
		return nil //nolint:nilerr // what the account may not see nobody looks for in its name
	}

	suspects, err := r.labelled(ctx, ownerOf(obj))
	if err != nil {
		return err
	}

	lost, err := r.lost(ctx, obj, difference(suspects, s.previous))
	if err != nil {
		return err
	}

	s.previous = append(s.previous, lost...)
	s.memo.adopted, s.memo.unwritten = true, false

	return nil
}

// accounted tells whether the inventory has everything that was applied, as far as can be known without a look.
func (r *reconciler) accounted(ctx context.Context, obj *kustomizev1.Kustomization, s *scope) bool {
	return s.memo.adopted || !s.memo.unwritten && r.concluded(ctx, obj)
}

// concluded tells whether the last run came to its end, and nothing called for another one since. A deletion counts as a
// generation.
func (r *reconciler) concluded(ctx context.Context, obj *kustomizev1.Kustomization) bool {
	if !engine.IsTrue(obj, meta.ReadyCondition) || obj.Status.ObservedGeneration < obj.Generation-1 {
		return false
	}

	kind, key := SourceKey(obj)

	source, err := r.Sources.Source(ctx, kind, key)
	if apierrors.IsNotFound(err) {
		return true
	}

	return err == nil && source.GetArtifact().HasRevision(obj.Status.LastAppliedRevision)
}

// labelled returns all objects of the cluster with the labels of the owner.
func (r *reconciler) labelled(ctx context.Context, owner apply.Owner) ([]access.Ref, error) {
	client := r.Access.Own()

	kinds, err := client.Deletable(ctx)
	if err != nil {
		return nil, err
	}

	query := access.Query{Labels: fmt.Sprintf("%s/name=%s,%s/namespace=%s", owner.Prefix, owner.ID.Name, owner.Prefix, owner.ID.Namespace)}

	var refs []access.Ref

	for _, gk := range kinds {
		_, err := client.Each(ctx, gk, query, func(i access.Item) error {
			refs = append(refs, access.Ref{ID: access.ID{
				Group: gk.Group, Kind: gk.Kind, Namespace: i.Meta.Namespace, Name: i.Meta.Name,
			}})

			return nil
		})
		if err != nil && !apierrors.IsForbidden(err) && !apierrors.IsNotFound(err) && !apimeta.IsNoMatchError(err) {
			return nil, fmt.Errorf("look for forgotten objects of kind %q: %w", gk, err)
		}
	}

	return refs, nil
}
