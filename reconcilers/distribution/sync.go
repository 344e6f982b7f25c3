package distribution

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
)

// syncInterval is how often the applied objects are checked. The interval of the instance is that of its source.
const syncInterval = "10m0s"

// validateSyncs refuses what nobody would reconcile, a provider that the version of the distribution does not have for the kind,
// and names that are taken.
func validateSyncs(instance *fluxv1.FluxInstance, version *semver.Version) error {
	if err := validateSynced(instance); err != nil {
		return err
	}
	names := map[string]struct{}{}
	for _, sync := range instance.GetSyncs() {
		if _, taken := names[sync.Name]; taken {
			return fmt.Errorf("spec.syncs: name %q is taken by another sync", sync.Name)
		}
		names[sync.Name] = struct{}{}
		old := version.LessThan(semver.New(2, 9, 0, "", ""))
		if old && sync.Provider == meta.ProviderAWS && sync.Kind == sourcev1.GitRepositoryKind {
			return fmt.Errorf("sync.provider 'aws' for GitRepository requires Flux version >= 2.9.0, got '%s'", version)
		}
	}
	return nil
}

// validateSynced refuses syncs without the components that know their kinds: the API server would do so, with an error that says less,
// or, where the definitions are left from before, take objects that nobody reconciles.
func validateSynced(instance *fluxv1.FluxInstance) error {
	var field, kind string
	switch {
	case instance.Spec.Sync != nil:
		field, kind = "spec.sync", instance.Spec.Sync.Kind
	case len(instance.Spec.Syncs) > 0:
		field, kind = "spec.syncs", instance.Spec.Syncs[0].Kind
	default:
		return nil
	}
	var missing []string
	components := instance.GetComponents()
	for _, need := range []struct{ component, kind string }{
		{fluxv1.SourceController, kind}, {fluxv1.KustomizeController, kustomizev1.KustomizationKind},
	} {
		if !slices.Contains(components, need.component) {
			missing = append(missing, fmt.Sprintf("%q, which reconciles its %s", need.component, need.kind))
		}
	}
	if missing == nil {
		return nil
	}
	return fmt.Errorf("%s is set, and spec.components lacks %s", field, strings.Join(missing, ", and "))
}

// addSyncs adds the sources that the cluster follows and the Kustomizations that apply them.
func (p *plan) addSyncs() {
	for _, sync := range p.instance.GetSyncs() {
		metadata := func() map[string]any { return map[string]any{"name": sync.Name, "namespace": p.instance.Namespace} }
		p.synced = append(p.synced,
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
				"spec":       p.kustomizationSpec(sync),
			}},
		)
	}
}

func sourceSpec(sync fluxv1.NamedSync) map[string]any {
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
	if sync.Verify != nil {
		spec["verify"] = verification(sync)
	}
	return spec
}

// verification is spec.verify of the source. It is checked by the API that each kind has the fields it needs.
func verification(sync fluxv1.NamedSync) map[string]any {
	verify := map[string]any{}
	if sync.Verify.SecretRef != nil {
		verify["secretRef"] = map[string]any{"name": sync.Verify.SecretRef.Name}
	}
	if sync.Kind == sourcev1.GitRepositoryKind {
		verify["mode"] = cmp.Or(sync.Verify.Mode, sourcev1.GitVerifyHEAD)
		return verify
	}
	verify["provider"] = cmp.Or(sync.Verify.Provider, "cosign")
	if sync.Verify.TrustedRootSecretRef != nil {
		verify["trustedRootSecretRef"] = map[string]any{"name": sync.Verify.TrustedRootSecretRef.Name}
	}
	var identities []any
	for _, match := range sync.Verify.MatchOIDCIdentity {
		identities = append(identities, map[string]any{"issuer": match.Issuer, "subject": match.Subject})
	}
	if identities != nil {
		verify["matchOIDCIdentity"] = identities
	}
	return verify
}

func (p *plan) kustomizationSpec(sync fluxv1.NamedSync) map[string]any {
	spec := map[string]any{
		"interval":  syncInterval,
		"path":      sync.Path,
		"prune":     true,
		"sourceRef": map[string]any{"kind": sync.Kind, "name": sync.Name},
	}
	if p.cluster.Multitenant {
		// What the platform team syncs is not a tenant's: it keeps the rights of the controller itself.
		spec["serviceAccountName"] = fluxv1.KustomizeController
	}
	if d := sync.Decryption; d != nil {
		decryption := map[string]any{"provider": d.Provider}
		if d.SecretRef != nil {
			decryption["secretRef"] = map[string]any{"name": d.SecretRef.Name}
		}
		if d.ServiceAccountName != "" {
			decryption["serviceAccountName"] = d.ServiceAccountName
		}
		spec["decryption"] = decryption
	}
	if sync.Wait {
		spec["wait"] = true
	}
	if sync.Timeout != nil {
		spec["timeout"] = sync.Timeout.Duration.String()
	}
	return spec
}
