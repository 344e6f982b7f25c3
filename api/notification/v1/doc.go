// Package v1 holds the kind of notification.toolkit.fluxcd.io/v1: the Receiver of webhooks. It declares types, their
// defaults and their names; checking and handling requests is done elsewhere.
//
// +kubebuilder:object:generate=true
// +groupName=notification.toolkit.fluxcd.io
package v1
