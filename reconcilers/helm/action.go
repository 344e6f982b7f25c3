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
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/helm/kube"
	"github.com/weir-dev/weir/reconcilers/helm/render"
	"github.com/weir-dev/weir/reconcilers/helm/state"
	records "github.com/weir-dev/weir/reconcilers/helm/storage"
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

// postRenderer returns what changes the objects of a release that is made of a chart, and has its hooks changed, too.
func (a *attempt) postRenderer(ctx context.Context) *render.Renderer {
	a.book.renderer = render.New(ctx, a.Builder, a.obj)

	return a.book.renderer
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
	*records.Secrets
	r      *reconciler
	obj    *v2.HelmRelease
	made   state.Made
	stored bool

	// renderer of the action, if it makes a release of a chart.
	renderer *render.Renderer
}

// Create implements driver.Driver. Helm's post-renderers do not see hooks, so that they are rendered here.
func (b *book) Create(key string, r *release.Release) error {
	if b.renderer != nil {
		hooks, err := b.renderer.Hooks(r.Hooks)
		if err != nil {
			return err //nolint:wrapcheck // it says what it is about
		}

		r.Hooks = hooks
	}

	if err := b.Secrets.Create(key, r); err != nil {
		return err //nolint:wrapcheck // Helm compares it
	}

	return b.observe(r)
}

// Update implements driver.Driver.
func (b *book) Update(key string, r *release.Release) error {
	if err := b.Secrets.Update(key, r); err != nil {
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
	log := logf.FromContext(ctx)
	skipped := func(err error) { log.Info("Left a record of Helm's out", "error", err.Error()) }

	return &book{Secrets: records.New(ctx, s.client, namespace, records.Options{Manager: Controller, Skipped: skipped}), r: r, obj: obj}
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
	r, err := storage.Init(b.Secrets).Get(snapshot.Name, snapshot.Version)
	if errors.Is(err, driver.ErrReleaseNotFound) {
		return nil, nil
	}

	if err != nil {
		return nil, fmt.Errorf("read release '%s': %w", snapshot.FullReleaseName(), err)
	}

	return r, nil
}
