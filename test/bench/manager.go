package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// managerProcess is a running manager.
type managerProcess struct {
	cmd     *exec.Cmd
	metrics string
	client  *http.Client
	ended   chan struct{} // closed when it has ended, with err
	err     error
}

// startManager starts the manager with the controllers.
func startManager(ctx context.Context, s *stage, controllers string) (*managerProcess, error) {
	binary := s.settings.manager
	if binary == "" {
		root, err := moduleRoot(ctx)
		if err != nil {
			return nil, err
		}

		binary = filepath.Join(s.dir, "manager")
		build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", binary, "./cmd/manager")
		build.Dir, build.Stderr = root, os.Stderr

		if err := build.Run(); err != nil {
			return nil, fmt.Errorf("build manager: %w", err)
		}
	}

	addrs, err := freeAddrs(ctx, 2)
	if err != nil {
		return nil, err
	}

	log, err := os.Create(filepath.Join(s.dir, "manager.log"))
	if err != nil {
		return nil, fmt.Errorf("make log: %w", err)
	}
	defer log.Close() //nolint:errcheck // the process writes to a copy of it

	m := &managerProcess{metrics: addrs[0], client: &http.Client{Timeout: 2 * profiled}, ended: make(chan struct{})}
	m.cmd = exec.Command(binary, append([]string{ //nolint:gosec,noctx // our own program; it ends with stop
		"--controllers=" + controllers, "--kubeconfig=" + s.cluster.Kubeconfig(), "--metrics-addr=" + addrs[0], "--health-addr=0",
		"--storage-path=" + filepath.Join(s.dir, "storage"), "--storage-addr=" + addrs[1], "--storage-adv-addr=" + addrs[1],
	}, s.flags...)...)
	m.cmd.Stdout, m.cmd.Stderr = log, log

	if err := m.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start manager: %w", err)
	}

	go func() {
		m.err = m.cmd.Wait()
		close(m.ended)
	}()

	return m, m.await(ctx)
}

// await returns when the manager serves its metrics.
func (m *managerProcess) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()

	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()

	for {
		if body, err := m.get(ctx, "/metrics"); err == nil {
			return body.Close() //nolint:wrapcheck // nothing to add
		}

		select {
		case <-m.ended:
			return fmt.Errorf("manager ended, see its log: %w", m.err)
		case <-ctx.Done():
			return fmt.Errorf("manager did not come up: %w", ctx.Err())
		case <-tick.C:
		}
	}
}

func (m *managerProcess) pid() int { return m.cmd.Process.Pid }

func (m *managerProcess) stop() error {
	if err := m.cmd.Process.Signal(os.Interrupt); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop manager: %w", err)
	}

	select {
	case <-m.ended:
	case <-time.After(30 * time.Second):
		_ = m.cmd.Process.Kill() //nolint:errcheck // it may have ended meanwhile
		<-m.ended
	}

	return nil
}

func (m *managerProcess) get(ctx context.Context, path string) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+m.metrics+path, nil)
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}

	resp, err := m.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("get %s of the manager: %w", path, err)
	}

	if resp.StatusCode != http.StatusOK {
		resp.Body.Close()

		return nil, fmt.Errorf("get %s of the manager: %s", path, resp.Status)
	}

	return resp.Body, nil
}

// freeAddrs returns loopback addresses that nobody listens on.
func freeAddrs(ctx context.Context, n int) ([]string, error) {
	var (
		addrs   []string
		listens []net.Listener
	)

	defer func() {
		for _, l := range listens {
			_ = l.Close() //nolint:errcheck // it took no connection
		}
	}()

	for range n {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("find free port: %w", err)
		}

		listens, addrs = append(listens, l), append(addrs, l.Addr().String())
	}

	return addrs, nil
}

// moduleRoot returns the folder of go.mod.
func moduleRoot(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	root := strings.TrimSpace(string(out))

	if err != nil || root == "" {
		return "", fmt.Errorf("find the module: %w", errors.Join(err, fs.ErrNotExist))
	}

	return root, nil
}
