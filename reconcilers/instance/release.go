package instance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/engine"
)

const (
	// releasing is how many objects are released at a time.
	releasing = 8

	// releaseAttempts is how often an object is released that somebody else changes at the same time.
	releaseAttempts = 5
)

// release removes the finalizers that the controllers would have removed, from all objects of their kinds in all namespaces. What these
// objects have deployed stays.
func (r *reconciler) release(ctx context.Context, obj *fluxv1.FluxInstance, s *scope) error {
	definitions, _ := split(s.previous)
	var errs []error
	for _, gk := range toolkitKinds() {
		engine.Progress(ctx, "Removing the finalizers of all "+gk.Kind+" objects")
		errs = append(errs, s.releaseKind(ctx, obj, gk, definitions))
	}
	return errors.Join(errs...)
}

// releaseKind releases all objects of a kind. It goes on after an error, and returns the first few.
func (p Place) releaseKind(ctx context.Context, obj *fluxv1.FluxInstance, gk schema.GroupKind, definitions []access.Ref) error {
	doomed, err := p.doomed(ctx, obj, gk, definitions)
	if isGone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	var held []metav1.ObjectMeta
	_, err = p.Client.Each(ctx, gk, access.Query{}, func(item access.Item) error {
		m := metav1.ObjectMeta{
			Namespace: item.Meta.Namespace, Name: item.Meta.Name, ResourceVersion: item.Meta.ResourceVersion, Finalizers: item.Meta.Finalizers,
		}
		if len(farewell(gk, &m, doomed)) > 0 {
			held = append(held, m)
		}
		return nil
	})
	if isGone(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list %q: %w", gk, err)
	}
	errs := make([]error, len(held))
	var group errgroup.Group
	group.SetLimit(releasing)
	for i := range held {
		group.Go(func() error {
			errs[i] = p.releaseOne(ctx, gk, &held[i], doomed)
			return nil
		})
	}
	_ = group.Wait() // what went wrong is in the list
	return few(slices.DeleteFunc(errs, func(err error) bool { return err == nil }))
}

// releaseOne releases one object, as it is now: a finalizer that somebody else adds meanwhile is not lost.
func (p Place) releaseOne(ctx context.Context, gk schema.GroupKind, m *metav1.ObjectMeta, doomed bool) error {
	ref := access.Ref{ID: access.ID{Group: gk.Group, Kind: gk.Kind, Namespace: m.Namespace, Name: m.Name}}
	for attempt := 1; ; attempt++ {
		err := p.merge(ctx, ref, farewell(gk, m, doomed))
		if !apierrors.IsConflict(err) || attempt == releaseAttempts {
			return err
		}
		live, err := p.Client.GetMeta(ctx, ref)
		if isGone(err) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("get %q: %w", ref, err)
		}
		m = &live.ObjectMeta
	}
}

// few joins the first few errors, and says how many there are.
func few(errs []error) error {
	if len(errs) <= named {
		return errors.Join(errs...)
	}
	return errors.Join(append(slices.Clone(errs[:named]), fmt.Errorf("and %d more", len(errs)-named))...)
}

// doomed tells whether the definition of the kind, and with it all objects of the kind, is about to be deleted.
func (p Place) doomed(ctx context.Context, obj *fluxv1.FluxInstance, gk schema.GroupKind, definitions []access.Ref) (bool, error) {
	m, err := p.Client.Mapping(ctx, gk, "")
	if err != nil {
		return false, err
	}
	name := m.Resource + "." + m.Group
	i := slices.IndexFunc(definitions, func(ref access.Ref) bool { return ref.Name == name })
	if i < 0 {
		return false, nil
	}
	live, err := p.Client.GetMeta(ctx, definitions[i])
	if err != nil {
		return false, err
	}
	return owns(obj, live) && !meta.Disabled(live.Annotations, fluxv1.PruneAnnotation), nil
}

// farewell is the patch for an object whose controllers are gone; empty if there is nothing to be done. One that would take with it what it
// deployed is suspended too, if it is about to be deleted: should a controller be left that nobody knew of, it lets everything be.
func farewell(gk schema.GroupKind, m *metav1.ObjectMeta, doomed bool) map[string]any {
	patch := map[string]any{}
	if left := remaining(m.Finalizers); len(left) < len(m.Finalizers) {
		patch["metadata"] = map[string]any{"finalizers": left, "resourceVersion": m.ResourceVersion}
	}
	if doomed && (gk.Kind == "Kustomization" || gk.Kind == "HelmRelease") {
		patch["spec"] = map[string]any{"suspend": true}
	}
	return patch
}

// remaining are the finalizers that are not the toolkit's. The list is never nil: in a merge patch it replaces the other.
func remaining(finalizers []string) []string {
	others := []string{}
	for _, f := range finalizers {
		domain, _, _ := strings.Cut(f, "/")
		if domain != "fluxcd.io" && !strings.HasSuffix(domain, ".fluxcd.io") {
			others = append(others, f)
		}
	}
	return others
}

// toolkitKinds are those that the components reconcile, in every version of them.
func toolkitKinds() []schema.GroupKind {
	var kinds []schema.GroupKind
	for group, names := range map[string][]string{
		"helm.toolkit.fluxcd.io":         {"HelmRelease"},
		"image.toolkit.fluxcd.io":        {"ImagePolicy", "ImageRepository", "ImageUpdateAutomation"},
		"kustomize.toolkit.fluxcd.io":    {"Kustomization"},
		"notification.toolkit.fluxcd.io": {"Alert", "Provider", "Receiver"},
		"source.extensions.fluxcd.io":    {"ArtifactGenerator"},
		"source.toolkit.fluxcd.io": {
			"Bucket", "ExternalArtifact", "GitRepository", "HelmChart", "HelmRepository", "OCIRepository",
		},
	} {
		for _, kind := range names {
			kinds = append(kinds, schema.GroupKind{Group: group, Kind: kind})
		}
	}
	slices.SortFunc(kinds, func(a, b schema.GroupKind) int { return strings.Compare(a.String(), b.String()) })
	return kinds
}
