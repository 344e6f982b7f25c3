// Package crd holds the custom resource definitions that are generated from the API types.
package crd

import (
	"embed"
	"io/fs"
)

//go:embed bases/*.yaml
var files embed.FS

// FS returns the definitions, one file <group>_<plural>.yaml each, in its root.
func FS() fs.FS {
	bases, err := fs.Sub(files, "bases")
	if err != nil { // the directory is embedded: it is there
		return files
	}
	return bases
}
