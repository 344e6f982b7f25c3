package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
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

func (u *upstream) name() (string, int) { return sources, u.ocis + u.gits }

func (u *upstream) parts() []part {
	_, n := u.name()

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

		if _, err := repo.Commit(ctx, "main", "All parts", gitserver.Change{Files: all}); err != nil {
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
		app := files(1, i, 0, plain)

		image, err := registry.Flux(app, map[string]string{"org.opencontainers.image.revision": fmt.Sprintf("main@sha1:%040d", i)})
		if err != nil {
			return fmt.Errorf("make artifact: %w", err)
		}

		if _, err := u.registry.Push(ctx, appName(i), "1.0.0", image); err != nil {
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

	for kind, list := range map[string]client.ObjectList{
		sourcev1.OCIRepositoryKind: &sourcev1.OCIRepositoryList{}, sourcev1.GitRepositoryKind: &sourcev1.GitRepositoryList{},
	} {
		want := u.ocis
		if kind == sourcev1.GitRepositoryKind {
			want = u.gits
		}

		if err := allReady(ctx, s, list, want); err != nil {
			return nil, fmt.Errorf("%s: %w", kind, err)
		}
	}

	took, git, oci := time.Since(start), u.git.Counts(), u.registry.Counts()

	return figures{
		"created_s": created.Seconds(), "ready_s": took.Seconds(),
		"git_requests":        float64(git.InfoRefs + git.UploadPack - before.InfoRefs - before.UploadPack),
		"oci_requests_pulled": float64(oci.Heads + oci.Manifests + oci.Blobs),
	}, nil
}

func (u *upstream) create(ctx context.Context, s *stage) error {
	every := metav1.Duration{Duration: u.interval}

	for i := range u.ocis {
		obj := &sourcev1.OCIRepository{
			ObjectMeta: metav1.ObjectMeta{Name: appName(i), Namespace: namespace},
			Spec: sourcev1.OCIRepositorySpec{
				URL: "oci://" + u.registry.Addr + "/" + appName(i), Insecure: true, Interval: every,
				Reference: &sourcev1.OCIRepositoryRef{Tag: "1.0.0"},
			},
		}
		if err := s.client.Create(ctx, obj); err != nil {
			return fmt.Errorf("create OCIRepository: %w", err)
		}
	}

	for i := range u.gits {
		obj := &sourcev1.GitRepository{
			ObjectMeta: metav1.ObjectMeta{Name: appName(i), Namespace: namespace},
			Spec: sourcev1.GitRepositorySpec{
				URL: u.urls[i/sharing], Interval: every, Reference: &sourcev1.GitRepositoryRef{Branch: "main"},
				SparseCheckout: []string{fmt.Sprintf("part-%d", i%sharing)},
			},
		}
		if err := s.client.Create(ctx, obj); err != nil {
			return fmt.Errorf("create GitRepository: %w", err)
		}
	}

	return nil
}

// allReady waits until so many objects of the kind that the list is of are Ready.
func allReady(ctx context.Context, s *stage, list client.ObjectList, want int) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()

	w, err := s.client.Watch(ctx, list, client.InNamespace(namespace))
	if err != nil {
		return fmt.Errorf("watch: %w", err)
	}
	defer w.Stop()

	done := map[string]bool{}

	for e := range w.ResultChan() {
		obj, ok := e.Object.(engine.Object)
		if !ok || e.Type == watch.Deleted {
			continue
		}

		done[obj.GetName()] = engine.IsTrue(obj, meta.ReadyCondition)
		if !done[obj.GetName()] {
			delete(done, obj.GetName())
		}

		if len(done) == want {
			return nil
		}
	}

	return fmt.Errorf("%d of %d are Ready: %w", len(done), want, errors.Join(ctx.Err()))
}
