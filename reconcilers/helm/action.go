package helm

import (
	"context"
	"fmt"
	"strings"
	"time"

	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/storage"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
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

	// definitions that are about to be in the cluster.
	definitions []*unstructured.Unstructured
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
		Permit: a.s.permit, Rules: a.s.rules, Definitions: h.definitions,
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

// begin tells what is done now. What the next run has to know if the process is killed, and cannot find in Helm's storage, is written
// first: where that storage is, and how often something has failed that is to be remediated.
func (a *attempt) begin(ctx context.Context, action state.Action, timeout time.Duration) error {
	engine.Progress(ctx, fmt.Sprintf("Running '%s' action with timeout of %s", action, timeout))

	if a.s.saved && action != state.Rollback && action != state.Uninstall {
		return nil
	}

	if err := engine.Save(ctx); err != nil {
		return fmt.Errorf("write down what is begun: %w", err)
	}

	a.s.saved = true

	return nil
}

// serverSide tells whether objects are applied on the server's side, as the spec says or else as those of a revision were, and has that
// recorded with what the action makes.
func (a *attempt) serverSide(mode, name string, revision int) (bool, error) {
	method := records.ClientSide

	switch mode {
	case v2.ServerSideApplyEnabled:
		method = records.ServerSide
	case v2.ServerSideApplyDisabled:
	default:
		var err error
		if method, err = a.book.Method(name, revision); err != nil {
			return false, fmt.Errorf("find out how release '%s.v%d' was applied: %w", name, revision, err)
		}
	}

	a.book.Use(method)

	return method == records.ServerSide, nil
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
