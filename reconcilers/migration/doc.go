// Package migration brings what a cluster has stored of custom resources to the storage version of their definitions, so
// that older versions can leave these.
//
// An API server converts stored objects when they are read, and writes them in the storage version only when something
// writes them. Until all of them were written, status.storedVersions of the definition lists the old version, and the API
// server refuses a definition without it. Fields that are managed in an old version are the other half: when the version is
// gone, the API server cannot compare them. It then refuses server-side apply of the object, by anybody ("request to convert CR
// to an invalid group/version"), and no longer notes who changes what.
//
// The package decides what a change of a definition asks for (Compare, a pure function) and does it (Migration). It keeps
// nothing beyond its process: an object that was brought over before costs one request that changes nothing, which is how the
// migration of an operator that was killed goes on. It does not change definitions but for status.storedVersions.
package migration
