// Package helmchart is the kind HelmChart: it finds a chart in a HelmRepository, GitRepository or Bucket, and stores it as an
// artifact, with the values and the version that the object asks for. Source of the rules: reference §1.4, §2.5 and §4.
//
// Where a chart comes from is an origin: the index of a repository, a registry, or the files of another artifact. What is inside
// charts is package charts' business, and what is signed package verify's.
package helmchart
