package helm

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"helm.sh/helm/v3/pkg/release"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	v2 "github.com/weir-dev/weir/api/helm/v2"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/helm/drift"
	"github.com/weir-dev/weir/reconcilers/helm/state"
)

// takeInventory lists in the status what the release that an action has made consists of. What was there before an action that failed
// stays in the list: nobody knows what became of it.
func (a *attempt) takeInventory(ctx context.Context, action state.Action, failed bool) {
	s := &a.obj.Status

	if action == state.Uninstall && !failed {
		s.Inventory = nil
	}

	if a.book.created == nil {
		return
	}

	objects, err := drift.Objects(a.book.created, a.kube)
	if err != nil {
		tellInventory(ctx, a.obj, a.s, a.book.created, err)

		return
	}

	objects = append(objects, a.kube.Definitions...)
	s.Inventory = inventory(append(objects, a.definitions...), kept(s.Inventory, action == state.Rollback, failed))
}

// restoreInventory lists what a deployed release consists of if the status does not: another controller has left the list out, or the
// process was killed before it was written.
func (r *reconciler) restoreInventory(ctx context.Context, obj *v2.HelmRelease, s *scope, deployed *release.Release) {
	if obj.Status.Inventory != nil && !s.recalled {
		return
	}

	objects, err := drift.Objects(deployed, r.builder(ctx, s, deployed))
	if err != nil {
		tellInventory(ctx, obj, s, deployed, err)

		return
	}

	obj.Status.Inventory = inventory(objects, kept(obj.Status.Inventory, true, false))
}

func tellInventory(ctx context.Context, obj *v2.HelmRelease, s *scope, of *release.Release, err error) {
	engine.Emit(ctx, engine.Event{
		Type: corev1.EventTypeWarning, Reason: v2.InventoryBuildFailedReason, Metadata: metadata(obj, s),
		Message: fmt.Sprintf("Failed to build the inventory of release %s/%s.v%d: %s", of.Namespace, of.Name, of.Version, err),
	})
}

// newestDigest identifies the newest release that the status tells of, empty if there is none.
func newestDigest(obj *v2.HelmRelease) string {
	if latest := obj.Status.History.Latest(); latest != nil {
		return latest.Digest
	}

	return ""
}

// kept returns the entries that an inventory keeps: all, or the definitions. A release that was made before does not tell of those of its
// chart, which stay in the cluster anyway.
func kept(before *meta.ResourceInventory, definitions, all bool) []meta.ResourceRef {
	if before == nil {
		return nil
	}

	if all {
		return before.Entries
	}

	return slices.DeleteFunc(slices.Clone(before.Entries), func(entry meta.ResourceRef) bool {
		ref, err := access.ParseInventory(entry)

		return err != nil || !definitions || ref.Kind != "CustomResourceDefinition" || ref.Group != "apiextensions.k8s.io"
	})
}

// inventory lists objects, and entries that are not of the same objects, sorted.
func inventory(objects []*unstructured.Unstructured, more []meta.ResourceRef) *meta.ResourceInventory {
	listed := map[string]meta.ResourceRef{}

	for _, entry := range more {
		listed[entry.ID] = entry
	}

	for _, obj := range objects {
		entry := access.Of(obj).Inventory()
		listed[entry.ID] = entry
	}

	out := &meta.ResourceInventory{Entries: make([]meta.ResourceRef, 0, len(listed))}
	for _, entry := range listed {
		out.Entries = append(out.Entries, entry)
	}

	slices.SortFunc(out.Entries, func(x, y meta.ResourceRef) int { return strings.Compare(x.ID, y.ID) })

	return out
}
