package cluster

import "syscall"

// searchPath holds the tools that a node's programs call; root's part is not on everyone's path.
const searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// detached puts a child out of reach of the terminal's signals, and lets it not outlive us.
func detached() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
