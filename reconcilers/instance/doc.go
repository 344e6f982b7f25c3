// Package instance reconciles the FluxInstance: it builds the components from the distribution, applies them, waits until they
// are healthy and only then takes out what is no longer wanted. What somebody changes in the deployed objects is put back
// when the health hub tells of it. Deleting the instance takes the components out and leaves what they deployed.
//
// Another revision is a transaction: the status says where it is, so that a process that is started anew goes on there. One that fails
// is taken back to the last good one, which a Secret holds, and which is kept as long as nothing newer may be applied.
//
// It does not decide what the components look like (package distribution), how objects are applied and watched (packages apply
// and health), or when the instance runs (package controllers).
package instance
