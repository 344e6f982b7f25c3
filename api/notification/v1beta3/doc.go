// Package v1beta3 holds kinds of notification.toolkit.fluxcd.io/v1beta3: the Alert, which selects events, and the
// Provider, which they are sent to. Neither has a status. The package declares types, their defaults and their names;
// sending is done elsewhere.
//
// +kubebuilder:object:generate=true
// +groupName=notification.toolkit.fluxcd.io
package v1beta3
