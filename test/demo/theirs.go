package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
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
func theirs(kubeconfig, registry, host string) (place, error) {
	if (registry == "") != (host == "") {
		return place{}, errors.New("--registry and --host go together")
	}

	absolute, err := filepath.Abs(kubeconfig)
	if host == "" {
		host = "127.0.0.1"
	}

	return place{kubeconfig: absolute, registry: registry, host: host}, err
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
	Kubeconfig string
	Installed  []*unstructured.Unstructured // besides what the instance deploys
	Command    []string                     // of the manager, if it runs beside the cluster
}

func (d *demo) remainsFile() string { return filepath.Join(d.dir, "bin", "remains.json") }

// remember writes it down.
func (d *demo) remember(r remains) error {
	if !d.theirs {
		return nil
	}

	r.Kubeconfig = d.kubeconfig

	content, err := json.Marshal(r)
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
			d.client = nil // there is nothing to explain

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

		return where, errors.Join(d.removeFleet(ctx), d.removeOperator(ctx, r.Installed))
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

// removeFleet deletes the Kustomization that all others come from, which takes along what they deployed, and then the
// instance. That one is paused meanwhile, lest it puts the Kustomization back; on its own it would leave what was deployed.
func (d *demo) removeFleet(ctx context.Context) error {
	instance := platform.Object(platform.FluxInstance(), platform.Namespace, fluxv1.InstanceName)

	err := d.client.Get(ctx, client.ObjectKeyFromObject(instance), instance)
	if meta.IsNoMatchError(err) || apierrors.IsNotFound(err) {
		return nil // it did not get that far
	}

	if err != nil {
		return err
	}

	if err := d.view.Track(ctx, platform.FluxInstance(), platform.Core("Namespace")); err != nil {
		return err
	}

	pause := fmt.Sprintf(`{"metadata":{"annotations":{%q:"disabled"}}}`, fluxv1.ReconcileAnnotation)
	if _, err := d.client.Edit(ctx, platform.FluxInstance(), platform.Namespace, fluxv1.InstanceName, pause); err != nil {
		return err
	}

	if err := d.removeKustomizations(ctx); err != nil {
		return err
	}

	resume := fmt.Sprintf(`{"metadata":{"annotations":{%q:null}},"spec":{"sync":null}}`, fluxv1.ReconcileAnnotation)
	if _, err := d.client.Edit(ctx, platform.FluxInstance(), platform.Namespace, fluxv1.InstanceName, resume); err != nil {
		return err
	}

	return d.remove(ctx, platform.FluxInstance(), [2]string{platform.Namespace, fluxv1.InstanceName})
}

// removeKustomizations deletes the first one, and what is left of those that came from it, and waits until all are gone.
func (d *demo) removeKustomizations(ctx context.Context) error {
	err := d.view.Track(ctx, platform.Definition())
	if err != nil {
		return err
	}

	if d.view.Now().Get(platform.Definition(), "", "kustomizations."+platform.Kustomization().Group) == nil {
		return nil // the instance did not get that far
	}

	if err := d.view.Track(ctx, platform.Kustomization()); err != nil {
		return err
	}

	root := [2]string{platform.Namespace, "flux-system"}

	return errors.Join(
		d.remove(ctx, platform.Kustomization(), root),
		d.remove(ctx, platform.Kustomization(), fleet.Kustomizations()...),
		d.remove(ctx, platform.Core("Namespace"), namespaces()...),
	)
}

// namespaces of the fleet, as objects without a namespace.
func namespaces() [][2]string {
	var keys [][2]string
	for _, key := range fleet.Deployments() {
		keys = append(keys, [2]string{"", key[0]})
	}

	return keys
}

// remove deletes objects, by namespace and name, and waits until they are gone.
func (d *demo) remove(ctx context.Context, kind schema.GroupVersionKind, keys ...[2]string) error {
	for _, key := range keys {
		if err := d.client.Delete(ctx, platform.Object(kind, key[0], key[1])); client.IgnoreNotFound(err) != nil {
			return err
		}
	}

	return d.awaitGone(ctx, kind, keys...)
}

// awaitGone waits until the objects, by namespace and name, are not there.
func (d *demo) awaitGone(ctx context.Context, kind schema.GroupVersionKind, keys ...[2]string) error {
	return d.view.Until(ctx, func(s platform.Snapshot) error {
		for _, key := range keys {
			if o := s.Get(kind, key[0], key[1]); o != nil {
				return fmt.Errorf("%s is there", platform.Name(o))
			}
		}

		return nil
	})
}

// removeOperator removes what was installed, the namespace last.
func (d *demo) removeOperator(ctx context.Context, objects []*unstructured.Unstructured) error {
	for _, o := range slices.Backward(objects) {
		if err := d.client.Delete(ctx, o); client.IgnoreNotFound(err) != nil && !meta.IsNoMatchError(err) {
			return err
		}
	}

	if err := d.view.Track(ctx, platform.Core("Namespace")); err != nil {
		return err
	}

	return d.awaitGone(ctx, platform.Core("Namespace"), [2]string{"", platform.Namespace})
}
