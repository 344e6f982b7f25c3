// Package values makes the values that a release is configured with: of ConfigMaps and Secrets in their order, of single
// values set at a path as helm --set does, and of those in the spec. It also makes the digest by which two sets of values are
// told apart.
//
// It reads through a [Reader], which decides as whom. What comes from a tenant is bounded, for a few bytes can ask for lists
// of millions of items, and nothing of a Secret gets into an error.
//
// It does not know the defaults of the chart: Helm merges those.
package values
