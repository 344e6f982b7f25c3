// Package health is the hub that knows how the applied objects are: one shared, filtered watch per cluster and kind
// tells their health and their drift as events, and nobody polls.
//
// Who applies a set of objects declares it with Track, who waits for their health arms one wake-up with Await or asks
// with Report. At event time the hub computes the status of an object (kstatus, and the rules in force) and keeps only
// that and a few facts of the metadata; the object itself is dropped. The hub decides nothing: what counts as drift,
// and what to do about it, is for package apply and for the kinds.
package health
