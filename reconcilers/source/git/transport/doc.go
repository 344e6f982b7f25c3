// Package transport speaks the Git protocol, version 0, with one repository: over smart HTTP and over SSH, through proxies, with
// credentials that are read from Secrets. It lists references and asks for packs.
//
// It knows nothing of what is in a pack, of who asks for the same thing, and of the kind that it serves.
package transport
