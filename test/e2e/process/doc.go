// Package process tests the manager as a process outside a real control plane, where there need not be a node: what becomes
// of bad input, of a killed manager, of a request to reconcile, and of an instance whose components run elsewhere.
package process
