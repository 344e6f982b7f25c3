// Package operator holds the manifests that install the operator: its namespace, its account, its rights,
// its Deployment and how many of its pods may be away. The custom resource definitions that go with them are generated and live in
// config/crd; reconcilers/distribution renders all of it for an image.
package operator

import (
	"embed"
	"io/fs"
)

//go:embed namespace.yaml rbac.yaml deployment.yaml disruption.yaml
var files embed.FS

// FS returns the manifests, in its root.
func FS() fs.FS { return files }
