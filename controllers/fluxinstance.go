package controllers

import (
	"fmt"

	"k8s.io/apimachinery/pkg/types"

	"github.com/weir-dev/weir/config/crd"
	manifests "github.com/weir-dev/weir/config/distribution"
	"github.com/weir-dev/weir/reconcilers/apply"
	"github.com/weir-dev/weir/reconcilers/distribution"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/instance"
	"github.com/weir-dev/weir/reconcilers/operator"
	"github.com/weir-dev/weir/reconcilers/release"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
)

// instanceWorkers is how many FluxInstances run at a time. There is one, unless it is a hub for other clusters: then one that
// installs or repairs uses a core and some tens of MiB for seconds, and one whose cluster is slow must not keep the others waiting.
const instanceWorkers = 8

// setupInstance adds the controller of the FluxInstance. It runs when its spec or an annotation changes, when something that it
// deployed is no longer as it was or has become healthy, when a Secret that it names has changed, and at its interval.
func setupInstance(p *Process) error {
	d, err := p.sharedDelivery()
	if err != nil {
		return err
	}

	embedded, err := distribution.Load(manifests.FS(), crd.FS())
	if err != nil {
		return fmt.Errorf("load embedded distribution: %w", err)
	}

	image, err := distribution.ParseImage(p.Image)
	if err != nil {
		return fmt.Errorf("--image has to name the image of this process: %w", err)
	}

	n, err := p.sharedNetwork()
	if err != nil {
		return err
	}

	w := newWaker()
	d.route(fluxv1.FluxInstanceKind, w)

	configs := newConfigs(p.GetAPIReader(), nil) // who is told that one has changed must not read the one before

	clusters, err := p.newClusters(d, n, configs, instanceWorkers)
	if err != nil {
		return err
	}

	kind := instance.Kind(instance.Deps{
		Builder: embedded, Image: image, Namespace: p.Namespace, Remote: clusters,
		Releases:  release.New(release.Options{Registries: n.registries, Secrets: configs, Embedded: embedded, Image: image}),
		Home:      instance.Place{Client: p.access.Own(), Applier: d.applier, Hub: d.hub},
		Operator:  operator.New(operator.Options{Client: p.access.Own(), Namespace: p.Namespace, Pod: p.Pod, Image: p.Image}),
		PlanKey:   d.plans.get,
		Takeovers: p.takeovers(),
		Wake:      func(key types.NamespacedName) { w.Wake(key, engine.Changed) },
	})

	forget := kind.Forget
	kind.Forget = func(key types.NamespacedName) {
		n.cloud.Forget(kind.Name, key.Namespace, key.Name)
		forget(key)
	}

	if err := p.AddReadyzCheck("caches", filled(p.GetCache().WaitForCacheSync)); err != nil {
		return fmt.Errorf("add readiness check: %w", err)
	}

	return add(p, kind, w, true, instanceWorkers)
}

// takeovers are the field managers that the command line adds to those that are always taken over.
func (p *Process) takeovers() []apply.Takeover {
	t := make([]apply.Takeover, 0, len(p.OverrideManagers)+len(p.ExactOverrideManagers))
	for _, m := range p.OverrideManagers {
		t = append(t, apply.Takeover{Manager: m, Prefix: true})
	}

	for _, m := range p.ExactOverrideManagers {
		t = append(t, apply.Takeover{Manager: m})
	}

	return t
}
