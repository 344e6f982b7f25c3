package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/test/gitserver"
)

// fleet is many Kustomizations of one GitRepository.
type fleet struct {
	settings

	n       int
	stage   *stage
	git     *gitserver.HTTP
	repo    *gitserver.Repository
	version int // of the manifests
}

func (f *fleet) name() (string, int) { return kustomizations, f.n }

func (f *fleet) parts() []part {
	return []part{
		{"install", true, f.install},
		{"revision", true, f.revision},
		{"idle", f.idle > 0, func(ctx context.Context, s *stage) (figures, error) { return idle(ctx, s, f.n) }},
		{"drift", f.settings.drift > 0, f.drift},
		{"revision with failing", f.settings.failing > 0, f.failing},
	}
}

func (f *fleet) open(ctx context.Context, s *stage) (server, error) {
	f.stage = s

	repositories, err := gitserver.NewRepositories(filepath.Join(s.dir, "git"))
	if err != nil {
		return nil, fmt.Errorf("make repositories: %w", err)
	}

	if f.repo, err = repositories.Create(ctx, sourceName); err != nil {
		return nil, fmt.Errorf("create repository: %w", err)
	}

	if f.git, err = repositories.ServeHTTP(ctx, gitserver.HTTPOptions{}); err != nil {
		return nil, fmt.Errorf("serve repository: %w", err)
	}

	return f, nil
}

func (f *fleet) served() float64 {
	c := f.git.Counts()

	return float64(c.InfoRefs + c.UploadPack)
}

func (f *fleet) close() { f.git.Close() }

// commit pushes a new version of the fleet and returns its revision.
func (f *fleet) commit(ctx context.Context, broken int) (string, error) {
	f.version++

	hash, err := f.repo.Commit(ctx, "main", fmt.Sprintf("Version %d", f.version),
		gitserver.Change{Files: files(f.n, f.version, broken, f.layout)})
	if err != nil {
		return "", fmt.Errorf("commit: %w", err)
	}

	return "main@sha1:" + hash, nil
}

// install creates the source and all Kustomizations and waits until they are Ready.
func (f *fleet) install(ctx context.Context, s *stage) (figures, error) {
	revision, err := f.commit(ctx, 0)
	if err != nil {
		return nil, err
	}

	start := time.Now()

	if err := s.client.Create(ctx, newSource(f.git.URL(f.repo), s.interval)); err != nil {
		return nil, fmt.Errorf("create source: %w", err)
	}

	for i := range f.n {
		if err := s.client.Create(ctx, newKustomization(i, s.interval)); err != nil {
			return nil, fmt.Errorf("create Kustomization: %w", err)
		}
	}

	created := time.Since(start)
	if err := f.await(ctx, revision, 0); err != nil {
		return nil, err
	}

	return figures{"created_s": created.Seconds(), "ready_s": time.Since(start).Seconds()}, nil
}

// revision pushes a commit that changes one object of each Kustomization, tells the source, and waits until all are Ready
// at it.
func (f *fleet) revision(ctx context.Context, _ *stage) (figures, error) {
	return f.roll(ctx, 0)
}

// failing pushes a commit of which a share never becomes Ready, and waits for the others.
func (f *fleet) failing(ctx context.Context, _ *stage) (figures, error) {
	return f.roll(ctx, f.n*f.settings.failing/100)
}

func (f *fleet) roll(ctx context.Context, broken int) (figures, error) {
	revision, err := f.commit(ctx, broken)
	if err != nil {
		return nil, err
	}

	sources := make(chan error, 1)
	start := time.Now()

	var fetched time.Duration

	go func() {
		err := f.source(ctx, revision)
		fetched = time.Since(start)
		sources <- err
	}()

	if err := f.request(ctx); err != nil {
		return nil, err
	}

	if err := f.await(ctx, revision, broken); err != nil {
		return nil, err
	}

	total := time.Since(start)
	if err := <-sources; err != nil {
		return nil, err
	}

	return figures{"fetched_s": fetched.Seconds(), "ready_s": (total - fetched).Seconds()}, nil
}

// request asks the source to look at the repository now, as a webhook does.
func (f *fleet) request(ctx context.Context) error {
	src := newSource("", 0)
	patch := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, meta.ReconcileRequestAnnotation, time.Now().Format(time.RFC3339Nano))

	if err := f.stage.client.Patch(ctx, src, client.RawPatch(types.MergePatchType, patch)); err != nil {
		return fmt.Errorf("ask the source: %w", err)
	}

	return nil
}

// drift edits objects by hand, one after the other, and measures how long each stays wrong.
func (f *fleet) drift(ctx context.Context, _ *stage) (figures, error) {
	var took []time.Duration

	for i := range min(f.settings.drift, f.n) {
		d, err := f.editAndAwait(ctx, appName(i))
		if err != nil {
			return nil, err
		}

		took = append(took, d)
	}

	slices.Sort(took)

	return figures{
		"p50_s": took[len(took)/2].Seconds(), "p95_s": took[(len(took)*95+99)/100-1].Seconds(),
	}, nil
}

func (f *fleet) editAndAwait(ctx context.Context, name string) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()

	list := &corev1.ConfigMapList{}

	w, err := f.stage.client.Watch(ctx, list, client.InNamespace(namespace), client.MatchingFields{"metadata.name": name})
	if err != nil {
		return 0, fmt.Errorf("watch ConfigMap: %w", err)
	}
	defer w.Stop()

	cm := &corev1.ConfigMap{}
	cm.Name, cm.Namespace = name, namespace

	start := time.Now()
	if err := f.stage.client.Patch(ctx, cm, client.RawPatch(types.MergePatchType, []byte(`{"data":{"version":"by hand"}}`))); err != nil {
		return 0, fmt.Errorf("edit ConfigMap %q: %w", name, err)
	}

	edited := false

	for e := range w.ResultChan() {
		cm, ok := e.Object.(*corev1.ConfigMap)
		if !ok {
			break
		}

		wrong := cm.Data["version"] == "by hand"
		if edited && !wrong {
			return time.Since(start), nil
		}

		edited = edited || wrong
	}

	return 0, fmt.Errorf("ConfigMap %q was not put back: %w", name, ctx.Err())
}

// source waits until the source has the revision.
func (f *fleet) source(ctx context.Context, revision string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()

	w, err := f.stage.client.Watch(ctx, &sourcev1.GitRepositoryList{}, client.InNamespace(namespace))
	if err != nil {
		return fmt.Errorf("watch source: %w", err)
	}
	defer w.Stop()

	for e := range w.ResultChan() {
		if src, ok := e.Object.(*sourcev1.GitRepository); ok && src.GetArtifact().HasRevision(revision) {
			return nil
		}
	}

	return fmt.Errorf("source did not reach %s: %w", revision, ctx.Err())
}

// await waits until all Kustomizations but the first broken ones are Ready at the revision.
func (f *fleet) await(ctx context.Context, revision string, broken int) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()

	waiting := make(map[string]string, f.n)
	for i := broken; i < f.n; i++ {
		waiting[appName(i)] = "not seen"
	}

	for ctx.Err() == nil && len(waiting) > 0 { // a watch may end early
		if err := f.follow(ctx, revision, waiting); err != nil {
			return err
		}
	}

	for name, status := range waiting {
		return fmt.Errorf("%d Kustomizations are not Ready at %s, such as %s: %s", len(waiting), revision, name, status)
	}

	return nil
}

// follow takes the Kustomizations that are Ready off the list, until it is empty or the watch ends.
func (f *fleet) follow(ctx context.Context, revision string, waiting map[string]string) error {
	w, err := f.stage.client.Watch(ctx, &kustomizev1.KustomizationList{}, client.InNamespace(namespace))
	if err != nil {
		return fmt.Errorf("watch Kustomizations: %w", err)
	}
	defer w.Stop()

	for e := range w.ResultChan() {
		k, ok := e.Object.(*kustomizev1.Kustomization)
		if !ok || e.Type == watch.Deleted {
			continue
		}

		if _, ok := waiting[k.Name]; !ok {
			continue
		}

		if ready(k, revision) {
			delete(waiting, k.Name)
		} else {
			waiting[k.Name] = fmt.Sprintf("%v", k.Status.Conditions)
		}

		if len(waiting) == 0 {
			return nil
		}
	}

	return nil
}
