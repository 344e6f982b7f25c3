package controllers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"github.com/weir-dev/weir/reconcilers/artifact"
)

// storage is the artifact store of the sources of this process, and what serves it.
type storage struct {
	store   *artifact.Store
	listen  func(ctx context.Context) (net.Listener, error)
	serving atomic.Bool
}

// sharedStorage returns the artifact store of the process, and makes it if it is not there.
func (p *Process) sharedStorage() (*artifact.Store, error) {
	if p.storage != nil {
		return p.storage.store, nil
	}

	o := p.Storage

	algorithm := digest.Algorithm(o.DigestAlgorithm)
	if !algorithm.Available() {
		return nil, fmt.Errorf("--artifact-digest-algo: there is no algorithm %q", o.DigestAlgorithm)
	}

	address, err := advertised(o.AdvertiseAddr, o.ServeAddr)
	if err != nil {
		return nil, err
	}

	store, err := artifact.NewStore(artifact.StoreOptions{
		Root: o.Path, Address: address, Algorithm: algorithm,
		RetentionTTL: o.RetentionTTL, RetentionRecords: o.RetentionRecords,
	})
	if err != nil {
		return nil, fmt.Errorf("open artifact storage: %w", err)
	}

	p.storage = &storage{store: store, listen: func(ctx context.Context) (net.Listener, error) {
		return (&net.ListenConfig{}).Listen(ctx, "tcp", o.ServeAddr)
	}}

	if err := p.AddReadyzCheck("storage", p.storage.ready); err != nil {
		return nil, fmt.Errorf("add readiness check: %w", err)
	}

	return store, p.Add(p.storage)
}

// ready says no as long as another process holds the lease and serves the artifacts.
func (s *storage) ready(*http.Request) error {
	if !s.serving.Load() {
		return errors.New("artifacts are not served yet")
	}

	return nil
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

// Start implements manager.Runnable: artifacts are served until the process ends, by the process that makes them.
func (s *storage) Start(ctx context.Context) error {
	l, err := s.listen(ctx)
	if err != nil {
		return fmt.Errorf("serve artifacts: %w", err)
	}

	server := newServer(s.store.Handler())

	s.serving.Store(true)

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

// newServer returns the server of the artifacts. Whoever reads or writes too slowly does not hold a connection and an open file
// for ever: the largest artifact takes ten minutes at two megabytes a second.
func newServer(handler http.Handler) *http.Server {
	return &http.Server{
		Handler: handler, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, WriteTimeout: 10 * time.Minute,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
	}
}

// sharedTrees returns the unpacked artifacts of the process, and makes them if they are not there. They lie in a temporary
// folder that no other process uses.
func (p *Process) sharedTrees() (*artifact.Trees, error) {
	dir, held, err := ownFolder("weir-trees-")
	if err != nil {
		return nil, fmt.Errorf("make folder for unpacked artifacts: %w", err)
	}

	p.held = append(p.held, held)

	o := artifact.TreesOptions{Dir: dir, Attempts: p.FetchRetries + 1}
	if p.storage != nil {
		o.Store = p.storage.store
	}

	trees, err := artifact.NewTrees(o)
	if err != nil {
		return nil, fmt.Errorf("open unpacked artifacts: %w", err)
	}

	return trees, nil
}

// ownFolder makes a temporary folder for this process, and removes those with the prefix that killed processes have left
// behind. A folder is in use as long as the file that is returned with it is open, which ends with the process.
func ownFolder(prefix string) (string, *os.File, error) {
	left, err := filepath.Glob(filepath.Join(os.TempDir(), prefix+"*"))
	if err != nil {
		return "", nil, fmt.Errorf("look for old folders: %w", err)
	}

	for _, old := range left {
		if f, err := lock(old); err == nil {
			_ = os.RemoveAll(old) //nolint:errcheck // another user's, say: it harms nobody
			_ = f.Close()         //nolint:errcheck // nothing was written
		}
	}

	for attempt := 1; ; attempt++ {
		dir, err := os.MkdirTemp("", prefix)
		if err != nil {
			return "", nil, err //nolint:wrapcheck // names the folder
		}

		f, err := lock(dir)
		if err == nil {
			return filepath.Join(dir, "content"), f, nil
		}

		if attempt == 3 { // a process that starts at the same time may take an unlocked folder for an old one
			return "", nil, err
		}
	}
}

// lock takes the lock of a folder, or fails at once.
func lock(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err //nolint:wrapcheck // names the file
	}

	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil { //nolint:gosec // descriptors are small
		_ = f.Close() //nolint:errcheck // nothing was written

		return nil, fmt.Errorf("lock %q: %w", f.Name(), err)
	}

	return f, nil
}
