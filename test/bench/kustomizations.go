package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
)

// fleet is many Kustomizations, of one GitRepository or of an OCIRepository each.
type fleet struct {
	settings

	what    string // git, oci or pods
	n       int
	stage   *stage
	origin  *origin
	version int // of the manifests
}

func (f *fleet) about() about {
	return about{name: f.what, objects: f.n, fakeNode: f.what == pods, controllers: "source,kustomize"}
}

func (f *fleet) parts() []part {
	return []part{
		{"install", true, f.install},
		{"idle", f.idle > 0, func(ctx context.Context, s *stage) (figures, error) { return idle(ctx, s, f.n) }},
		{"drift", f.settings.drift > 0, f.drift},
		{"revision", true, f.revision},
		{"next revision", f.settings.failing > 0, f.revision}, // what the failing are compared with: from now on artifacts are collected
		{"revision with failing", f.settings.failing > 0, f.failing},
	}
}

func (f *fleet) open(ctx context.Context, s *stage) (_ server, err error) {
	f.stage = s

	if f.what == oci {
		f.origin, err = openArtifacts(ctx, s)
	} else {
		f.origin, err = openRepository(ctx, s)
	}

	return f.origin, err
}

// publish makes a new version of all applications, of which the first are broken, and returns their revisions.
func (f *fleet) publish(ctx context.Context, broken int) ([]string, error) {
	f.version++

	apps := make([]app, f.n)
	for i := range apps {
		apps[i] = app{name: appName(i), version: f.version, layout: f.layout, pods: f.what == pods, broken: i < broken}
	}

	return f.origin.publish(ctx, apps)
}

// install creates the sources and all Kustomizations and waits until they are Ready.
func (f *fleet) install(ctx context.Context, s *stage) (figures, error) {
	revisions, err := f.publish(ctx, 0)
	if err != nil {
		return nil, err
	}

	start := time.Now()

	if err := f.origin.create(ctx, s, f.n); err != nil {
		return nil, err
	}

	if err := each(ctx, f.n, func(ctx context.Context, i int) error {
		ref, path := f.origin.of(i)
		if err := s.client.Create(ctx, newKustomization(i, s.interval, path, ref)); err != nil {
			return fmt.Errorf("create Kustomization: %w", err)
		}

		return nil
	}); err != nil {
		return nil, err
	}

	created := time.Since(start)

	times, err := f.ready(ctx, revisions, 0)
	if err != nil {
		return nil, err
	}

	_, _, all := latencies(start, times)

	return figures{"created_s": created.Seconds(), "ready_s": all}, nil
}

// revision publishes a version that changes each application, asks the sources to look, and waits until all are Ready at it.
func (f *fleet) revision(ctx context.Context, _ *stage) (figures, error) {
	return f.roll(ctx, 0)
}

// failing publishes a version of which a share never becomes Ready, and waits for the others.
func (f *fleet) failing(ctx context.Context, _ *stage) (figures, error) {
	return f.roll(ctx, f.n*f.settings.failing/100)
}

func (f *fleet) roll(ctx context.Context, broken int) (figures, error) {
	revisions, err := f.publish(ctx, broken)
	if err != nil {
		return nil, err
	}

	type result struct {
		times []time.Time
		err   error
	}

	sources := make(chan result, 1)
	start := time.Now()

	go func() {
		times, err := f.origin.fetched(ctx, f.stage, revisions)
		sources <- result{times, err}
	}()

	if err := f.origin.ask(ctx, f.stage, f.n); err != nil {
		return nil, err
	}

	asked := time.Since(start)

	times, err := f.ready(ctx, revisions, broken)
	if err != nil {
		return nil, err
	}

	fetched := <-sources
	if fetched.err != nil {
		return nil, fetched.err
	}

	_, _, src := latencies(start, fetched.times)
	half, most, all := latencies(start, times)

	return figures{"asked_s": asked.Seconds(), "fetched_s": src, "p50_s": half, "p95_s": most, "ready_s": all}, nil
}

// ready waits until all Kustomizations but the first broken ones are Ready at their revisions.
func (f *fleet) ready(ctx context.Context, revisions []string, broken int) ([]time.Time, error) {
	want := make(map[string]string, f.n)
	for i := broken; i < f.n; i++ {
		want[appName(i)] = revisions[i]
	}

	return await(ctx, f.stage, &kustomizev1.KustomizationList{}, want, ready)
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

	w, err := f.stage.client.Watch(ctx, &corev1.ConfigMapList{}, client.InNamespace(namespace), client.MatchingFields{"metadata.name": name})
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
