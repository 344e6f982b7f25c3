// Package leastprivilege holds the roles of an operator without cluster-admin. They are written by cmd/rights from what the
// distribution deploys; reconcilers/distribution puts them into the manifest that installs the operator.
package leastprivilege

import (
	"embed"
	"io/fs"
)

//go:embed rights.yaml
var files embed.FS

// FS returns the file rights.yaml, in its root.
func FS() fs.FS { return files }
