package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/test/gitserver"
	"github.com/weir-dev/weir/test/registry"
)

const (
	branch = "main"
	tag    = "latest"
)

// origin is where the manifests of a fleet come from.
type origin struct {
	server

	// publish makes the server have these applications, and returns the revision that the artifact of each will have.
	publish func(ctx context.Context, apps []app) ([]string, error)

	// kind of the sources, and a list of them.
	kind string
	list client.ObjectList

	// source makes the source of an application.
	source func(i int) source

	// shared tells that there is one source for all applications, each in a directory of its own.
	shared bool
}

type source interface {
	client.Object
	GetArtifact() *meta.Artifact
}

// sources is how many sources so many applications have.
func (o *origin) sources(n int) int {
	if o.shared {
		return 1
	}

	return n
}

// of says which source and which path of it the Kustomization of an application has.
func (o *origin) of(i int) (ref kustomizev1.CrossNamespaceSourceReference, path string) {
	ref = kustomizev1.CrossNamespaceSourceReference{Kind: o.kind, Name: o.source(i).GetName()}
	if o.shared {
		return ref, "./" + appName(i)
	}

	return ref, "./"
}

// create creates the sources of so many applications.
func (o *origin) create(ctx context.Context, s *stage, n int) error {
	return each(ctx, o.sources(n), func(ctx context.Context, i int) error {
		if err := s.client.Create(ctx, o.source(i)); err != nil {
			return fmt.Errorf("create source: %w", err)
		}

		return nil
	})
}

// ask annotates the sources, as a webhook's receiver does, so that they look at the server now.
func (o *origin) ask(ctx context.Context, s *stage, n int) error {
	return each(ctx, o.sources(n), func(ctx context.Context, i int) error {
		patch := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, meta.ReconcileRequestAnnotation, time.Now().Format(time.RFC3339Nano))
		if err := s.client.Patch(ctx, o.source(i), client.RawPatch(types.MergePatchType, patch)); err != nil {
			return fmt.Errorf("ask source: %w", err)
		}

		return nil
	})
}

// fetched waits until the sources have artifacts of the revisions, and returns when each had.
func (o *origin) fetched(ctx context.Context, s *stage, revisions []string) ([]time.Time, error) {
	want := map[string]string{}
	for i := range o.sources(len(revisions)) {
		want[o.source(i).GetName()] = revisions[i]
	}

	return await(ctx, s, o.list, want, func(src source, revision string) bool { return src.GetArtifact().HasRevision(revision) })
}

// repository is one Git repository of which each application is a directory.
type repository struct {
	git      *gitserver.HTTP
	repo     *gitserver.Repository
	versions int
}

const repositoryName = "fleet"

func openRepository(ctx context.Context, s *stage) (*origin, error) {
	repositories, err := gitserver.NewRepositories(filepath.Join(s.dir, "git"))
	if err != nil {
		return nil, fmt.Errorf("make repositories: %w", err)
	}

	repo, err := repositories.Create(ctx, repositoryName)
	if err != nil {
		return nil, fmt.Errorf("create repository: %w", err)
	}

	git, err := repositories.ServeHTTP(ctx, gitserver.HTTPOptions{})
	if err != nil {
		return nil, fmt.Errorf("serve repository: %w", err)
	}

	r := &repository{git: git, repo: repo}

	return &origin{
		server: r, publish: r.publish, kind: sourcev1.GitRepositoryKind, list: &sourcev1.GitRepositoryList{}, shared: true,
		source: func(int) source { return newGitRepository(repositoryName, git.URL(repo), s.interval) },
	}, nil
}

func (r *repository) served() float64 {
	c := r.git.Counts()

	return float64(c.InfoRefs + c.UploadPack)
}

func (r *repository) close() { r.git.Close() }

func (r *repository) publish(ctx context.Context, apps []app) ([]string, error) {
	all := make(map[string]string, 4*len(apps))

	for _, a := range apps {
		for path, content := range a.files() {
			all[a.name+"/"+path] = content
		}
	}

	r.versions++

	hash, err := r.repo.Commit(ctx, branch, fmt.Sprintf("Version %d", r.versions), gitserver.Change{Files: all})
	if err != nil {
		return nil, fmt.Errorf("commit: %w", err)
	}

	revisions := make([]string, len(apps))
	for i := range revisions {
		revisions[i] = branch + "@sha1:" + hash
	}

	return revisions, nil
}

// artifacts is a registry that has an artifact for each application, under one tag that is moved.
type artifacts struct{ registry *registry.Server }

func openArtifacts(ctx context.Context, s *stage) (*origin, error) {
	dir := filepath.Join(s.dir, "registry")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make folder: %w", err)
	}

	r, err := registry.Serve(ctx, registry.Options{Dir: dir})
	if err != nil {
		return nil, fmt.Errorf("start registry: %w", err)
	}

	a := artifacts{r}

	return &origin{
		server: a, publish: a.publish, kind: sourcev1.OCIRepositoryKind, list: &sourcev1.OCIRepositoryList{},
		source: func(i int) source { return newOCIRepository(appName(i), r.Addr, s.interval) },
	}, nil
}

func (a artifacts) served() float64 { return float64(a.registry.Counts().All()) }

func (a artifacts) close() { a.registry.Close() }

func (a artifacts) publish(ctx context.Context, apps []app) ([]string, error) {
	revisions := make([]string, len(apps))

	err := each(ctx, len(apps), func(ctx context.Context, i int) error {
		image, err := registry.Flux(apps[i].files(), nil)
		if err != nil {
			return fmt.Errorf("make artifact: %w", err)
		}

		digest, err := a.registry.Push(ctx, apps[i].name, tag, image)
		if err != nil {
			return fmt.Errorf("push artifact: %w", err)
		}

		revisions[i] = tag + "@" + digest.String()

		return nil
	})

	return revisions, err
}
