//go:build !linux

package platform

import "syscall"

// dependent has no effect here: a process outlives a killed parent.
func dependent() *syscall.SysProcAttr { return nil }

// PeakMemory returns the most memory, in bytes, that the running process was resident with, where that can be known.
func (m *Manager) PeakMemory() (int64, bool) { return 0, false }
