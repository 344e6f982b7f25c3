package cluster

import (
	"testing"

	"golang.org/x/sys/unix"
)

// watchProcesses returns a function that fails the test unless all processes
// end within a few seconds. It must be called while they live: what has ended
// may be another process by then.
func watchProcesses(t *testing.T, processes []Process) func() {
	t.Helper()
	files := make([]int, len(processes))
	for i, p := range processes {
		fd, err := unix.PidfdOpen(p.PID, 0)
		if err != nil {
			t.Fatalf("%s does not run: %v", p.Name, err)
		}
		t.Cleanup(func() { unix.Close(fd) })
		files[i] = fd
	}
	return func() {
		t.Helper()
		for i, fd := range files {
			const milliseconds = 10_000
			n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, milliseconds)
			if n != 1 {
				t.Errorf("%s still runs: %v", processes[i].Name, err)
			}
		}
	}
}
