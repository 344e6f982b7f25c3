package controllers

import (
	"fmt"
	"slices"
	"strings"

	"sigs.k8s.io/controller-runtime/pkg/client"

	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
)

// Component is a set of controllers that Flux, or Flux Operator, runs as one Deployment.
type Component struct {
	// Name of the Deployment, such as source-controller.
	Name string

	// Kinds are those that the component reconciles, and that a label selector on the command line is for.
	Kinds func() []client.Object

	// Artifacts are the kinds of objects whose artifacts the component makes, and serves.
	Artifacts []string

	// Setup adds the controllers to the process. Nil means that this version has none of them.
	Setup func(p *Process) error
}

// Components lists the whole system.
func Components() []Component {
	return []Component{
		{Name: "flux-operator", Setup: setupOperator},
		{Name: "source-controller", Setup: setupSources, Kinds: sourceKinds, Artifacts: []string{
			sourcev1.GitRepositoryKind, sourcev1.OCIRepositoryKind, sourcev1.HelmRepositoryKind, sourcev1.HelmChartKind, sourcev1.BucketKind,
		}},
		{Name: "kustomize-controller", Setup: setupKustomization, Kinds: func() []client.Object {
			return []client.Object{&kustomizev1.Kustomization{}}
		}},
		{Name: "helm-controller", Setup: setupHelmRelease, Kinds: releaseKinds},
		{Name: "notification-controller"},
		{Name: "image-reflector-controller"},
		{Name: "image-automation-controller"},
		{Name: "source-watcher", Setup: setupGenerator, Kinds: generatorKinds, Artifacts: []string{sourcev1.ExternalArtifactKind}},
	}
}

// aliases are short names of components on the command line.
func aliases() map[string]string {
	return map[string]string{
		"instance": "flux-operator", "source": "source-controller", "kustomize": "kustomize-controller",
		"helm": "helm-controller", "notification": "notification-controller",
		"image-reflector": "image-reflector-controller", "image-automation": "image-automation-controller",
	}
}

// Select returns the components with the names, which may leave out "-controller". The name instance, or flux-operator,
// stands for the operator itself; all stands for everything. An unknown name is an error.
func Select(names []string) ([]Component, error) {
	all := Components()
	if slices.Contains(names, "all") {
		return all, nil
	}

	var selected []Component

	for _, n := range names {
		name := strings.TrimSpace(n)
		if full, ok := aliases()[name]; ok {
			name = full
		}

		i := slices.IndexFunc(all, func(c Component) bool { return c.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("unknown controller %q: want all or some of %s", n, strings.Join(componentNames(all), ", "))
		}

		if !slices.ContainsFunc(selected, func(c Component) bool { return c.Name == name }) {
			selected = append(selected, all[i])
		}
	}

	if len(selected) == 0 {
		return nil, fmt.Errorf("no controllers: want all or some of %s", strings.Join(componentNames(all), ", "))
	}

	return selected, nil
}

func componentNames(all []Component) []string {
	names := make([]string, 0, len(all))
	for _, c := range all {
		names = append(names, c.Name)
	}

	return names
}

// LeaseName returns the name of the leader election lease of a process that runs the components. A process that runs a
// single one takes the name of Flux, so that the two never reconcile side by side.
func LeaseName(selected []Component) string {
	if len(selected) == 1 {
		return selected[0].Name + "-leader-election"
	}

	return "weir-leader-election"
}
