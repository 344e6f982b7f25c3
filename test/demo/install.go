package main

import (
	"context"
	"path/filepath"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/weir-dev/weir/test/e2e/platform"
)

func (d *demo) installOperator(ctx context.Context) error {
	return d.out.step("Installing the operator", func() (string, error) {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()

		left, err := d.installation()
		if err != nil {
			return "", err
		}

		if err := d.remember(left); err != nil {
			return "", err
		}

		if err := d.client.Apply(ctx, left.Installed...); err != nil {
			return "", err
		}

		if d.outside() {
			if _, err := d.service("manager").start(ctx, left.Command[0], left.Command[1:]...); err != nil {
				return "", err
			}
		}

		if err := d.view.Track(ctx, platform.FluxInstance(), platform.Deployment(), platform.Core("Pod")); err != nil {
			return "", err
		}

		return "", d.view.Until(ctx, platform.Running([2]string{platform.Namespace, "flux-operator"}))
	})
}

// installation is the operator: in the cluster, or scaled to zero and as a command.
func (d *demo) installation() (remains, error) {
	objects, err := platform.Decode(d.release.Install)
	if err != nil || !d.outside() {
		return remains{Installed: objects}, err
	}

	scaleToZero(objects)

	// One process of all controllers needs the kinds that a component's own process finds when it comes.
	definitions, err := platform.Definitions()
	if err != nil {
		return remains{}, err
	}

	m, err := platform.NewManager(d.manager, d.kubeconfig, filepath.Join(d.dir, "manager"), "--image="+d.release.Image)
	if err != nil {
		return remains{}, err
	}

	return remains{
		Installed: append(objects, definitions...),
		Command: append([]string{d.program, "--dir=" + d.dir, "--node=false", "daemon", "manager", d.manager},
			m.Arguments()...),
	}, nil
}

func scaleToZero(objects []*unstructured.Unstructured) {
	for _, o := range objects {
		if o.GetKind() == "Deployment" {
			_ = unstructured.SetNestedField(o.Object, int64(0), "spec", "replicas") //nolint:errcheck // it has a spec
		}
	}
}
