// Package controllers says when an object runs: the watches, indexes and predicates of each kind, and the one list of
// them all. What a run does is in package reconcilers.
//
// A process holds one [Process]: the manager and the parts that its controllers share. [Setup] adds the controllers of the
// components that the process was told to run.
package controllers
