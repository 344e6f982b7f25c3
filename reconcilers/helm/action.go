package helm

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/storage"
	"helm.sh/helm/v3/pkg/storage/driver"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	v2 "github.com/weir-dev/weir/api/helm/v2"
	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/helm/kube"
	"github.com/weir-dev/weir/reconcilers/helm/state"
)

// how an action works in the cluster.
type how struct {
	timeout       time.Duration
	serverSide    bool
	takeOwnership bool
}

// attempt is one action of a run.
type attempt struct {
	*reconciler
	obj    *v2.HelmRelease
	s      *scope
	latest *release.Release // before the action
	book   *book
	kube   *kube.Client // set by configuration
}

// name of the release in Helm's storage.
func (a *attempt) name() string { return a.obj.GetReleaseName() }

// configuration returns what an action of Helm's needs.
func (a *attempt) configuration(ctx context.Context, namespace, name string, h how) (*action.Configuration, error) {
	log := logf.FromContext(ctx)
	a.kube = kube.New(ctx, kube.Options{
		Client: a.s.client, Hub: a.Hub, Applier: a.Applier, Owner: Owner(client.ObjectKeyFromObject(a.obj)),
		Release: name, Namespace: namespace, ServerSide: h.serverSide, TakeOwnership: h.takeOwnership, Timeout: h.timeout,
		Permit: a.s.permit, Rules: a.s.rules,
		Log: func(format string, args ...any) { log.V(1).Info(fmt.Sprintf(format, args...)) },
	})

	releases := storage.Init(a.book)
	releases.MaxHistory = a.obj.GetMaxHistory()

	return a.kube.Configuration(releases)
}

// begin tells what is done now.
func begin(ctx context.Context, a state.Action, timeout time.Duration) {
	engine.Progress(ctx, fmt.Sprintf("Running '%s' action with timeout of %s", a, timeout))
}

// lastWords of hooks that have failed, for events.
func (a *attempt) lastWords() string {
	if a.kube == nil {
		return ""
	}

	var lines []string

	for _, l := range a.kube.HookLogs() {
		for _, line := range l.Lines {
			lines = append(lines, fmt.Sprintf("%s/%s: %s", l.Pod, l.Container, line))
		}
	}

	if len(lines) == 0 {
		return ""
	}

	return "\n\nLast Helm logs:\n\n" + strings.Join(lines, "\n")
}

// book is Helm's storage, with what is stored written into the history of the status.
type book struct {
	driver.Driver
	r      *reconciler
	obj    *v2.HelmRelease
	made   state.Made
	stored bool
}

// Create implements driver.Driver.
func (b *book) Create(key string, r *release.Release) error {
	if err := b.Driver.Create(key, r); err != nil {
		return err //nolint:wrapcheck // Helm compares it
	}

	return b.observe(r)
}

// Update implements driver.Driver.
func (b *book) Update(key string, r *release.Release) error {
	if err := b.Driver.Update(key, r); err != nil {
		return err //nolint:wrapcheck // Helm compares it
	}

	return b.observe(r)
}

func (b *book) observe(r *release.Release) error {
	history, err := state.Observe(b.obj.Status.History, r, b.made, b.r.SnapshotDigest)
	if err != nil {
		return fmt.Errorf("record release: %w", err)
	}

	b.obj.Status.History, b.stored = history, true

	return nil
}

// open returns the storage of the releases of a namespace.
func (r *reconciler) open(ctx context.Context, obj *v2.HelmRelease, s *scope, namespace string) *book {
	return &book{Driver: r.Storage(ctx, s.client, namespace), r: r, obj: obj}
}

// last returns the newest revision of a release, nil if there is none.
func last(d driver.Driver, name string) (*release.Release, error) {
	latest, err := storage.Init(d).Last(name)
	if errors.Is(err, driver.ErrReleaseNotFound) {
		return nil, nil
	}

	if err != nil {
		return nil, fmt.Errorf("read releases of '%s': %w", name, err)
	}

	return latest, nil
}

// release reads the release of a snapshot.
func (b *book) release(snapshot *v2.Snapshot) (*release.Release, error) {
	r, err := storage.Init(b.Driver).Get(snapshot.Name, snapshot.Version)
	if errors.Is(err, driver.ErrReleaseNotFound) {
		return nil, nil
	}

	if err != nil {
		return nil, fmt.Errorf("read release '%s': %w", snapshot.FullReleaseName(), err)
	}

	return r, nil
}

// clientFor returns the client that acts as the service account of the object.
func (r *reconciler) clientFor(obj *v2.HelmRelease) (*access.Client, error) {
	if obj.Spec.KubeConfig != nil {
		return nil, errors.New("spec.kubeConfig: releases to other clusters are not supported")
	}

	name, from := obj.Spec.ServiceAccountName, "spec.serviceAccountName"
	if name == "" {
		name, from = r.DefaultServiceAccount, "flag default-service-account"
	}

	if name == "" {
		return r.Access.Own(), nil
	}

	if err := access.CheckAccount(obj.Namespace, name); err != nil {
		return nil, fmt.Errorf("%s: %w", from, err)
	}

	return r.Access.As(obj.Namespace, name)
}
