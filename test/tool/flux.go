package tool

import (
	"os"
	"path/filepath"
)

// Flux is the command line program that people use with Flux. The manifests that it installs are no part of its module: this
// one installs nothing.
func Flux() Tool {
	return Tool{
		Name: "flux", Folder: "flux", Version: "v2.9.5", Module: "github.com/fluxcd/flux2/v2", Package: "./cmd/flux",
		Flags: "-X main.VERSION=2.9.5", Takes: "about three minutes",
		Prepare: func(dir string) error {
			dir = filepath.Join(dir, "cmd", "flux", "manifests")
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return err
			}

			return os.WriteFile(filepath.Join(dir, "none.yaml"), []byte("{}\n"), 0o600)
		},
	}
}
