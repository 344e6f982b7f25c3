package controllers

import (
	"fmt"

	"github.com/weir-dev/weir/config/crd"
	manifests "github.com/weir-dev/weir/config/distribution"
	"github.com/weir-dev/weir/reconcilers/apply"
	"github.com/weir-dev/weir/reconcilers/distribution"
	"github.com/weir-dev/weir/reconcilers/instance"
	"github.com/weir-dev/weir/reconcilers/release"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
)

// setupInstance adds the controller of the FluxInstance. It runs when its spec or an annotation changes, when something that it
// deployed is no longer as it was or has become healthy, and at its interval.
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

	kind := instance.Kind(instance.Deps{
		Builder: embedded, Image: image,
		Releases:  release.New(release.Options{Registries: n.registries, Secrets: p, Embedded: embedded, Image: image}),
		Home:      instance.Place{Client: p.access.Own(), Applier: d.applier, Hub: d.hub},
		Takeovers: p.takeovers(),
	})

	return add(p, kind, w, true, 1)
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
