package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
)

// Backup copies all that etcd holds into a folder, which must not exist. While it does so there is no etcd, which the API server endures.
func (c *Cluster) Backup(ctx context.Context, dir string) error {
	if err := c.Kill("etcd"); err != nil {
		return err
	}
	// A process that is killed leaves what it has written, to the kernel at least.
	err := os.CopyFS(dir, os.DirFS(c.file("etcd")))
	if err := errors.Join(err, c.Restart(ctx, "etcd")); err != nil {
		return fmt.Errorf("back up etcd: %w", err)
	}
	return c.runs(ctx, "kube-apiserver")
}

// Restore brings back what Backup has copied, in place of all that etcd holds. As the documentation of etcd wants it, nothing of the control
// plane runs meanwhile, and all of it starts anew; what else watches the API server finds its past to be another one: resource versions are
// given out a second time.
func (c *Cluster) Restore(ctx context.Context, dir string) error {
	programs := []string{"kube-scheduler", "kube-controller-manager", "kube-apiserver", "etcd"}
	if c.info.Mode == APIServer {
		programs = programs[2:]
	}
	var errs []error
	for _, name := range programs {
		errs = append(errs, c.Kill(name))
	}
	errs = append(errs, os.RemoveAll(c.file("etcd")), os.CopyFS(c.file("etcd"), os.DirFS(dir)))
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("restore etcd: %w", err)
	}
	if err := c.runAll(ctx, c.etcd(), c.apiServer()); err != nil {
		return fmt.Errorf("restore etcd: %w", err)
	}
	if c.info.Mode == APIServer {
		return c.save()
	}
	if err := c.runAll(ctx, c.controllers(), c.scheduler()); err != nil {
		return fmt.Errorf("restore etcd: %w", err)
	}
	return c.save()
}

// runs waits until a program that runs is ready.
func (c *Cluster) runs(ctx context.Context, name string) error {
	p, err := c.find(name)
	if err != nil {
		return err
	}
	return p.ready(ctx, c.probe(name))
}
