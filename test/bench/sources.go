package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/test/gitserver"
	"github.com/weir-dev/weir/test/registry"
)

// sharing is how many GitRepositories have the same repository.
const sharing = 10

// upstream is many sources of one Git server and one registry: each OCIRepository has an artifact of its own, and ten
// GitRepositories share a repository, from each of which they want other files.
type upstream struct {
	settings

	git      *gitserver.HTTP
	registry *registry.Server
	urls     []string // of the repositories
}

func (u *upstream) about() about {
	return about{name: sources, objects: u.ocis + u.gits, controllers: "source,kustomize"}
}

func (u *upstream) parts() []part {
	n := u.about().objects

	return []part{
		{"first fetch", true, u.fetch},
		{"steady", u.idle > 0, func(ctx context.Context, s *stage) (figures, error) { return idle(ctx, s, n) }},
	}
}

func (u *upstream) open(ctx context.Context, s *stage) (server, error) {
	repositories, err := gitserver.NewRepositories(filepath.Join(s.dir, "git"))
	if err != nil {
		return nil, fmt.Errorf("make repositories: %w", err)
	}

	if u.git, err = repositories.ServeHTTP(ctx, gitserver.HTTPOptions{}); err != nil {
		return nil, fmt.Errorf("serve repositories: %w", err)
	}

	for i := range (u.gits + sharing - 1) / sharing {
		repo, err := repositories.Create(ctx, appName(i))
		if err != nil {
			return u, fmt.Errorf("create repository: %w", err)
		}

		all := map[string]string{}
		for j := range sharing {
			all[fmt.Sprintf("part-%d/app.yaml", j)] = fmt.Sprintf("repository: %d\npart: %d\n", i, j)
		}

		if _, err := repo.Commit(ctx, branch, "All parts", gitserver.Change{Files: all}); err != nil {
			return u, fmt.Errorf("commit: %w", err)
		}

		u.urls = append(u.urls, u.git.URL(repo))
	}

	return u, u.push(ctx, filepath.Join(s.dir, "registry"))
}

// push fills the registry.
func (u *upstream) push(ctx context.Context, dir string) (err error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fmt.Errorf("make folder: %w", err)
	}

	if u.registry, err = registry.Serve(ctx, registry.Options{Dir: dir}); err != nil {
		return fmt.Errorf("start registry: %w", err)
	}

	for i := range u.ocis {
		image, err := registry.Flux(app{name: appName(i), layout: plain}.files(), map[string]string{"org.opencontainers.image.revision": fmt.Sprintf("main@sha1:%040d", i)})
		if err != nil {
			return fmt.Errorf("make artifact: %w", err)
		}

		if _, err := u.registry.Push(ctx, appName(i), tag, image); err != nil {
			return fmt.Errorf("push artifact: %w", err)
		}
	}

	return nil
}

func (u *upstream) served() float64 {
	c := u.git.Counts()

	return float64(c.InfoRefs + c.UploadPack + u.registry.Counts().All())
}

func (u *upstream) close() {
	u.git.Close()

	if u.registry != nil {
		u.registry.Close()
	}
}

// fetch creates all sources and waits until they are Ready.
func (u *upstream) fetch(ctx context.Context, s *stage) (figures, error) {
	start := time.Now()
	before := u.git.Counts()

	if err := u.create(ctx, s); err != nil {
		return nil, err
	}

	created := time.Since(start)

	if err := errors.Join(
		allReady[*sourcev1.OCIRepository](ctx, s, &sourcev1.OCIRepositoryList{}, u.ocis),
		allReady[*sourcev1.GitRepository](ctx, s, &sourcev1.GitRepositoryList{}, u.gits),
	); err != nil {
		return nil, err
	}

	took, git, oci := time.Since(start), u.git.Counts(), u.registry.Counts()

	return figures{
		"created_s": created.Seconds(), "ready_s": took.Seconds(),
		"git_requests":        float64(git.InfoRefs + git.UploadPack - before.InfoRefs - before.UploadPack),
		"oci_requests_pulled": float64(oci.Heads + oci.Manifests + oci.Blobs),
	}, nil
}

func (u *upstream) create(ctx context.Context, s *stage) error {
	if err := each(ctx, u.ocis, func(ctx context.Context, i int) error {
		return s.client.Create(ctx, newOCIRepository(appName(i), u.registry.Addr, u.interval)) //nolint:wrapcheck // see below
	}); err != nil {
		return fmt.Errorf("create OCIRepository: %w", err)
	}

	if err := each(ctx, u.gits, func(ctx context.Context, i int) error {
		obj := newGitRepository(appName(i), u.urls[i/sharing], u.interval)
		obj.Spec.SparseCheckout = []string{fmt.Sprintf("part-%d", i%sharing)}

		return s.client.Create(ctx, obj) //nolint:wrapcheck // see below
	}); err != nil {
		return fmt.Errorf("create GitRepository: %w", err)
	}

	return nil
}

// allReady waits until so many sources are Ready.
func allReady[O engine.Object](ctx context.Context, s *stage, list client.ObjectList, n int) error {
	want := make(map[string]string, n)
	for i := range n {
		want[appName(i)] = meta.ReadyCondition
	}

	_, err := await(ctx, s, list, want, func(src O, condition string) bool { return engine.IsTrue(src, condition) })

	return err
}
