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

	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/test/cluster"
)

// stage is what a fleet is measured on: a control plane, the servers of its sources, and the manager, each a process of its
// own.
type stage struct {
	settings

	dir     string
	cluster *cluster.Cluster
	client  client.WithWatch
	server  server
	manager *managerProcess
}

func newStage(ctx context.Context, s settings, f scenario) (st *stage, err error) {
	st = &stage{settings: s}

	defer func() {
		if err != nil {
			err = errors.Join(err, st.close(true))
		}
	}()

	if st.dir, err = os.MkdirTemp("", "weir-bench-"); err != nil {
		return st, fmt.Errorf("make folder: %w", err)
	}

	if st.cluster, err = cluster.Start(ctx, cluster.Options{
		Mode: cluster.ControlPlane, Dir: filepath.Join(st.dir, "cluster"), Keep: true, Cache: s.cache, Log: os.Stderr,
	}); err != nil {
		return st, fmt.Errorf("start control plane: %w", err)
	}

	if err := st.connect(ctx); err != nil {
		return st, err
	}

	if st.server, err = f.open(ctx, st); err != nil {
		return st, err
	}

	st.manager, err = startManager(ctx, st)

	return st, err
}

// connect makes the client and what has to be there before the manager: the kinds and the namespace.
func (s *stage) connect(ctx context.Context) error {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		corev1.AddToScheme, apiextensionsv1.AddToScheme, sourcev1.AddToScheme, kustomizev1.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			return fmt.Errorf("build scheme: %w", err)
		}
	}

	var err error
	if s.client, err = client.NewWithWatch(s.cluster.Config(), client.Options{Scheme: scheme}); err != nil {
		return fmt.Errorf("make client: %w", err)
	}

	root, err := moduleRoot(ctx)
	if err != nil {
		return err
	}

	if _, err := envtest.InstallCRDs(s.cluster.Config(), envtest.CRDInstallOptions{
		Paths: []string{filepath.Join(root, "config", "crd", "bases")}, ErrorIfPathMissing: true,
	}); err != nil {
		return fmt.Errorf("install CRDs: %w", err)
	}

	if err := s.client.Create(ctx, newNamespace()); err != nil {
		return fmt.Errorf("create namespace: %w", err)
	}

	return nil
}

func (s *stage) close(keep bool) error {
	var errs []error

	if s.manager != nil {
		errs = append(errs, s.manager.stop())
	}

	if s.server != nil {
		s.server.close()
	}

	if s.cluster != nil {
		errs = append(errs, s.cluster.Stop())
	}

	if keep {
		progressf("logs are in %s", s.dir)
	} else if s.dir != "" {
		errs = append(errs, os.RemoveAll(s.dir))
	}

	return errors.Join(errs...)
}

// managerProcess is a running manager.
type managerProcess struct {
	cmd     *exec.Cmd
	metrics string
	client  *http.Client
	ended   chan struct{} // closed when it has ended, with err
	err     error
}

func startManager(ctx context.Context, s *stage) (*managerProcess, error) {
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

	m := &managerProcess{metrics: addrs[0], client: &http.Client{Timeout: time.Minute}, ended: make(chan struct{})}
	m.cmd = exec.Command(binary, "--controllers=source,kustomize", "--kubeconfig="+s.cluster.Kubeconfig(), //nolint:gosec,noctx // our own program; it ends with stop
		"--metrics-addr="+addrs[0], "--health-addr=0", "--storage-path="+filepath.Join(s.dir, "storage"),
		"--storage-addr="+addrs[1], "--storage-adv-addr="+addrs[1])
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

// profile writes the heap profile of the manager after a part, and what its processor time went to, if asked for.
func (s *stage) profile(ctx context.Context, what string) {
	if s.settings.profile == "" {
		return
	}

	body, err := s.manager.get(ctx, "/debug/pprof/heap")
	if err != nil {
		progressf("profile: %v", err)

		return
	}
	defer body.Close()

	path := filepath.Join(s.settings.profile, "heap-"+strings.ReplaceAll(what, " ", "-")+".pprof")

	f, err := os.Create(path)
	if err == nil {
		_, err = io.Copy(f, body)
		err = errors.Join(err, f.Close())
	}

	if err != nil {
		progressf("profile: %v", err)
	}
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
