package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"

	"github.com/weir-dev/weir/api/meta"
)

// patience is how long a part may last.
const patience = 20 * time.Minute

// install creates the source and all Kustomizations and waits until they are Ready.
func install(ctx context.Context, s *stage) (figures, error) {
	revision, err := s.commit(ctx, 0)
	if err != nil {
		return nil, err
	}

	start := time.Now()

	if err := s.client.Create(ctx, newSource(s.git.URL(s.repo), s.interval)); err != nil {
		return nil, fmt.Errorf("create source: %w", err)
	}

	for i := range s.n {
		if err := s.client.Create(ctx, newKustomization(i, s.interval)); err != nil {
			return nil, fmt.Errorf("create Kustomization: %w", err)
		}
	}

	created := time.Since(start)
	if err := s.await(ctx, revision, 0); err != nil {
		return nil, err
	}

	return figures{"created_s": created.Seconds(), "ready_s": time.Since(start).Seconds()}, nil
}

// revision pushes a commit that changes one object of each Kustomization, tells the source, and waits until all are Ready
// at it.
func revision(ctx context.Context, s *stage) (figures, error) {
	return s.roll(ctx, 0)
}

// failing pushes a commit of which a share never becomes Ready, and waits for the others.
func failing(ctx context.Context, s *stage) (figures, error) {
	return s.roll(ctx, s.n*s.settings.failing/100)
}

func (s *stage) roll(ctx context.Context, broken int) (figures, error) {
	revision, err := s.commit(ctx, broken)
	if err != nil {
		return nil, err
	}

	sources := make(chan error, 1)
	start := time.Now()

	var fetched time.Duration

	go func() {
		err := s.source(ctx, revision)
		fetched = time.Since(start)
		sources <- err
	}()

	if err := s.request(ctx); err != nil {
		return nil, err
	}

	if err := s.await(ctx, revision, broken); err != nil {
		return nil, err
	}

	total := time.Since(start)
	if err := <-sources; err != nil {
		return nil, err
	}

	return figures{"fetched_s": fetched.Seconds(), "ready_s": (total - fetched).Seconds()}, nil
}

// request asks the source to look at the repository now, as a webhook does.
func (s *stage) request(ctx context.Context) error {
	src := newSource("", 0)
	patch := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, meta.ReconcileRequestAnnotation, time.Now().Format(time.RFC3339Nano))

	if err := s.client.Patch(ctx, src, client.RawPatch(types.MergePatchType, patch)); err != nil {
		return fmt.Errorf("ask the source: %w", err)
	}

	return nil
}

// idle watches the fleet while nothing changes.
func idle(ctx context.Context, s *stage) (figures, error) {
	// The intervals of the fleet begin when each object became Ready: after one of them, all have come to rest.
	if err := pass(ctx, s.interval/2); err != nil {
		return nil, err
	}

	before, err := s.snapshot(ctx)
	if err != nil {
		return nil, err
	}

	if err := pass(ctx, time.Duration(s.settings.idle)*s.interval); err != nil {
		return nil, err
	}

	after, err := s.snapshot(ctx)
	if err != nil {
		return nil, err
	}

	used, total := after.since(before), 0.0
	for _, v := range used.requests {
		total += v
	}

	intervals := float64(s.settings.idle)

	return figures{
		"requests_per_object_and_interval": total / intervals / float64(s.n),
		"manager_cores":                    used.cpu["manager"] / (intervals * s.interval.Seconds()),
	}, nil
}

// drift edits objects by hand, one after the other, and measures how long each stays wrong.
func drift(ctx context.Context, s *stage) (figures, error) {
	var took []time.Duration

	for i := range min(s.settings.drift, s.n) {
		d, err := s.editAndAwait(ctx, appName(i))
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

func (s *stage) editAndAwait(ctx context.Context, name string) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()

	list := &corev1.ConfigMapList{}

	w, err := s.client.Watch(ctx, list, client.InNamespace(namespace), client.MatchingFields{"metadata.name": name})
	if err != nil {
		return 0, fmt.Errorf("watch ConfigMap: %w", err)
	}
	defer w.Stop()

	cm := &corev1.ConfigMap{}
	cm.Name, cm.Namespace = name, namespace

	start := time.Now()
	if err := s.client.Patch(ctx, cm, client.RawPatch(types.MergePatchType, []byte(`{"data":{"version":"by hand"}}`))); err != nil {
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
func (s *stage) source(ctx context.Context, revision string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()

	w, err := s.client.Watch(ctx, &sourcev1.GitRepositoryList{}, client.InNamespace(namespace))
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
func (s *stage) await(ctx context.Context, revision string, broken int) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()

	waiting := make(map[string]string, s.n)
	for i := broken; i < s.n; i++ {
		waiting[appName(i)] = "not seen"
	}

	for ctx.Err() == nil && len(waiting) > 0 { // a watch may end early
		if err := s.follow(ctx, revision, waiting); err != nil {
			return err
		}
	}

	for name, status := range waiting {
		return fmt.Errorf("%d Kustomizations are not Ready at %s, such as %s: %s", len(waiting), revision, name, status)
	}

	return nil
}

// follow takes the Kustomizations that are Ready off the list, until it is empty or the watch ends.
func (s *stage) follow(ctx context.Context, revision string, waiting map[string]string) error {
	w, err := s.client.Watch(ctx, &kustomizev1.KustomizationList{}, client.InNamespace(namespace))
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

// pass lets time go by.
func pass(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err() //nolint:wrapcheck // nothing to add
	case <-time.After(d):
		return nil
	}
}
