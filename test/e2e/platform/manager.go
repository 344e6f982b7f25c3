package platform

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

// Manager is the manager as a process outside the cluster. It can be killed and started again: its storage, log and
// addresses stay.
type Manager struct {
	program, kubeconfig, dir string
	args                     []string
	health, storage, metrics string
	process                  *exec.Cmd
	ended                    chan struct{} // closed when the process has ended
	result                   error         // of the process, once ended
}

// NewManager returns a manager that does not run yet. Its folder is made if needed. The arguments come after those that
// Arguments gives it.
func NewManager(program, kubeconfig, dir string, args ...string) (*Manager, error) {
	m := &Manager{program: program, kubeconfig: kubeconfig, dir: dir, args: args}

	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // holds no secret
		return nil, err
	}

	for _, address := range []*string{&m.health, &m.storage, &m.metrics} {
		l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}

		*address = l.Addr().String()
		if err := l.Close(); err != nil {
			return nil, err
		}
	}

	return m, nil
}

// Arguments of the program, without its name.
func (m *Manager) Arguments() []string {
	return append([]string{
		"--kubeconfig=" + m.kubeconfig,
		"--metrics-addr=" + m.metrics, "--health-addr=" + m.health,
		"--storage-path=" + m.Storage(), "--storage-addr=" + m.storage, "--storage-adv-addr=" + m.storage,
	}, m.args...)
}

// Storage returns the path of the folder with the artifacts.
func (m *Manager) Storage() string { return filepath.Join(m.dir, "storage") }

// Log returns the path of the log, to which all runs append.
func (m *Manager) Log() string { return filepath.Join(m.dir, "manager.log") }

// Start starts the process. It ends with Stop, with Kill, or with this process.
func (m *Manager) Start() error {
	log, err := os.OpenFile(m.Log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644) //nolint:gosec // holds no secret
	if err != nil {
		return err
	}
	defer log.Close() //nolint:errcheck // the process has its own

	cmd := exec.Command(m.program, m.Arguments()...) //nolint:gosec,noctx // our own program; it is to outlive the caller's context
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = dependent()

	started, ended := make(chan error), make(chan struct{})
	m.process, m.ended = cmd, ended

	go func() {
		// The kernel ends the process when the thread that started it ends: so that one has to stay.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()

		err := cmd.Start()
		started <- err

		if err == nil {
			m.result = cmd.Wait()
		}

		close(ended)
	}()

	if err := <-started; err != nil {
		return fmt.Errorf("start the manager: %w", err)
	}

	return nil
}

// Ready waits until the process says that it is ready.
func (m *Manager) Ready(ctx context.Context) error {
	tick := time.NewTicker(50 * time.Millisecond) //nolint:mnd // a process cannot be watched
	defer tick.Stop()

	var last error

	for {
		if last = m.IsReady(ctx); last == nil {
			return nil
		}

		select {
		case <-m.ended:
			return fmt.Errorf("the manager has ended: %w", m.Err())
		case <-ctx.Done():
			return fmt.Errorf("%w: the manager is not ready: %w", context.Cause(ctx), last)
		case <-tick.C:
		}
	}
}

// IsReady returns nil if the process says that it is ready.
func (m *Manager) IsReady(ctx context.Context) error { return get(ctx, "http://"+m.health+"/readyz") }

// PID returns the number of the process, which runs.
func (m *Manager) PID() int { return m.process.Process.Pid }

// Address returns where the process serves its artifacts.
func (m *Manager) Address() string { return m.storage }

// Ended is closed when the process has ended.
func (m *Manager) Ended() <-chan struct{} { return m.ended }

// Err says how the process ended, after Ended is closed.
func (m *Manager) Err() error {
	if m.result == nil {
		return errors.New("with status 0")
	}

	return m.result
}

// Kill ends the process at once, wherever it is, and returns when it is gone. A process that does not run is none.
func (m *Manager) Kill() error { return m.end(syscall.SIGKILL) }

// Stop asks the process to end and returns when it is gone. After a while it is killed.
func (m *Manager) Stop() error {
	if m.ended == nil {
		return nil
	}

	late := time.AfterFunc(patience, func() { _ = m.process.Process.Kill() }) //nolint:errcheck // it may have ended
	defer late.Stop()

	return m.end(syscall.SIGTERM)
}

// patience is how long a manager may take to stop.
const patience = 20 * time.Second

func (m *Manager) end(signal os.Signal) error {
	if m.ended == nil {
		return nil
	}

	if err := m.process.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal the manager: %w", err)
	}

	<-m.ended

	return nil
}
