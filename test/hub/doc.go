// Package hub tests one operator that deploys to several real clusters: its own, and others by their kubeconfigs.
package hub
