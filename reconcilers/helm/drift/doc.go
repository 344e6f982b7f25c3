// Package drift tells how the cluster differs from a release that is deployed, and corrects that.
//
// What a release consists of is read from its manifest: hooks are no part of it. Package apply compares, remembers and corrects; what is
// as it was costs no request, and the manifest is not even read.
package drift
