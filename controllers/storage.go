package controllers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/opencontainers/go-digest"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/weir-dev/weir/reconcilers/artifact"
	"github.com/weir-dev/weir/reconcilers/engine"
)

// auditInterval is the time between two looks at whether all artifacts are still there.
const auditInterval = 5 * time.Second

// storage is the artifact store of the sources of this process, and what serves it. As long as another process holds the lease,
// it mirrors the artifacts of that one, and serves them beside it.
type storage struct {
	store     *artifact.Store
	listen    func(ctx context.Context) (net.Listener, error)
	listening atomic.Bool

	mu      sync.Mutex
	owners  map[string]owners // by kind, in lower case
	standby *standby          // as long as another process holds the lease
	leads   bool              // this process holds it

	led chan struct{} // closed when leads is set
}

// newStorage returns a storage that has no store yet.
func newStorage() *storage {
	return &storage{owners: map[string]owners{}, led: make(chan struct{})}
}

// owners are the objects of a kind that have artifacts.
type owners struct {
	// waker of the controller that makes the artifacts.
	waker *waker

	// maker returns the object that makes those of another one. Nil means the object itself.
	maker func(ctx context.Context, key types.NamespacedName) (types.NamespacedName, bool)
}

// sharedStorage returns the artifact store of the process, and makes it if it is not there.
func (p *Process) sharedStorage() (*artifact.Store, error) {
	if p.storage != nil {
		return p.storage.store, nil
	}

	o := p.Storage

	address, err := advertised(o.AdvertiseAddr, o.ServeAddr)
	if err != nil {
		return nil, err
	}

	s := newStorage()
	s.listen = func(ctx context.Context) (net.Listener, error) {
		return (&net.ListenConfig{}).Listen(ctx, "tcp", o.ServeAddr)
	}

	held, err := lockStorage(o.Path)
	if err != nil {
		return nil, fmt.Errorf("open artifact storage: %w", err)
	}

	p.held = append(p.held, held)

	s.store, err = artifact.NewStore(artifact.StoreOptions{
		Root: o.Path, Address: address, Algorithm: digest.Algorithm(o.DigestAlgorithm),
		RetentionTTL: o.RetentionTTL, RetentionRecords: o.RetentionRecords, Lost: s.lost,
	})
	if err != nil {
		return nil, fmt.Errorf("open artifact storage: %w", err)
	}

	if err := p.AddReadyzCheck("storage", s.ready); err != nil {
		return nil, fmt.Errorf("add readiness check: %w", err)
	}

	for _, r := range []manager.Runnable{s, manager.RunnableFunc(s.lead)} {
		if err := p.Add(r); err != nil {
			return nil, fmt.Errorf("add artifact storage: %w", err)
		}
	}

	p.storage = s

	if !p.LeaderElection {
		return s.store, nil
	}

	return s.store, p.Add(newStandby(p, s))
}

// route lets the objects of a kind run when an artifact of theirs is lost.
func (s *storage) route(kind string, w *waker) { s.translate(kind, w, nil) }

// translate lets others run when an artifact of an object of the kind is lost.
func (s *storage) translate(
	kind string, w *waker, maker func(context.Context, types.NamespacedName) (types.NamespacedName, bool),
) {
	s.mu.Lock()
	defer s.mu.Unlock()

	s.owners[strings.ToLower(kind)] = owners{waker: w, maker: maker}
}

// lost sees to it that a lost artifact comes back: from who has it, as long as this process stands by, then from its source.
func (s *storage) lost(owner artifact.Owner) {
	s.mu.Lock()
	o, standby := s.owners[owner.Kind], s.standby
	s.mu.Unlock()

	key := types.NamespacedName{Namespace: owner.Namespace, Name: owner.Name}

	switch {
	case standby != nil:
		standby.mirror.Lost(owner)
	case o.waker == nil:
	case o.maker == nil:
		o.waker.Wake(key, engine.Drift)
	default:
		if by, ok := o.maker(context.Background(), key); ok { // it reads a cache
			o.waker.Wake(by, engine.Drift)
		}
	}
}

// ready says no as long as there is something that this process should serve and does not.
func (s *storage) ready(*http.Request) error {
	s.mu.Lock()
	standby, leads := s.standby, s.leads
	s.mu.Unlock()

	switch {
	case !s.listening.Load(), !leads && standby == nil:
		return errors.New("artifacts are not served yet")
	case standby != nil:
		return standby.ready()
	}

	return nil
}

// ServeHTTP serves the artifacts that are here, and as long as this process stands by, waits for those that are on their way.
func (s *storage) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	standby := s.standby
	s.mu.Unlock()

	if standby == nil || standby.prepare(w, r) {
		s.store.Handler().ServeHTTP(w, r)
	}
}

// lead is what happens when this process gets the lease: from now on, the artifacts are made here.
func (s *storage) lead(context.Context) error {
	s.mu.Lock()
	standby := s.standby
	s.mu.Unlock()

	if standby != nil {
		standby.mirror.Stop()
	}

	s.mu.Lock()
	s.standby, s.leads = nil, true
	s.mu.Unlock()

	close(s.led)

	return nil
}

// wait returns when the artifacts are made by this process, and by nobody else in it: a mirror that is about to stop would put
// back what is old, and remove what is new.
func (s *storage) wait(ctx context.Context) error {
	select {
	case <-s.led:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// after returns the kind with objects that do not run before the artifacts are made by this process.
func after[O engine.Object, S any](s *storage, k engine.Kind[O, S]) engine.Kind[O, S] {
	open := k.Open

	k.Open = func(ctx context.Context, obj O, scope *S) error {
		if err := s.wait(ctx); err != nil || open == nil {
			return err
		}

		return open(ctx, obj, scope)
	}

	return k
}

// forget removes what is left of an object that went without its finalizer.
func (s *storage) forget(kind string, key types.NamespacedName) {
	_, _ = s.store.Remove(artifact.Owner{Kind: kind, Namespace: key.Namespace, Name: key.Name}) //nolint:errcheck // nobody asks for it
}

// standBy lets this process stand by, unless it has got the lease.
func (s *storage) standBy(by *standby) bool {
	s.mu.Lock()
	defer s.mu.Unlock()

	if !s.leads {
		s.standby = by
	}

	return !s.leads
}

// advertised is the address under which others reach the storage: the one that was given, or the one that it is served on,
// with the name of the machine if that says none.
func advertised(given, serve string) (string, error) {
	if given != "" {
		return given, nil
	}

	host, port, err := net.SplitHostPort(serve)
	if err != nil {
		return "", fmt.Errorf("--storage-addr %q: %w", serve, err)
	}

	if host == "" || net.ParseIP(host).IsUnspecified() {
		if host, err = os.Hostname(); err != nil {
			return "", fmt.Errorf("--storage-adv-addr is not given, and this machine has no name: %w", err)
		}
	}

	return net.JoinHostPort(host, port), nil
}

// NeedLeaderElection implements manager.LeaderElectionRunnable.
func (*storage) NeedLeaderElection() bool { return false }

// Start implements manager.Runnable: artifacts are served until the process ends.
func (s *storage) Start(ctx context.Context) error {
	l, err := s.listen(ctx)
	if err != nil {
		return fmt.Errorf("serve artifacts: %w", err)
	}

	server := newServer(s)

	s.listening.Store(true)

	go s.audit(ctx)

	ended := make(chan error, 1)

	go func() { ended <- server.Serve(l) }()

	select {
	case err := <-ended:
		return fmt.Errorf("serve artifacts: %w", err)
	case <-ctx.Done():
	}

	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()

	if err := server.Shutdown(grace); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("stop serving artifacts: %w", err)
	}

	return nil
}

// audit looks again and again whether all artifacts are still there.
func (s *storage) audit(ctx context.Context) {
	ticker := time.NewTicker(auditInterval)
	defer ticker.Stop()

	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			s.store.Audit(ctx)
		}
	}
}

// newServer returns the server of the artifacts. Whoever reads or writes too slowly does not hold a connection and an open file
// for ever: the largest artifact takes ten minutes at two megabytes a second.
func newServer(handler http.Handler) *http.Server {
	return &http.Server{
		Handler: handler, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, WriteTimeout: 10 * time.Minute,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
	}
}
