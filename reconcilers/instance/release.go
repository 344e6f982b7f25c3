package instance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/engine"
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

func (p Place) releaseKind(ctx context.Context, obj *fluxv1.FluxInstance, gk schema.GroupKind, definitions []access.Ref) error {
	doomed, err := p.doomed(ctx, obj, gk, definitions)
	if isGone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	patches := map[access.Ref]map[string]any{}
	_, err = p.Client.Each(ctx, gk, access.Query{}, func(item access.Item) error {
		id := access.ID{Group: gk.Group, Kind: gk.Kind, Namespace: item.Meta.Namespace, Name: item.Meta.Name}
		if patch := farewell(gk, item.Meta.Finalizers, doomed); len(patch) > 0 {
			patches[access.Ref{ID: id}] = patch
		}
		return nil
	})
	if isGone(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list %q: %w", gk, err)
	}
	var errs []error
	for ref, patch := range patches {
		errs = append(errs, p.merge(ctx, ref, patch))
	}
	return errors.Join(errs...)
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

// farewell is the patch for an object whose controllers are gone. One that would take with it what it deployed is suspended too, if it is
// about to be deleted: should a controller be left that nobody knew of, it lets everything be.
func farewell(gk schema.GroupKind, finalizers []string, doomed bool) map[string]any {
	patch := map[string]any{}
	if left := foreign(finalizers); len(left) < len(finalizers) {
		patch["metadata"] = map[string]any{"finalizers": left}
	}
	if doomed && (gk.Kind == "Kustomization" || gk.Kind == "HelmRelease") {
		patch["spec"] = map[string]any{"suspend": true}
	}
	return patch
}

// foreign are the finalizers that are not the toolkit's. The list is never nil: in a merge patch it replaces the other.
func foreign(finalizers []string) []string {
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
