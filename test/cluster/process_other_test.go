//go:build !linux

package cluster

import (
	"errors"
	"os"
	"syscall"
	"testing"
)

// watchProcesses returns a function that fails the test if a process still runs.
func watchProcesses(t *testing.T, processes []Process) func() {
	return func() {
		for _, p := range processes {
			if err := syscall.Kill(p.PID, 0); !errors.Is(err, os.ErrProcessDone) && !errors.Is(err, syscall.ESRCH) {
				t.Errorf("%s still runs", p.Name)
			}
		}
	}
}
