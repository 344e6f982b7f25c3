// Package platform is Weir on a cluster, as the end-to-end tests and the demo set it up: the program built and pushed as an
// image, the operator installed or the manager run as a process outside the cluster, a FluxInstance that follows a Git
// repository, and what it takes to watch all of that and to tell why it does not get there.
//
// It waits by watching, never by asking again, and every wait has the deadline of its context. It knows no expectations:
// those are the tests'.
package platform
