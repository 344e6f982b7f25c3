package fleet

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/weir-dev/weir/test/cluster"
)

// program is the Go package of the workload.
const program = "github.com/weir-dev/weir/test/fleet/app"

// Push builds the workload, for Linux on the architecture of this machine, and pushes an image for each version to
// <registry>/web. The versions differ only in what they tell. Build output goes to log.
func Push(ctx context.Context, registry string, log io.Writer, versions ...string) error {
	dir, err := os.MkdirTemp("", "weir-fleet-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary directory

	web := filepath.Join(dir, "web")
	if err := build(ctx, web, log); err != nil {
		return err
	}

	for _, version := range versions {
		if err := push(ctx, web, registry+"/web:"+version, version); err != nil {
			return fmt.Errorf("push version %q of the workload: %w", version, err)
		}
	}

	return nil
}

func build(ctx context.Context, out string, log io.Writer) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", out, program)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+runtime.GOARCH)
	cmd.Stdout, cmd.Stderr = log, log

	if err := cmd.Run(); err != nil {
		return fmt.Errorf("build %q: %w", program, err)
	}

	return nil
}

func push(ctx context.Context, web, reference, version string) error {
	tag, err := name.NewTag(reference)
	if err != nil {
		return err
	}

	img, err := cluster.Image(map[string]string{"/web": web}, "/web")
	if err != nil {
		return err
	}

	file, err := img.ConfigFile()
	if err != nil {
		return err
	}

	config := file.Config
	config.Env = append(config.Env, "VERSION="+version)

	if img, err = mutate.Config(img, config); err != nil {
		return err
	}

	return remote.Write(tag, img, remote.WithContext(ctx))
}
