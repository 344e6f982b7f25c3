// Package expression evaluates the CEL expressions that users write into specs: when a dependency is ready, and how healthy
// the objects of a custom kind are. It knows nothing of either: it turns a text and some values into yes or no.
//
// Who writes an expression, and often the object that it looks at, is a tenant. So evaluation is bounded in what it
// computes, not in how long that takes on a busy machine: by the cost of each step, by the size of everything that the
// expression makes, and, before they are called, by what functions of more than linear effort are given.
package expression
