// Package artifact keeps what sources make and hands it to those who apply it. A [Store] is the side of the sources: every
// content is stored once, by its digest, and linked into the layout <kind>/<namespace>/<name>/<file> under which it is served
// over HTTP. [Trees] is the side of the consumers: every archive is fetched, checked and unpacked once per process, however
// many consumers want it, and shared read-only. [Mirror] keeps the store of a process that stands by up to date.
//
// It does not know what a source is, which revision is wanted, or what the content means.
package artifact
