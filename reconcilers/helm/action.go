package helm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
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
	words  words        // of Helm's

	// definitions of the chart, unless they are left out; set by define.
	definitions []*unstructured.Unstructured

	// superseded tells that the action was interrupted because something else is wanted by now.
	superseded atomic.Bool
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
		Legacy: a.obj.GetWaitStrategy() == v2.WaitStrategyLegacy, Interrupted: func() error { return a.interrupted(ctx) },
		Log: func(format string, args ...any) {
			line := fmt.Sprintf(format, args...)
			a.words.add(line)
			log.V(1).Info(line)
		},
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

// errSuperseded says why a wait was given up.
var errSuperseded = errors.New("something else is wanted by now")

// interrupted returns an error if the spec has changed since the run began. What is waited for then is of no use to anybody any more.
func (a *attempt) interrupted(ctx context.Context) error {
	live, err := a.Dependencies.HelmRelease(ctx, client.ObjectKeyFromObject(a.obj))
	if err != nil || live.UID != a.obj.UID || live.Generation == a.obj.Generation {
		return nil //nolint:nilerr // nobody knows of a change
	}

	a.superseded.Store(true)

	return errSuperseded
}

// lastWords of Helm, and of hooks that have failed, for events.
func (a *attempt) lastWords() string {
	lines := a.words.take()

	if a.kube != nil {
		for _, l := range a.kube.HookLogs() {
			for _, line := range l.Lines {
				lines = append(lines, fmt.Sprintf("%s/%s: %s", l.Pod, l.Container, line))
			}
		}
	}

	if len(lines) == 0 {
		return ""
	}

	return "\n\nLast Helm logs:\n\n" + strings.Join(lines, "\n")
}

const (
	mostWords  = 10
	wordLength = 512
)

// words are the last lines of a log.
type words struct {
	mu    sync.Mutex
	lines []string
}

func (w *words) add(line string) {
	w.mu.Lock()
	defer w.mu.Unlock()

	if len(line) > wordLength {
		line = strings.ToValidUTF8(line[:wordLength], "") + "…"
	}

	w.lines = append(w.lines, line)
	w.lines = w.lines[max(0, len(w.lines)-mostWords):]
}

func (w *words) take() []string {
	w.mu.Lock()
	defer w.mu.Unlock()

	return slices.Clone(w.lines)
}
