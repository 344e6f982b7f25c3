// Package distribution turns a FluxInstance into the Kubernetes objects of its components. It is a pure
// function of the instance, of the manifests it was loaded with and of the operator's own image: it
// reads no cluster, no network, no clock and no environment, and the same input gives the same bytes.
//
// It does not apply, prune or wait for anything: that is reconcilers/instance.
package distribution
