// Package resourceset reconciles ResourceSets: it renders templates with the inputs of the spec and of providers, applies what comes
// of them, step by step, keeps it there, and deletes what is no longer rendered. How templates are rendered is for package template.
//
// A run holds no worker for others: while it waits, for the health of a step or for the end of what it deletes, it returns, and the hub
// of package health wakes the object. What was done before costs no request when it goes on.
package resourceset
