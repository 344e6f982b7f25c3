// Command init is the first process of a test node. It is started in
// namespaces of its own (processes, mounts, network, host name, IPC), makes a
// machine of them and runs there what it is told to. The kernel ends everything
// in a process namespace with its first process and frees mounts and network
// with the last user, so a node leaves nothing behind, however it ends.
//
// It reads JSON from standard input: a Setup, then a Program each time that one
// is to be started. It ends with its input, or with any program.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// Program is what to start.
type Program struct {
	Name string
	Path string
	Args []string
	Env  []string
	Log  string // file for its output
	// Socket, if not empty, is where it listens when it is ready: the next program starts no sooner.
	Socket string
}

// socketTimeout bounds the wait for a program's socket.
const socketTimeout = time.Minute

// children are the programs that run, by process.
type children struct {
	mu    sync.Mutex
	names map[int]string
}

func main() {
	if err := run(os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "init:", err)
		os.Exit(1)
	}
}

func run(in io.Reader) error {
	if os.Getpid() != 1 {
		return errors.New("this is no namespace of its own: the process number is not 1")
	}
	messages := json.NewDecoder(in)
	var s Setup
	if err := messages.Decode(&s); err != nil {
		return fmt.Errorf("read setup: %w", err)
	}
	if err := s.apply(); err != nil {
		return err
	}
	c := &children{names: map[int]string{}}
	failed := make(chan error, 2)
	go func() { failed <- c.reap() }()
	go func() { failed <- c.startAll(messages) }()
	return <-failed
}

// startAll starts programs until the input ends, which is no error.
func (c *children) startAll(messages *json.Decoder) error {
	for {
		var p Program
		err := messages.Decode(&p)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read program: %w", err)
		}
		if err := c.start(p); err != nil {
			return fmt.Errorf("start %s: %w", p.Name, err)
		}
	}
}

func (c *children) start(p Program) error {
	out, err := os.OpenFile(p.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer out.Close()
	c.mu.Lock() // reap must not see its end before it has a name
	proc, err := os.StartProcess(p.Path, append([]string{p.Path}, p.Args...), &os.ProcAttr{
		Dir: "/", Env: p.Env, Files: []*os.File{nil, out, out}, Sys: &syscall.SysProcAttr{Setpgid: true},
	})
	if err != nil {
		c.mu.Unlock()
		return err
	}
	c.names[proc.Pid] = p.Name
	c.mu.Unlock()
	if err := proc.Release(); err != nil { // reap waits for it
		return err
	}
	if p.Socket == "" {
		return nil
	}
	return listens(p.Socket)
}

// listens waits until somebody listens on the Unix socket.
func listens(path string) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(socketTimeout)
	for {
		c, err := net.Dial("unix", path)
		if err == nil {
			return c.Close()
		}
		select {
		case <-deadline:
			return err
		case <-tick.C:
		}
	}
}

// reap waits for processes, those that others have orphaned too, until a program ends.
func (c *children) reap() error {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGCHLD)
	for ; ; <-ended {
		if err := c.collect(); err != nil {
			return err
		}
	}
}

// collect takes all that have ended. One signal may stand for many.
func (c *children) collect() error {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		if err == syscall.EINTR {
			continue
		}
		if pid <= 0 {
			return nil
		}
		c.mu.Lock()
		name, ours := c.names[pid]
		c.mu.Unlock()
		if ours {
			return fmt.Errorf("%s ended: exit status %d, signal %d", name, status.ExitStatus(), status.Signal())
		}
	}
}

// write makes a file and the folders above it.
func write(path, content string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(content), 0o644)
}
