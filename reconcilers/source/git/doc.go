// Package git reconciles a GitRepository: it finds the revision that the object asks for, and stores the files of that commit
// as an artifact.
//
// An interval in which nothing happened costs one listing of the references, whatever the number of objects with the same
// repository. When there is something new, one shallow clone serves all who ask for it, and one archive all who want the same
// files of it. Nothing is checked out: files go from the pack into the archive, through package ingest.
//
// Symbolic links are not part of artifacts: those that stay inside the repository are passed over, one that leads out of it is
// an error, unless it is left out by the ignore rules.
//
// With spec.verify, nothing is archived before the commit, the tag or both are verified, over the bytes that the server sent. The
// commit alone is fetched for that, where the server can leave out its files. Submodules are fetched with the credentials of
// their repository from its own server alone.
//
// Package transport speaks with servers, and package github gets tokens for it.
package git
