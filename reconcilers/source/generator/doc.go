// Package generator reconciles ArtifactGenerators: it makes artifacts out of parts of other artifacts, and publishes them as
// ExternalArtifacts. An artifact changes only when what is in it does, so that those who apply the parts of a monorepo apply
// what was changed, and nothing else. Source of the rules: reference §2.9.
//
// What an artifact holds is planned first, as a list of paths and the files they come from, and then streamed into the archive:
// only what is merged or extracted is ever written to disk. Sources are read where [artifact.Trees] has unpacked them; nothing
// outside of them is read, and symbolic links are not followed.
//
// It does not fetch from upstream, and does not apply what it makes.
package generator
