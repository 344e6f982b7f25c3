package platform

import "syscall"

// dependent makes the kernel end a process with the thread that started it.
func dependent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
