package resourceset

import (
	"context"
	"errors"
	"fmt"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/health"
)

// readyExpr says when an object of this group is ready that others depend on.
const readyExpr = `status.conditions.filter(c, c.type == 'Ready').all(c, c.status == 'True' && c.observedGeneration == metadata.generation)`

// depend waits for the dependencies. They are read with the rights of the process, as everybody may know what is ready. What an expression
// sees beyond that is for the account to see: whoever writes it learns one answer at a time what the object holds.
func (r *reconciler) depend(ctx context.Context, obj *fluxv1.ResourceSet, s *scope) error {
	var known []access.ID
	for i := range obj.Spec.DependsOn {
		id, err := r.look(ctx, obj, &obj.Spec.DependsOn[i])
		if id.Name != "" {
			known = append(known, id)
		}
		if v, ok := errors.AsType[*engine.Verdict](err); ok {
			return v
		}
		if err != nil {
			r.follow(obj, s, known)
			return engine.Wait(meta.DependencyNotReadyReason, r.RequeueDependency,
				fmt.Errorf("Retrying dependency check: %w", err)) //nolint:staticcheck // clients know these words
		}
	}
	r.follow(obj, s, nil)
	return nil
}

// follow has changes of dependencies wake the ResourceSet, as long as it waits for one.
func (r *reconciler) follow(obj *fluxv1.ResourceSet, s *scope, ids []access.ID) {
	key := client.ObjectKeyFromObject(obj)
	switch {
	case len(ids) > 0 && r.Wake != nil:
		r.Hub.Follow(follower(key), ids, func(access.ID, *health.Live) { r.Wake(key) })
		s.memo.following = true
	case s.memo.following:
		r.Hub.Untrack(follower(key))
		s.memo.following = false
	}
}

// follower is who follows what a ResourceSet depends on: the ResourceSet itself is known to the hub as who applies objects.
func follower(key types.NamespacedName) access.ID {
	id := Owner(key).ID
	id.Kind += "Dependencies"
	return id
}

// look says what keeps a dependency from being met. The identity is empty as long as nobody knows where there are such objects.
func (r *reconciler) look(ctx context.Context, obj *fluxv1.ResourceSet, d *fluxv1.Dependency) (access.ID, error) {
	gv, err := schema.ParseGroupVersion(d.APIVersion)
	if err != nil {
		return access.ID{}, misconfigured(meta.BuildFailedReason, fmt.Errorf("dependency %s/%s: %w", d.Kind, d.Name, err))
	}
	id := access.ID{Group: gv.Group, Kind: d.Kind, Namespace: d.Namespace, Name: d.Name}
	mapping, err := r.Access.Own().Mapping(ctx, id.GroupKind(), gv.Version)
	if err != nil {
		return access.ID{}, fmt.Errorf("dependency %s: %w", id, err)
	}
	switch {
	case !mapping.Namespaced:
		id.Namespace = ""
	case id.Namespace == "":
		id.Namespace = obj.Namespace
	case id.Namespace != obj.Namespace && r.NoCrossNamespaceRefs:
		return id, engine.Stall(meta.AccessDeniedReason, fmt.Errorf("can't access '%s', cross-namespace references have been blocked", id))
	}
	live, err := r.Access.Own().Get(ctx, access.Ref{ID: id, Version: gv.Version})
	if apierrors.IsNotFound(err) {
		return id, fmt.Errorf("dependency %s not found: %w", id, err)
	}
	if err != nil {
		return id, fmt.Errorf("dependency %s: %w", id, err)
	}
	if !d.Ready {
		return id, nil
	}
	return id, r.ready(ctx, obj, d, id, live)
}

// ready says what keeps a dependency that exists from being ready.
func (r *reconciler) ready(ctx context.Context, obj *fluxv1.ResourceSet, d *fluxv1.Dependency, id access.ID, live *unstructured.Unstructured) error {
	expr := d.ReadyExpr
	if expr == "" && id.Group == fluxv1.GroupVersion.Group &&
		(id.Kind == fluxv1.ResourceSetKind || id.Kind == fluxv1.ResourceSetInputProviderKind) {
		expr = readyExpr
	}
	if expr == "" {
		result, err := status.Compute(live)
		if err != nil {
			return fmt.Errorf("dependency %s: %w", id, err)
		}
		if result.Status != status.CurrentStatus {
			return fmt.Errorf("dependency %s is not ready: status '%s'", id, result.Status)
		}
		return nil
	}
	program, err := r.Expressions.Object(expr)
	if err != nil {
		return misconfigured(meta.InvalidCELExpressionReason, fmt.Errorf("dependency %s: %w", id, err))
	}
	seen := live.Object
	if d.ReadyExpr != "" {
		if seen, err = r.visible(ctx, obj, access.Ref{ID: id, Version: live.GroupVersionKind().Version}, live); err != nil {
			return fmt.Errorf("dependency %s: %w", id, err)
		}
	}
	holds, err := program.Holds(ctx, seen)
	if err != nil {
		return fmt.Errorf("dependency %s is not ready: %w", id, err)
	}
	if !holds {
		return fmt.Errorf("dependency %s is not ready according to readyExpr", id)
	}
	return nil
}

// visible returns what an expression may see of an object: nothing of the contents of Secrets of other namespaces, nor copies of them; and
// of what the account cannot read, only what tells whether it is ready.
func (r *reconciler) visible(ctx context.Context, obj *fluxv1.ResourceSet, ref access.Ref, live *unstructured.Unstructured) (map[string]any, error) {
	c, err := r.clientFor(obj)
	if err != nil {
		return nil, err
	}
	if c.Identity() != "" {
		own, err := c.Get(ctx, ref)
		if apierrors.IsForbidden(err) {
			return outline(live), nil
		}
		if err != nil {
			return nil, err
		}
		live = own
	}
	unstructured.RemoveNestedField(live.Object, "metadata", "managedFields")
	unstructured.RemoveNestedField(live.Object, "metadata", "annotations", health.LastApplied)
	if ref.Group == "" && ref.Kind == meta.KindSecret && ref.Namespace != obj.Namespace {
		delete(live.Object, "data")
		delete(live.Object, "stringData")
	}
	return live.Object, nil
}

// outline returns what tells whether an object is ready.
func outline(live *unstructured.Unstructured) map[string]any {
	out := map[string]any{"apiVersion": live.GetAPIVersion(), "kind": live.GetKind()}
	for _, path := range [][]string{
		{"metadata", "name"}, {"metadata", "namespace"}, {"metadata", "generation"}, {"metadata", "deletionTimestamp"},
		{"status", "conditions"}, {"status", "observedGeneration"}, {"status", "phase"},
	} {
		if v, ok, _ := unstructured.NestedFieldNoCopy(live.Object, path...); ok {
			_ = unstructured.SetNestedField(out, v, path...) // there is no other value in the way
		}
	}
	return out
}

// misconfigured stalls a ResourceSet with something in its spec that will never work.
func misconfigured(reason string, err error) error {
	return engine.Stall(reason, fmt.Errorf("Reconciliation failed terminally due to configuration error: %w", err)) //nolint:staticcheck // clients know these words
}
