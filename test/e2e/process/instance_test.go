package process

import (
	"errors"
	"fmt"
	"testing"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/config/crd"
	"github.com/weir-dev/weir/config/operator"
	"github.com/weir-dev/weir/reconcilers/distribution"
	"github.com/weir-dev/weir/test/cluster"
	"github.com/weir-dev/weir/test/e2e/platform"
	"github.com/weir-dev/weir/test/fleet"
	"github.com/weir-dev/weir/test/gitserver"
)

// image is where the components would run from, if there were a node.
const image = "registry.example/weir:e2e"

// TestInstance is the main job where no pod can run: the components are scaled to zero, and one process beside the cluster
// does their work. There is one FluxInstance in a cluster, and it brings the kinds: so the test has one of its own.
func TestInstance(t *testing.T) {
	c := cluster.New(t, cluster.Options{Mode: cluster.ControlPlane})
	s := newStageOn(t, c, "--image="+image)
	install := must(distribution.Install(operator.FS(), crd.FS(), image))(t)
	s.apply(t, must(platform.Decode(install))(t)...)
	// One process of all controllers needs the kinds that a component's own process finds when it comes.
	s.apply(t, must(platform.Definitions())(t)...)
	s.start(t)

	files := must(fleet.Files(fleet.Settings{Cluster: "e2e", Registry: c.Registry()}))(t)
	repo, revision := s.repository(t, "fleet", gitserver.Change{Files: files})
	revision = "refs/heads/" + revision // the instance follows a full name
	instance := must(platform.Instance(platform.InstanceOptions{
		Registry: "registry.example", URL: s.git.URL(repo), Path: fleet.Path, Outside: true,
	}))(t)
	s.apply(t, instance)

	s.track(t, platform.FluxInstance())

	component := [2]string{platform.Namespace, "source-controller"}
	root := [2]string{platform.Namespace, "flux-system"}
	ready := func(now platform.Snapshot) error {
		return platform.Current(now.Get(platform.FluxInstance(), platform.Namespace, fluxv1.InstanceName), "FluxInstance")
	}
	s.await(t, "the fleet is delivered", ready, platform.Running(component), platform.Running(fleet.Deployments()...),
		platform.Delivered(revision, append(fleet.Kustomizations(), root)...))

	s.repairs(t, component, "a deleted component is back")
	s.repairs(t, [2]string{"production", "web"}, "a deleted workload is back")

	if err := s.client.Delete(deadline(t, patience), instance); err != nil {
		t.Fatal(err)
	}

	s.await(t, "the instance and its components are gone", func(now platform.Snapshot) error {
		if now.Get(platform.FluxInstance(), platform.Namespace, fluxv1.InstanceName) != nil {
			return errors.New("the FluxInstance is there")
		}

		if now.Get(platform.Deployment(), component[0], component[1]) != nil {
			return errors.New("the component is there")
		}

		return nil
	}, platform.Running(fleet.Deployments()...))
}

// repairs deletes a Deployment and waits until there is another.
func (s *stage) repairs(t *testing.T, key [2]string, what string) {
	t.Helper()

	before := s.view.Now().Get(platform.Deployment(), key[0], key[1])
	if err := s.client.Delete(deadline(t, patience), platform.Object(platform.Deployment(), key[0], key[1])); err != nil {
		t.Fatal(err)
	}

	s.await(t, what, func(now platform.Snapshot) error {
		after := now.Get(platform.Deployment(), key[0], key[1])
		if after == nil || after.GetUID() == before.GetUID() {
			return fmt.Errorf("Deployment %s/%s is not another", key[0], key[1])
		}

		return nil
	})
}
