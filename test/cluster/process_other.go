//go:build !linux

package cluster

import "syscall"

const searchPath = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"

// detached puts a child out of reach of the terminal's signals. Only Linux ends
// it with its parent: elsewhere a killed supervisor leaves its children behind.
func detached() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
