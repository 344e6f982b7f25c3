package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"
)

// probePoll is how often a starting process is asked whether it is ready.
const probePoll = 40 * time.Millisecond

// spawner starts processes that end with this one, even if it is killed. Linux
// tells a child when the thread that made it ends, not the process, so all
// are made by one thread, which the spawner keeps until it is closed.
type spawner struct{ work chan func() }

func newSpawner() *spawner {
	s := &spawner{work: make(chan func())}
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with this function
		for do := range s.work {
			do()
		}
	}()
	return s
}

func (s *spawner) close() { close(s.work) }

func (s *spawner) start(cmd *exec.Cmd) error {
	result := make(chan error)
	s.work <- func() { result <- cmd.Start() }
	return <-result
}

// process is a running program of the cluster.
type process struct {
	program
	cmd  *exec.Cmd
	log  string        // file of its output
	done chan struct{} // closed when it has ended and err is set
	err  error
}

// program is what it takes to start a process.
type program struct {
	name string
	path string
	args []string
}

// run starts a program with its output in logs/NAME.log. Its environment holds nothing of ours but the search path.
func (s *spawner) run(logs string, p program) (*process, error) {
	file := filepath.Join(logs, p.name+".log")
	out, err := os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer out.Close()                      //nolint:errcheck // the child has its own
	cmd := exec.Command(p.path, p.args...) //nolint:gosec,noctx // a program of ours, which lives as long as the cluster
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Env = []string{"PATH=" + searchPath, "HOME=/nonexistent"}
	cmd.SysProcAttr = detached()
	return s.launch(p, file, cmd)
}

func (s *spawner) launch(p program, log string, cmd *exec.Cmd) (*process, error) {
	if err := s.start(cmd); err != nil {
		return nil, fmt.Errorf("start %s: %w", p.name, err)
	}
	r := &process{program: p, cmd: cmd, log: log, done: make(chan struct{})}
	go func() {
		r.err = cmd.Wait()
		close(r.done)
	}()
	return r, nil
}

// kill ends the process at once and returns when it has ended. What a cluster
// of this package holds is thrown away with it, so nothing needs to be saved.
func (p *process) kill() error {
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill %s: %w", p.name, err)
	}
	<-p.done
	return nil
}

// ready waits until the probe succeeds. It fails when the process ends first,
// with its last output.
func (p *process) ready(ctx context.Context, probe func(context.Context) error) error {
	tick := time.NewTicker(probePoll)
	defer tick.Stop()
	for {
		err := probe(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.done:
			return fmt.Errorf("%s ended: %w\n%s", p.name, p.ended(), p.output())
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w: %w", p.name, context.Cause(ctx), err)
		case <-tick.C:
		}
	}
}

func (p *process) ended() error {
	if p.err == nil {
		return errors.New("exit status 0")
	}
	return p.err
}

func (p *process) output() string {
	b, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return tail(b)
}
