// Package arch holds the house in order: which package may import which, that packages say what they are for, that files
// stay short, and that no unfinished work is left. It has tests only, over what `go list` says and over the sources.
//
// A rule has a reason, and the reason is what a failure says. A decision that changes a rule is recorded in docs/decisions.
package arch
