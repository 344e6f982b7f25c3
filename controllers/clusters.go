package controllers

import (
	"context"

	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/remote"
)

// sharedClusters returns the remote clusters of all kinds but those of the operator, and makes them if they are not there.
func (p *Process) sharedClusters() (*remote.Clusters, error) {
	if p.clusters != nil {
		return p.clusters, nil
	}

	d, err := p.sharedDelivery()
	if err != nil {
		return nil, err
	}

	n, err := p.sharedNetwork()
	if err != nil {
		return nil, err
	}

	p.clusters, err = p.newClusters(d, n, p.sharedConfigs(), kustomizationWorkers)

	return p.clusters, err
}

// newClusters returns the remote clusters of kinds with so many workers, until the process ends.
func (p *Process) newClusters(d *delivery, n *network, configs remote.Configs, workers int) (*remote.Clusters, error) {
	c := remote.New(remote.Options{
		Configs: configs, Local: p.access, Wake: d.wake, Access: access.Options{UserAgent: p.UserAgent},
		Metrics: d.metrics, Rules: p.KubeconfigRules, DefaultServiceAccount: p.DefaultKubeconfigServiceAccount,
		Cloud: clouds{n.cloud}, Workers: p.workers(workers),
	})

	return c, p.Add(manager.RunnableFunc(func(ctx context.Context) error {
		<-ctx.Done()
		c.Close()

		return nil
	}))
}
