package distribution

import (
	"fmt"

	"github.com/Masterminds/semver/v3"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
)

// syncInterval is how often the applied objects are checked. The interval of the instance is that of its source.
const syncInterval = "10m0s"

// validateSync refuses a provider that the version of the distribution does not have for the kind.
func validateSync(sync *fluxv1.Sync, version *semver.Version) error {
	if sync == nil || sync.Provider != meta.ProviderAWS || sync.Kind != sourcev1.GitRepositoryKind {
		return nil
	}
	if version.LessThan(semver.New(2, 9, 0, "", "")) {
		return fmt.Errorf("sync.provider 'aws' for GitRepository requires Flux version >= 2.9.0, got '%s'", version)
	}
	return nil
}

// addSync adds the source that the cluster follows and the Kustomization that applies it.
func (p *plan) addSync() {
	sync := p.instance.Spec.Sync
	if sync == nil {
		return
	}
	name := p.instance.GetSyncName()
	metadata := func() map[string]any { return map[string]any{"name": name, "namespace": p.instance.Namespace} }
	p.objects = append(p.objects,
		&unstructured.Unstructured{Object: map[string]any{
			"apiVersion": sourcev1.GroupVersion.String(),
			"kind":       sync.Kind,
			"metadata":   metadata(),
			"spec":       sourceSpec(sync),
		}},
		&unstructured.Unstructured{Object: map[string]any{
			"apiVersion": kustomizev1.GroupVersion.String(),
			"kind":       kustomizev1.KustomizationKind,
			"metadata":   metadata(),
			"spec":       p.kustomizationSpec(sync, name),
		}},
	)
}

func sourceSpec(sync *fluxv1.Sync) map[string]any {
	spec := map[string]any{"interval": sync.GetInterval().String()}
	switch sync.Kind {
	case sourcev1.BucketKind:
		spec["endpoint"], spec["bucketName"] = sync.URL, sync.Ref
	case sourcev1.OCIRepositoryKind:
		spec["url"], spec["ref"] = sync.URL, map[string]any{"tag": sync.Ref}
	default:
		spec["url"], spec["ref"] = sync.URL, map[string]any{"name": sync.Ref}
	}
	if sync.PullSecret != "" {
		spec["secretRef"] = map[string]any{"name": sync.PullSecret}
	}
	if sync.Provider != "" {
		spec["provider"] = sync.Provider
	}
	return spec
}

func (p *plan) kustomizationSpec(sync *fluxv1.Sync, source string) map[string]any {
	spec := map[string]any{
		"interval":  syncInterval,
		"path":      sync.Path,
		"prune":     true,
		"sourceRef": map[string]any{"kind": sync.Kind, "name": source},
	}
	if p.cluster.Multitenant {
		// What the platform team syncs is not a tenant's: it keeps the rights of the controller itself.
		spec["serviceAccountName"] = fluxv1.KustomizeController
	}
	return spec
}
