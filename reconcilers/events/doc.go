// Package events writes events to the Kubernetes API. A Recorder takes what the engine tells, and a few workers write it, in
// turn with all other requests of the process: a reconcile never waits for them.
//
// What waits is bounded, and so is what is remembered, to count an event that comes again instead of writing another one: a
// fingerprint and a name, no object. What finds no room is dropped, warnings last, counted, and told in the log once in a while.
// What events say, and when there is one, is for the engine and the kinds.
package events
