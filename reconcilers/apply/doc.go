// Package apply brings a set of objects into a cluster with server-side apply, keeps it there, and takes out what left
// the set.
//
// It observes (what it applied, what the health hub sees), decides (Plan, drift and order are pure functions) and acts
// (dry runs, applies and deletes, in stages and in parallel). What is as it was applied costs no request. What somebody
// changes is noticed by the hub's events and put back by the next Apply of the same set, which touches nothing else.
//
// An Apply with a blink never holds its caller up: while a stage takes effect it ends with a *Waiting, and the next one
// goes on where it stopped. Fields that an owner ignores are created as desired and then left to whoever changes them.
// Corrections name the fields that they put back, by path and never with a value, and objects that somebody keeps
// changing back are corrected ever more slowly. An object that another owner of the same Applier has in its set is not
// deleted: it is handed over. Diff tells what an Apply would change, with a digest of exactly that.
//
// Check and Correct are for owners that tell of drift before they put it back, or only tell: what deviates is remembered, and only looked at
// again when it changes.
//
// The package knows no kind of owner: labels, field manager and markers come with the Owner. It builds no objects and
// writes no status.
package apply
