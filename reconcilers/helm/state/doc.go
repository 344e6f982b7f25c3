// Package state observes a release and decides what to do about it. Both are functions of what is given to them: the
// HelmRelease, what Helm has stored, and what is wanted. Nothing here reads or writes a cluster.
//
// One reconcile is a loop: [Detect] says in which state the release is, [Decide] which action comes next, a [Loop] whether it may
// run, and whoever runs it puts what was stored into the history with [Observe], counts with [CountFailure] and [CountSuccess],
// and begins again, until the Loop says that this is all for now.
//
// What an action does, and which conditions and events it makes, is not known here.
package state
