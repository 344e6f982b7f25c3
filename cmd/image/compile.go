package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// compile builds the Go package pkg as a static program for the platform into dir. Neither the directory
// nor the state of the checkout gets into the program.
func compile(ctx context.Context, pkg, version, dir string, platform v1.Platform) (binary, error) {
	out := filepath.Join(dir, "manager-"+platform.OS+"-"+platform.Architecture)
	ldflags := "-s -w -buildid="
	if version != "" {
		ldflags += " -X main.version=" + version
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", ldflags, "-o", out, pkg) //nolint:gosec // the arguments are the caller's own
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+platform.OS, "GOARCH="+platform.Architecture)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		return binary{}, fmt.Errorf("build %q for %s: %w", pkg, platform, err)
	}
	return binary{Platform: platform, Path: out}, nil
}
