// Package registry reads OCI registries: it lists tags, finds what a tag points at, and fetches manifests and blobs. It serves
// all who pull something: OCI repositories, charts, images, and those who verify signatures.
//
// Objects that reach a registry in the same way and with the same credentials share one session: its tokens, and what is
// listed, looked up or fetched at the same time. All that comes from a registry is bounded, and checked against its digest.
// Credentials go to the registry that they are for, and to the server that it names for tokens, and nowhere else.
//
// It does not push, and it knows no cloud: who can log in there is an argument.
package registry
