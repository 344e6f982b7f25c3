package controllers

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path"
	"strings"
	"sync"
	"time"

	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/artifact"
	"github.com/weir-dev/weir/reconcilers/ingest"
)

// standby fetches the artifacts of the process that holds the lease into the storage of this one, until this one gets it. Until
// then they are served by both; after that nothing has to be fetched from upstream before it is.
type standby struct {
	process *Process
	storage *storage
	mirror  *artifact.Mirror // set by Start

	mu      sync.Mutex
	seen    bool                        // the mirror knows of all that was there at the start
	synced  bool                        // that has come, as far as it is to be had
	failed  map[artifact.Owner]struct{} // whose artifacts are not to be had
	arrived chan struct{}               // closed, and made anew, when something has come
}

func newStandby(p *Process, s *storage) *standby {
	return &standby{process: p, storage: s, failed: map[artifact.Owner]struct{}{}, arrived: make(chan struct{})}
}

// NeedLeaderElection implements manager.LeaderElectionRunnable.
func (*standby) NeedLeaderElection() bool { return false }

// Start implements manager.Runnable.
func (s *standby) Start(ctx context.Context) error {
	s.mirror = artifact.NewMirror(ctx, artifact.MirrorOptions{
		Store: s.storage.store, Report: s.report,
		Client: ingest.NewClient(leaderOnly{ingest.Bounded(artifact.NewTransport(), nil)}, nil),
		Retry:  workqueue.NewTypedItemExponentialFailureRateLimiter[artifact.Owner](100*time.Millisecond, 30*time.Second),
	})
	defer s.mirror.Stop()

	if !s.storage.standBy(s) {
		return nil // this process holds the lease already
	}

	for _, obj := range s.process.stored() {
		stop, err := s.follow(ctx, obj)
		if err != nil {
			return fmt.Errorf("watch %T: %w", obj, err)
		}
		defer stop()
	}

	s.mu.Lock()
	s.seen = true
	s.mu.Unlock()
	s.report(artifact.Owner{}, nil) // there may be nothing to wait for

	select {
	case <-ctx.Done():
	case <-s.process.Elected():
	}

	return nil
}

// follow tells the mirror what the objects of a kind have, until stop is called.
func (s *standby) follow(ctx context.Context, obj artifacts) (stop func(), err error) {
	informer, err := s.process.GetCache().GetInformer(ctx, obj)
	if err != nil {
		return nil, err //nolint:wrapcheck // the caller says what for
	}

	registration, err := informer.AddEventHandler(s.handler(kindOf(obj)))
	if err != nil {
		return nil, err //nolint:wrapcheck // the caller says what for
	}

	cache.WaitForCacheSync(ctx.Done(), registration.HasSynced)

	return func() {
		if err := informer.RemoveEventHandler(registration); err != nil {
			logf.FromContext(ctx).Error(err, "A handler could not be removed")
		}
	}, nil
}

// handler tells the mirror what the objects of a kind have.
func (s *standby) handler(kind string) cache.ResourceEventHandler {
	owner := func(obj client.Object) artifact.Owner {
		return artifact.Owner{Kind: kind, Namespace: obj.GetNamespace(), Name: obj.GetName()}
	}

	want := func(raw any) {
		obj, ok := raw.(artifacts)
		if !ok {
			return
		}

		a := obj.GetArtifact()
		if a != nil && s.storage.store.URL(a.Path) != a.URL { // somebody else serves it
			s.mirror.Drop(owner(obj))

			return
		}

		s.mirror.Want(owner(obj), a, secondNames(obj)...)
	}

	return cache.ResourceEventHandlerFuncs{
		AddFunc:    want,
		UpdateFunc: func(_, obj any) { want(obj) },
		DeleteFunc: func(raw any) {
			if gone, ok := raw.(cache.DeletedFinalStateUnknown); ok {
				raw = gone.Obj
			}

			if obj, ok := raw.(artifacts); ok {
				s.mirror.Drop(owner(obj))
			}
		},
	}
}

// report takes note of what has come, and of what does not.
func (s *standby) report(owner artifact.Owner, err error) {
	if err != nil {
		s.process.GetLogger().WithName("standby").V(1).Info("An artifact could not be mirrored yet",
			"kind", owner.Kind, "namespace", owner.Namespace, "name", owner.Name, "error", err.Error())
	}

	s.mu.Lock()
	defer s.mu.Unlock()

	if err != nil {
		s.failed[owner] = struct{}{}
	} else {
		delete(s.failed, owner)
		close(s.arrived)
		s.arrived = make(chan struct{})
	}

	// What the other process has lost itself must not keep this one from being ready.
	s.synced = s.synced || s.seen && s.mirror.Pending() <= len(s.failed)
}

// ready says no until all artifacts that were there at the start have come, as far as they are to be had.
func (s *standby) ready() error {
	s.mu.Lock()
	defer s.mu.Unlock()

	if !s.synced {
		return errors.New("artifacts are not mirrored yet")
	}

	return nil
}

const (
	// mirrorHeader marks requests of a process that stands by. They are for the one that holds the lease alone: another one
	// that stands by may have no more than the one that asks.
	mirrorHeader = "Weir-Mirror"

	// arrival is how long a request waits for an artifact that may be on its way.
	arrival = 5 * time.Second
)

// prepare waits for what is asked for, if it may be on its way. It tells whether the request is one to answer.
func (s *standby) prepare(w http.ResponseWriter, r *http.Request) bool {
	if r.Header.Get(mirrorHeader) != "" {
		w.Header().Set("Connection", "close") // the next one may lead elsewhere
		http.Error(w, "this process stands by", http.StatusMisdirectedRequest)

		return false
	}

	ctx, cancel := context.WithTimeout(r.Context(), arrival)
	defer cancel()

	for {
		s.mu.Lock()
		arrived := s.arrived
		s.mu.Unlock()

		if s.here(strings.TrimPrefix(r.URL.Path, "/")) {
			return true
		}

		select {
		case <-arrived:
		case <-ctx.Done():
			return true // the store says that it is not there
		}
	}
}

// here tells whether there is something to serve at a path, and nothing else on its way there.
func (s *standby) here(p string) bool {
	if !s.storage.store.Has(p) {
		return false
	}

	kind, rest, _ := strings.Cut(p, "/")
	namespace, rest, _ := strings.Cut(rest, "/")
	name, _, _ := strings.Cut(rest, "/")

	return s.mirror.Here(artifact.Owner{Kind: kind, Namespace: namespace, Name: name})
}

// leaderOnly asks again when another process answers than the one that holds the lease: behind a Service, any may.
type leaderOnly struct{ next http.RoundTripper }

// attempts of leaderOnly. With two processes, one of a thousand requests does not find the leader.
const attempts = 10

// RoundTrip implements http.RoundTripper.
func (l leaderOnly) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.Header.Set(mirrorHeader, "true")

	for attempt := 1; ; attempt++ {
		resp, err := l.next.RoundTrip(req)
		if err != nil || resp.StatusCode != http.StatusMisdirectedRequest || attempt == attempts {
			return resp, err //nolint:wrapcheck // http.Client adds the URL
		}

		_ = resp.Body.Close() //nolint:errcheck // it says nothing more
	}
}

// kindOf returns the name of a kind of source.
func kindOf(obj client.Object) string {
	_, name, _ := strings.Cut(fmt.Sprintf("%T", obj), ".")

	return name
}

// secondNames are those of the artifact of an object, such as latest.tar.gz.
func secondNames(obj client.Object) []string {
	url := ""

	switch o := obj.(type) {
	case *sourcev1.OCIRepository:
		url = o.Status.URL
	case *sourcev1.HelmRepository:
		url = o.Status.URL
	case *sourcev1.HelmChart:
		url = o.Status.URL
	case *sourcev1.Bucket:
		url = o.Status.URL
	}

	if url == "" {
		return nil
	}

	return []string{path.Base(url)}
}

// stored are the kinds of objects whose artifacts the components of this process keep.
func (p *Process) stored() []artifacts {
	var all []artifacts

	for _, c := range p.Components {
		for _, kind := range c.Artifacts {
			all = append(all, newSource(kind))
		}
	}

	return all
}
