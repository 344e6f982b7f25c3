// Package enginetest runs kinds in tests: the real runner over an API server in memory, with a clock and a random number
// that the test sets, and a record of every write and event.
//
//	result := enginetest.Run(t, git.Kind(deps), &sourcev1.GitRepository{…})
//
// It shows what a run makes of an object, and what that costs. It proves nothing about the API server: validation,
// defaults, server-side apply and watches need a real one, see package test/cluster.
package enginetest
