// Package apply brings a set of objects into a cluster with server-side apply, keeps it there, and takes out what left
// the set.
//
// It observes (what it applied, what the health hub sees), decides (Plan, drift and order are pure functions) and acts
// (dry runs, applies and deletes, in stages and in parallel). What is as it was applied costs no request. What somebody
// changes is noticed by the hub's events and put back by the next Apply of the same set, which touches nothing else.
// The package knows no kind of owner: labels, field manager and markers come with the Owner. It builds no objects and
// writes no status.
package apply
