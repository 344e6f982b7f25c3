// Package instance reconciles the FluxInstance: it builds the components from the distribution, applies them, waits until they
// are healthy and only then takes out what is no longer wanted. What somebody changes in the deployed objects is put back
// when the health hub tells of it. Deleting the instance takes the components out and leaves what they deployed.
//
// It does not decide what the components look like (package distribution), how objects are applied and watched (packages apply
// and health), or when the instance runs (package controllers).
package instance
