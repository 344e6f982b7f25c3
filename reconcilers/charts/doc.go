// Package charts knows Helm chart repositories and charts: it reads the index of a repository, finds versions in it, fetches
// charts, and makes packages of them.
//
// An index may be large, so it is never held as objects: it is read entry by entry, and what is kept of it is an [Index], which
// knows where each version is to be had and nothing of what people say about it. [Repositories] holds one Index for all who
// need it, and one download for all who ask at the same time with the same credentials.
//
// It does not know which chart an object wants, where artifacts are stored, or how a chart is rendered. Charts in registries
// are found through package registry; what is inside them is the same.
package charts
