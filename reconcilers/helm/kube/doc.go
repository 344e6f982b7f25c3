// Package kube is what Helm's actions see of a cluster: its kube.Interface over packages access, apply and health.
//
// A Client is for one action of one release. It carries the context of that action, because Helm's interface has none, and acts as
// the identity of its access.Client in everything: writes, look-ups of templates, logs of hooks. What the cluster serves is
// known once per cluster, not once per release.
//
// With server-side apply, the objects of a release are applied as one set: tried before anything is written, definitions and
// namespaces first, and remembered by the applier, so that what has not changed costs no request. Hooks, and everything
// without server-side apply, are written one by one as Helm does.
//
// Nothing is polled: waits are goals of the health hub, and give the work permit of their caller back meanwhile.
//
// The package decides nothing about releases: when to install, and what a failure means, is for its callers.
package kube
