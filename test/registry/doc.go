// Package registry runs real OCI registries for tests and benchmarks, over HTTP and HTTPS, with basic authentication, tokens
// and client certificates. It also makes what they hold: artifacts as the flux CLI pushes them, charts and images.
//
// It is no registry for anything but test data: what it holds goes with it.
package registry
