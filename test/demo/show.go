package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/test/cluster"
	"github.com/weir-dev/weir/test/e2e/platform"
	"github.com/weir-dev/weir/test/fleet"
	"github.com/weir-dev/weir/test/gitserver"
)

// components are the Deployments of the topology.
func (d *demo) components() [][2]string {
	if d.topology == fluxv1.TopologyUnified {
		return [][2]string{{platform.Namespace, "weir"}}
	}

	return [][2]string{
		{platform.Namespace, "source-controller"}, {platform.Namespace, "kustomize-controller"},
		{platform.Namespace, "helm-controller"}, {platform.Namespace, "notification-controller"},
	}
}

// await waits for the condition, and tells what gets ready meanwhile.
func (d *demo) await(ctx context.Context, tell func(platform.Snapshot, *news), condition func(platform.Snapshot) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("gave up after %s", patience))
	defer cancel()

	n := d.out.news()

	go func() { // when nothing changes, that is worth a word
		ticker := time.NewTicker(quiet)
		defer ticker.Stop()

		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				d.view.Nudge()
			}
		}
	}()

	return d.view.Until(ctx, func(s platform.Snapshot) error {
		tell(s, n)

		err := condition(s)
		if err == nil {
			return nil
		}

		if stalled := stalled(s); stalled != nil {
			return platform.Stop(stalled)
		}

		n.waiting(err)

		return err
	})
}

// stalled says what has given up until somebody changes it.
func stalled(s platform.Snapshot) error {
	for _, kind := range []schema.GroupVersionKind{
		platform.FluxInstance(), platform.GitRepository(), platform.Kustomization(),
	} {
		for _, o := range s.List(kind, "") {
			if state, reason, message := platform.Condition(o, "Stalled"); state == "True" {
				return fmt.Errorf("%s has given up: %s: %s", platform.Name(o), reason, message)
			}
		}
	}

	return nil
}

// deliver applies the one FluxInstance and shows what comes of it.
func (d *demo) deliver(ctx context.Context) error {
	instance, err := platform.Instance(platform.InstanceOptions{
		Topology: d.topology, Registry: d.imageRegistry(), URL: d.url, Path: fleet.Path, Outside: d.outside(),
	})
	if err != nil {
		return err
	}

	d.out.linef("• Applying one FluxInstance, which follows the repository")

	start := time.Now()

	if err := d.client.Apply(ctx, instance); err != nil {
		return err
	}

	revision, err := d.head(ctx)
	if err != nil {
		return err
	}

	tracking := make(chan error, 1)
	go func() { // the kinds come with the components
		tracking <- d.view.Track(ctx, platform.GitRepository(), platform.Kustomization(), maintenanceWindow())
	}()

	err = d.await(ctx, d.tellAll, platform.All(d.delivered(revision), func(s platform.Snapshot) error {
		return platform.Current(s.Get(platform.FluxInstance(), platform.Namespace, fluxv1.InstanceName), "FluxInstance")
	}))
	if err != nil {
		return err
	}

	d.out.linef("  Everything is ready after %.1f s:\n", time.Since(start).Seconds())

	if err := <-tracking; err != nil {
		return err
	}

	d.out.table(rows(d.view.Now(), d.components()))
	d.out.linef("")

	return nil
}

// head returns the revision of the repository.
func (d *demo) head(ctx context.Context) (string, error) {
	hash, err := d.repo.Git(ctx, "rev-parse", "refs/heads/main")

	return "refs/heads/main@sha1:" + hash, err
}

// delivered is a condition: the fleet is at the revision, and so are its workloads.
func (d *demo) delivered(revision string) func(platform.Snapshot) error {
	kustomizations := append([][2]string{{platform.Namespace, "flux-system"}}, fleet.Kustomizations()...)

	// In the order in which one keeps the next from getting ready: the first is what people are told to wait for.
	return platform.All(platform.Running(d.components()...), func(s platform.Snapshot) error {
		return platform.Current(s.Get(platform.GitRepository(), platform.Namespace, "flux-system"), "GitRepository/flux-system/flux-system")
	}, platform.Delivered(revision, kustomizations...), platform.Running(fleet.Deployments()...))
}

// tellAll says what has become ready.
func (d *demo) tellAll(s platform.Snapshot, n *news) {
	for _, r := range rows(s, d.components()) {
		if r.ready == "True" {
			n.tell(r.kind+" "+r.name, "is ready")
		}
	}
}

// editByHand changes a Deployment behind the back of its Kustomization.
func (d *demo) editByHand(ctx context.Context) error {
	d.out.linef("• By hand: kubectl scale deployment web --namespace=production --replicas=3")

	want := platform.Number(d.view.Now().Get(platform.Deployment(), "production", "web"), "spec", "replicas")
	start := time.Now()

	edited, err := d.client.Edit(ctx, platform.Deployment(), "production", "web", `{"spec":{"replicas":3}}`)
	if err != nil {
		return err
	}

	err = d.await(ctx, func(platform.Snapshot, *news) {}, func(s platform.Snapshot) error {
		o := s.Get(platform.Deployment(), "production", "web")
		if o == nil || o.GetGeneration() <= edited.GetGeneration() {
			return errors.New("the edit is not put back")
		}

		if is := platform.Number(o, "spec", "replicas"); is != want {
			return fmt.Errorf("the Deployment has %d replicas instead of %d", is, want)
		}

		return nil
	})
	if err != nil {
		return err
	}

	d.out.linef("  put back to %d after %.2f s (its interval is 10 min)", want, time.Since(start).Seconds())

	return nil
}

// releaseNext pushes a commit, tells the source as a webhook would, and shows it rolled out.
func (d *demo) releaseNext(ctx context.Context) error {
	d.out.linef("• By Git: a commit that releases version %s of the workload", nextVersion)

	files, err := fleet.Release(nextVersion)
	if err != nil {
		return err
	}

	start := time.Now()

	if _, err := d.repo.Commit(ctx, "main", "Release "+nextVersion, gitserver.Change{Files: files}); err != nil {
		return err
	}

	revision, err := d.head(ctx)
	if err != nil {
		return err
	}

	if _, err := d.client.Request(ctx, platform.GitRepository(), platform.Namespace, "flux-system"); err != nil {
		return err
	}

	if err := d.await(ctx, tellRevision(revision), d.delivered(revision)); err != nil {
		return err
	}

	d.out.linef("  rolled out after %.1f s", time.Since(start).Seconds())

	if d.outside() {
		return nil
	}

	return d.ask(ctx)
}

// tellRevision says what has got to the revision.
func tellRevision(revision string) func(platform.Snapshot, *news) {
	at := func(s platform.Snapshot, n *news, kind schema.GroupVersionKind, namespace, name string, field ...string) {
		o := s.Get(kind, namespace, name)
		if o != nil && platform.Text(o, field...) == revision && platform.Current(o, "") == nil {
			n.tell(kind.Kind+" "+namespace+"/"+name, "is at "+short(revision))
		}
	}

	return func(s platform.Snapshot, n *news) {
		at(s, n, platform.GitRepository(), platform.Namespace, "flux-system", "status", "artifact", "revision")

		for _, key := range fleet.Kustomizations() {
			at(s, n, platform.Kustomization(), key[0], key[1], "status", "lastAppliedRevision")
		}
	}
}

// ask shows what the workload says, as soon as its Service leads to the new pod.
func (d *demo) ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, time.Minute, errors.New("the workload does not answer"))
	defer cancel()

	want := fmt.Sprintf("web %s: hello from production of demo\n", nextVersion)

	for {
		answer, err := d.client.Ask(ctx, "production", "web", "http")
		if err == nil && answer == want {
			d.out.linef("  the workload says: %s", answer)

			return nil
		}

		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: it said %q, error %w", context.Cause(ctx), answer, err)
		case <-time.After(lockPoll):
		}
	}
}

// hints tell how to look around.
func (d *demo) hints(ctx context.Context) error {
	kube, err := cluster.Binaries(ctx, "", d.out.w)
	if err != nil {
		return err
	}

	working, err := os.Getwd()
	if err != nil {
		return err
	}

	repo := d.repo.Dir
	if relative, err := filepath.Rel(working, repo); err == nil && filepath.IsLocal(relative) {
		repo = relative
	}

	d.out.linef("The cluster stays up. Look around:\n"+
		"  export KUBECONFIG=%s PATH=$PATH:%s\n"+
		"  kubectl get fluxinstances,gitrepositories,kustomizations,deployments --all-namespaces\n"+
		"  git clone %s   # what is pushed to it is rolled out within a minute\n"+
		"Remove all of it: make demo-down", d.kubeconfig, kube, repo)

	return nil
}
