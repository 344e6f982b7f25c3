package main

import (
	"fmt"
	"os"

	"github.com/weir-dev/weir/config/crd"
	leastprivilege "github.com/weir-dev/weir/config/least-privilege"
	operator "github.com/weir-dev/weir/config/operator"
	"github.com/weir-dev/weir/reconcilers/distribution"
)

// writeInstall writes the manifest that installs the operator from the image reference, with cluster-admin or without.
func writeInstall(file, reference string, leastPrivilege bool) error {
	content, err := distribution.Install(operator.FS(), crd.FS(), reference)
	if err != nil {
		return fmt.Errorf("install manifest for %q: %w", reference, err)
	}
	if leastPrivilege {
		if content, err = distribution.Confine(content, leastprivilege.FS()); err != nil {
			return fmt.Errorf("install manifest for %q: %w", reference, err)
		}
	}
	return os.WriteFile(file, content, 0o644) //nolint:gosec // a manifest is no secret
}
