// Package helm releases Helm charts.
//
// A run observes what Helm has stored and what is wanted, decides about the next action, and acts, until nothing is left to do:
// the deciding is done in package state. Every action goes through a client of its own (package kube), which acts as the service
// account of the HelmRelease. Whatever Helm stores on the way gets into the history of the status, also if the action then fails.
//
// Helm's releases are kept as Helm keeps them (package storage), and what its templates make is changed before it is applied (package
// render).
package helm
