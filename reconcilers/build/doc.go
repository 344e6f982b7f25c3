// Package build turns an unpacked artifact and the build part of a Kustomization into Kubernetes objects: it finds or
// makes up the kustomization file, builds it, substitutes variables and adds the common metadata. It never writes to the
// artifact, and nothing outside the artifact can be read.
//
// Plain directories of YAML, without a kustomization file and without anything to transform, take a path of our own that
// yields what the kustomize library yields, in the same order. Whatever is unusual in them goes to the library.
//
// The library keeps the OpenAPI schema in variables of its package. Once that of Kubernetes is parsed, builds only read them
// and run in parallel; a kustomization that brings a schema (its field openapi) is built while no other is, and the schema is
// parsed again afterwards. So a process should have one [Builder]. The direct path needs no schema, and waits for nobody.
//
// What a build may read is bounded, in files, bytes, values and objects. Large builds run one after another. The library can
// be stopped only where it reads: a build whose context ends is left to itself until then, and keeps its place of those
// that there are. No owner gets more than half of them, so that what one writes does not hold up the others.
//
// A build starts no program. What it names on other servers is refused, or fetched by the [Fetcher] that it is given: resources,
// bases and components, without credentials, bounded in size, number and time. Nothing of that is kept for later builds, and it
// cannot name files of the artifact. Helm charts, functions and plugins that are programs are refused.
//
// With a [Decrypter], files for Secrets and patches are decrypted before a build and objects after it, in memory only: the
// artifact is shared by all who build it, and the sets that are kept are never written to disk.
//
// The package does not talk to a cluster or a server, does not fetch artifacts, and does not read ConfigMaps and Secrets for variables.
package build
