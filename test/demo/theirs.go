package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/config/crd"
	operator "github.com/weir-dev/weir/config/operator"
	"github.com/weir-dev/weir/reconcilers/distribution"
	"github.com/weir-dev/weir/test/e2e/platform"
	"github.com/weir-dev/weir/test/fleet"
)

// nowhere stands for a registry where there is none: nothing is pulled from it, since nothing runs.
const nowhere = "registry.invalid"

// theirs is a place that is there already. Pods run only if they can get images, and can reach the Git server.
func theirs(kubeconfig, registry, host string) (bool, place, error) {
	if (registry == "") != (host == "") {
		return true, place{}, errors.New("--registry and --host go together")
	}

	absolute, err := filepath.Abs(kubeconfig)
	if host == "" {
		host = "127.0.0.1"
	}

	return true, place{kubeconfig: absolute, registry: registry, host: host}, err
}

// imageRegistry is where images are named to come from.
func (d *demo) imageRegistry() string {
	if d.registry == "" {
		return nowhere
	}

	return d.registry
}

// listen is the address that the Git server listens on. That of another cluster's pods need not be one of this machine.
func (d *demo) listen() string {
	if d.theirs && !d.outside() {
		return "0.0.0.0"
	}

	return d.host
}

func (d *demo) withoutImages() error {
	install, err := distribution.Install(operator.FS(), crd.FS(), nowhere+"/weir:demo")
	d.release = platform.Release{Image: nowhere + "/weir:demo", Install: install}

	return err
}

// remains is what down has to know of a cluster that is not the demo's own.
type remains struct {
	Kubeconfig, Install string
	Command             []string // of the manager, if it runs beside the cluster
}

func (d *demo) remainsFile() string { return filepath.Join(d.dir, "bin", "remains.json") }

func (d *demo) remember(command ...string) error {
	if !d.theirs {
		return nil
	}

	content, err := json.Marshal(remains{Kubeconfig: d.kubeconfig, Install: string(d.release.Install), Command: command})
	if err != nil {
		return err
	}

	return os.WriteFile(d.remainsFile(), content, 0o600)
}

// join connects to the cluster, unless somebody lives there.
func (d *demo) join(ctx context.Context) (string, error) {
	where, err := d.connect()
	if err != nil {
		return "", err
	}

	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(platform.Definition())

	if err := d.client.List(ctx, list); err != nil {
		return "", err
	}

	for i := range list.Items {
		switch platform.Text(&list.Items[i], "spec", "group") {
		case fluxv1.GroupVersion.Group, platform.Kustomization().Group, platform.GitRepository().Group:
			return "", fmt.Errorf("the cluster at %s runs Flux already: the demo leaves it alone", where)
		}
	}

	return where, nil
}

// leave removes from a cluster that is not the demo's own what the demo has brought there, by the controllers themselves.
func (d *demo) leave(ctx context.Context) error {
	content, err := os.ReadFile(d.remainsFile())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}

	if err != nil {
		return err
	}

	var r remains
	if err := json.Unmarshal(content, &r); err != nil {
		return err
	}

	d.kubeconfig = r.Kubeconfig

	return d.out.step("Removing the demo from the cluster", func() (string, error) {
		ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("gave up after %s", patience))
		defer cancel()

		where, err := d.connect()
		if err != nil {
			return "", err
		}

		if err := d.restart(ctx, r.Command); err != nil {
			return "", err
		}

		return where, errors.Join(d.removeFleet(ctx), d.removeOperator(ctx, []byte(r.Install)))
	})
}

// restart runs the manager again if it is not there any more.
func (d *demo) restart(ctx context.Context, command []string) error {
	running, err := held(d.service("manager").lock())
	if err != nil || running || len(command) == 0 {
		return err
	}

	_, err = d.service("manager").start(ctx, command[0], command[1:]...)

	return err
}

// removeFleet makes the instance follow nothing, which removes what it has delivered, and then removes the instance.
func (d *demo) removeFleet(ctx context.Context) error {
	instance := platform.Object(platform.FluxInstance(), platform.Namespace, fluxv1.InstanceName)

	err := d.client.Get(ctx, client.ObjectKeyFromObject(instance), instance)
	if meta.IsNoMatchError(err) || client.IgnoreNotFound(err) == nil && err != nil {
		return nil //nolint:nilerr // it did not get that far
	}

	if err != nil {
		return err
	}

	if err := d.view.Track(ctx, platform.FluxInstance()); err != nil {
		return err
	}

	if _, err := d.client.Edit(ctx, platform.FluxInstance(), platform.Namespace, fluxv1.InstanceName, `{"spec":{"sync":null}}`); err != nil {
		return err
	}

	if err := d.awaitGone(ctx); err != nil {
		return err
	}

	if err := d.client.Delete(ctx, instance); err != nil {
		return err
	}

	return d.view.Until(ctx, func(s platform.Snapshot) error {
		if s.Get(platform.FluxInstance(), platform.Namespace, fluxv1.InstanceName) != nil {
			return errors.New("the FluxInstance is there")
		}

		return nil
	})
}

// awaitGone waits until the fleet is gone.
func (d *demo) awaitGone(ctx context.Context) error {
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(platform.Kustomization())

	if err := d.client.List(ctx, list); meta.IsNoMatchError(err) {
		return nil // the instance did not get that far
	}

	if err := d.view.Track(ctx, platform.Kustomization()); err != nil {
		return err
	}

	return d.view.Until(ctx, func(s platform.Snapshot) error {
		for _, key := range append(fleet.Kustomizations(), [2]string{platform.Namespace, "flux-system"}) {
			if s.Get(platform.Kustomization(), key[0], key[1]) != nil {
				return fmt.Errorf("Kustomization %s/%s is there", key[0], key[1])
			}
		}

		return nil
	})
}

// removeOperator removes what was installed, the namespace last.
func (d *demo) removeOperator(ctx context.Context, manifest []byte) error {
	objects, err := platform.Decode(manifest)
	if err != nil {
		return err
	}

	for i := len(objects) - 1; i >= 0; i-- {
		if err := d.client.Delete(ctx, objects[i]); client.IgnoreNotFound(err) != nil && !meta.IsNoMatchError(err) {
			return err
		}
	}

	return nil
}
