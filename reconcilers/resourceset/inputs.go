package resourceset

import (
	"context"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/resourceset/template"
)

// collect finds the providers of inputs. What they have exported counts, whatever has become of them since.
func (r *reconciler) collect(ctx context.Context, obj *fluxv1.ResourceSet, s *scope) error {
	seen := map[types.NamespacedName]bool{}
	var versions []string
	for i := range obj.Spec.InputsFrom {
		found, err := r.providersOf(ctx, obj, &obj.Spec.InputsFrom[i])
		if err != nil {
			return err
		}
		for _, p := range found {
			key := types.NamespacedName{Namespace: p.Namespace, Name: p.Name}
			if seen[key] {
				continue
			}
			seen[key] = true
			if !hasReported(p) {
				return engine.Wait(meta.DependencyNotReadyReason, r.RequeueDependency,
					fmt.Errorf("Retrying dependency check: %s/%s has not exported inputs yet", fluxv1.ResourceSetInputProviderKind, key)) //nolint:staticcheck // clients know these words
			}
			versions = append(versions, fmt.Sprintf("%s %s %s", key, p.UID, p.ResourceVersion))
			s.providers = append(s.providers, template.Provider{
				APIVersion: fluxv1.GroupVersion.String(), Kind: fluxv1.ResourceSetInputProviderKind,
				Namespace: p.Namespace, Name: p.Name, Inputs: p.Status.ExportedInputs,
			})
		}
	}
	slices.Sort(versions)
	s.versions = strings.Join(versions, "\n")
	return nil
}

// hasReported tells whether a provider has run at all. That one has no inputs deletes everything: it has to say so.
func hasReported(p *fluxv1.ResourceSetInputProvider) bool {
	return p.Status.LastExportedRevision != "" || len(p.Status.ExportedInputs) > 0 || len(p.Status.Conditions) > 0
}

// providersOf returns the providers that a reference names or selects.
func (r *reconciler) providersOf(
	ctx context.Context, obj *fluxv1.ResourceSet, ref *fluxv1.InputProviderReference,
) ([]*fluxv1.ResourceSetInputProvider, error) {
	if ref.Name != "" {
		key := types.NamespacedName{Namespace: obj.Namespace, Name: ref.Name}
		p, err := r.Providers.Provider(ctx, key)
		if apierrors.IsNotFound(err) {
			return nil, r.buildFailed(obj, fmt.Errorf("input provider %s/%s not found: %w", fluxv1.ResourceSetInputProviderKind, key, err))
		}
		if err != nil {
			return nil, fmt.Errorf("get input provider %s/%s: %w", fluxv1.ResourceSetInputProviderKind, key, err)
		}
		return []*fluxv1.ResourceSetInputProvider{p}, nil
	}
	selector, err := metav1.LabelSelectorAsSelector(ref.Selector)
	if err != nil {
		return nil, r.buildFailed(obj, fmt.Errorf("selector of input providers: %w", err))
	}
	list, err := r.Providers.Providers(ctx, obj.Namespace, selector)
	if err != nil {
		return nil, fmt.Errorf("list input providers: %w", err)
	}
	found := make([]*fluxv1.ResourceSetInputProvider, len(list))
	for i := range list {
		found[i] = &list[i]
	}
	return found, nil
}
