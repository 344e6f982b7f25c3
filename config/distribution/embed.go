// Package manifests holds the component manifests of the Flux distribution that this build of Weir
// carries, and the version of the Flux contract they implement.
//
// The files are plain Kubernetes YAML for the namespace flux-system, one file per component plus the
// objects that all components share. They are the input of reconcilers/distribution, which fits them to
// a FluxInstance; they are not meant to be applied as they are. The custom resource definitions are
// generated from the API types and live in config/crd.
package manifests

import (
	"embed"
	"io/fs"
)

//go:embed VERSION *.yaml
var files embed.FS

// FS returns the manifests and the file VERSION, which holds the version of the distribution, such as
// v2.9.5, on one line.
func FS() fs.FS { return files }
