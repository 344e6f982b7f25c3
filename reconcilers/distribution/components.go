package distribution

import (
	"fmt"
	"slices"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
)

// definitions names the custom resource definitions that a component serves.
func definitions(component string) []string {
	switch component {
	case fluxv1.SourceController:
		return []string{
			"buckets.source.toolkit.fluxcd.io",
			"externalartifacts.source.toolkit.fluxcd.io",
			"gitrepositories.source.toolkit.fluxcd.io",
			"helmcharts.source.toolkit.fluxcd.io",
			"helmrepositories.source.toolkit.fluxcd.io",
			"ocirepositories.source.toolkit.fluxcd.io",
		}
	case fluxv1.KustomizeController:
		return []string{"kustomizations.kustomize.toolkit.fluxcd.io"}
	case fluxv1.HelmController:
		return []string{"helmreleases.helm.toolkit.fluxcd.io"}
	case fluxv1.NotificationController:
		return []string{
			"alerts.notification.toolkit.fluxcd.io",
			"providers.notification.toolkit.fluxcd.io",
			"receivers.notification.toolkit.fluxcd.io",
		}
	case fluxv1.ImageReflectorController:
		return []string{
			"imagepolicies.image.toolkit.fluxcd.io",
			"imagerepositories.image.toolkit.fluxcd.io",
		}
	case fluxv1.ImageAutomationController:
		return []string{"imageupdateautomations.image.toolkit.fluxcd.io"}
	case fluxv1.SourceWatcher:
		return []string{"artifactgenerators.source.extensions.fluxcd.io"}
	}
	return nil
}

// selectComponents returns the wanted components in the order of installation, each once.
func selectComponents(wanted []string) ([]string, error) {
	for _, c := range wanted {
		if !slices.Contains(fluxv1.AllComponents(), c) {
			return nil, fmt.Errorf("unknown component %q", c)
		}
	}
	var selected []string
	for _, c := range fluxv1.AllComponents() {
		if slices.Contains(wanted, c) {
			selected = append(selected, c)
		}
	}
	return selected, nil
}
