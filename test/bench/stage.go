package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	helmv2 "github.com/weir-dev/weir/api/helm/v2"
	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/test/cluster"
)

// stage is what a fleet is measured on: a control plane, the servers of its sources, and the manager, each a process of its
// own.
type stage struct {
	settings

	dir     string
	cluster *cluster.Cluster
	client  client.WithWatch
	server  server
	manager *managerProcess
}

func newStage(ctx context.Context, s settings, f scenario) (st *stage, err error) {
	st = &stage{settings: s}

	defer func() {
		if err != nil {
			err = errors.Join(err, st.close(true))
		}
	}()

	if st.dir, err = os.MkdirTemp("", "weir-bench-"); err != nil {
		return st, fmt.Errorf("make folder: %w", err)
	}

	if st.cluster, err = cluster.Start(ctx, cluster.Options{
		Mode: cluster.ControlPlane, FakeNode: f.about().fakeNode, Dir: filepath.Join(st.dir, "cluster"), Keep: true,
		Cache: s.cache, Log: os.Stderr,
	}); err != nil {
		return st, fmt.Errorf("start control plane: %w", err)
	}

	if err := st.connect(ctx); err != nil {
		return st, err
	}

	if st.server, err = f.open(ctx, st); err != nil {
		return st, err
	}

	st.manager, err = startManager(ctx, st, f.about().controllers)

	return st, err
}

// connect makes the client and what has to be there before the manager: the kinds and the namespace.
func (s *stage) connect(ctx context.Context) error {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		corev1.AddToScheme, apiextensionsv1.AddToScheme, sourcev1.AddToScheme, kustomizev1.AddToScheme, helmv2.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			return fmt.Errorf("build scheme: %w", err)
		}
	}

	var err error
	if s.client, err = client.NewWithWatch(s.cluster.Config(), client.Options{Scheme: scheme}); err != nil {
		return fmt.Errorf("make client: %w", err)
	}

	root, err := moduleRoot(ctx)
	if err != nil {
		return err
	}

	if _, err := envtest.InstallCRDs(s.cluster.Config(), envtest.CRDInstallOptions{
		Paths: []string{filepath.Join(root, "config", "crd", "bases")}, ErrorIfPathMissing: true,
	}); err != nil {
		return fmt.Errorf("install CRDs: %w", err)
	}

	if err := s.client.Create(ctx, newNamespace()); err != nil {
		return fmt.Errorf("create namespace: %w", err)
	}

	return nil
}

func (s *stage) close(keep bool) error {
	var errs []error

	if s.manager != nil {
		errs = append(errs, s.manager.stop())
	}

	if s.server != nil {
		s.server.close()
	}

	if s.cluster != nil {
		errs = append(errs, s.cluster.Stop())
	}

	if keep {
		progressf("logs are in %s", s.dir)
	} else if s.dir != "" {
		errs = append(errs, os.RemoveAll(s.dir))
	}

	return errors.Join(errs...)
}
