package tool

import (
	"os"
	"path/filepath"
)

// Cosign signs images.
func Cosign() Tool {
	return Tool{
		Name: "cosign", Folder: "signing", Version: "v2.6.5", Package: "github.com/sigstore/cosign/v2/cmd/cosign",
		Takes: "two or three minutes",
	}
}

// SOPS encrypts files.
func SOPS() Tool {
	return Tool{
		Name: "sops", Folder: "sops", Version: "v3.13.3", Package: "github.com/getsops/sops/v3/cmd/sops", Takes: "a few minutes",
	}
}

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

// Helm is the command line program that people use with charts, of the version that the manager works with.
func Helm() Tool {
	return Tool{
		Name: "helm", Folder: "helm", Version: "v3.22.0", Package: "helm.sh/helm/v3/cmd/helm",
		Flags: "-X helm.sh/helm/v3/internal/version.version=v3.22.0", Takes: "two or three minutes",
	}
}

// Helm4 is its next major version, which some people have: it reads and writes the same releases.
func Helm4() Tool {
	return Tool{
		Name: "helm", Folder: "helm", Version: "v4.3.1", Package: "helm.sh/helm/v4/cmd/helm",
		Flags: "-X helm.sh/helm/v4/internal/version.version=v4.3.1", Takes: "two or three minutes",
	}
}
