// Package engine is the one runner of all kinds. A kind declares what it is (a [Kind]: steps, conditions, intervals,
// events) and the [Runner] does what every kind needs: finalizers, the order of the steps, what an error means, the
// summary in Ready, one status patch and only if it says something new, Kubernetes and Flux events, metrics, back-off,
// jitter and priorities.
//
// It does not watch, list or index anything, and never sees a Manager: which event makes which object run is decided in
// the controllers package, and what a run does is decided by the steps.
package engine
