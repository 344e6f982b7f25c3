// Package gitserver runs real Git servers for tests, the demo and benchmarks: smart HTTP through Git's own http-backend, and
// SSH that executes Git's own upload-pack. Only the program git is needed. It also makes the repositories that it serves.
//
// It is no Git server for anything but test data: whatever lies under its root can be read by whoever has the credentials.
package gitserver
