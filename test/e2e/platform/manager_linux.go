package platform

import (
	"fmt"
	"os"
	"strings"
	"syscall"
)

// dependent makes the kernel end a process with the thread that started it.
func dependent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }

// PeakMemory returns the most memory, in bytes, that the running process was resident with, where that can be known.
func (m *Manager) PeakMemory() (int64, bool) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", m.process.Process.Pid))
	if err != nil {
		return 0, false
	}

	var kilobytes int64

	_, peak, _ := strings.Cut(string(status), "VmHWM:")
	_, err = fmt.Sscan(peak, &kilobytes)

	return kilobytes << 10, err == nil
}
