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
			alertsDefinition,
			"providers.notification.toolkit.fluxcd.io",
			receiversDefinition,
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

// The definitions whose lists of kinds name those of the operator too.
const (
	alertsDefinition    = "alerts.notification.toolkit.fluxcd.io"
	receiversDefinition = "receivers.notification.toolkit.fluxcd.io"
)

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

// unserved returns those of the components that have a kind which the distribution does not define: their pods run and
// do nothing for it.
func (d *Distribution) unserved(components []string) []string {
	var unserved []string
	for _, c := range components {
		if slices.ContainsFunc(definitions(c), func(name string) bool { return d.crds[name] == nil }) {
			unserved = append(unserved, c)
		}
	}
	return unserved
}
