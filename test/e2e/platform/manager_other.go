//go:build !linux

package platform

import "syscall"

// dependent has no effect here: a process outlives a killed parent.
func dependent() *syscall.SysProcAttr { return nil }
