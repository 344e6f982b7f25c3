package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// stopTimeout bounds how long Stop waits for another process to stop its cluster.
const stopTimeout = time.Minute

// ErrNotRunning says that no process runs a cluster in a folder.
var ErrNotRunning = errors.New("no cluster is running")

// Open finds the cluster that another process runs in the folder. Its Stop tells
// that process to end, and waits. The error is ErrNotRunning if there is none.
func Open(dir string) (*Cluster, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	running, err := held(filepath.Join(dir, "lock"))
	if err != nil {
		return nil, err
	}
	b, err := os.ReadFile(filepath.Join(dir, "cluster.json"))
	if !running || errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w in %q", ErrNotRunning, dir)
	}
	if err != nil {
		return nil, err
	}
	c := &Cluster{}
	if err := json.Unmarshal(b, &c.info); err != nil {
		return nil, fmt.Errorf("read the state of the cluster in %q: %w", dir, err)
	}
	if c.config, err = load(c.Kubeconfig()); err != nil {
		return nil, err
	}
	if c.client, err = newClient(c.config); err != nil {
		return nil, err
	}
	c.stop = sync.OnceValue(c.dismiss)
	return c, nil
}

// held reports whether another process has the lock, without leaving a file.
func held(path string) (bool, error) {
	if !exists(path) {
		return false, nil
	}
	l, err := tryLock(path)
	if l != nil {
		l.unlock()
	}
	return l == nil, err
}

// dismiss ends the process that runs the cluster.
func (c *Cluster) dismiss() error {
	p, err := os.FindProcess(c.info.Supervisor)
	if err != nil {
		return err
	}
	defer p.Release() //nolint:errcheck // it frees what the look-up took
	// Asked after the process was looked up: so it is the one that runs the cluster, and not a later one of that number.
	if running, err := held(c.file("lock")); err != nil || !running {
		return err
	}
	if err := p.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal process %d: %w", c.info.Supervisor, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	return vacant(ctx, c.file("lock"))
}

// vacant waits until nobody has the lock.
func vacant(ctx context.Context, path string) error {
	tick := time.NewTicker(lockPoll)
	defer tick.Stop()
	for {
		running, err := held(path)
		if err != nil || !running {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the cluster to stop: %w", context.Cause(ctx))
		case <-tick.C:
		}
	}
}

// Ready checks that the API server answers and, with a node, that the node takes pods.
func (c *Cluster) Ready(ctx context.Context) error {
	if err := c.client.get(ctx, "/readyz", nil); err != nil {
		return err
	}
	if c.info.Mode != Node {
		return nil
	}
	return c.nodeReady(ctx)
}
