package fleet

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// program is the Go package of the workload.
const program = "github.com/weir-dev/weir/test/fleet/app"

// Push builds the workload, for Linux on the architecture of this machine, and pushes an image for each version to
// <registry>/web. The versions differ only in what they tell. Build output goes to log.
func Push(ctx context.Context, registry string, log io.Writer, versions ...string) error {
	content, err := build(ctx, log)
	if err != nil {
		return err
	}

	for _, version := range versions {
		tag, err := name.NewTag(registry + "/web:" + version)
		if err != nil {
			return err
		}

		img, err := image(content, version)
		if err != nil {
			return fmt.Errorf("make image %q: %w", tag, err)
		}

		if err := remote.Write(tag, img, remote.WithContext(ctx)); err != nil {
			return fmt.Errorf("push image %q: %w", tag, err)
		}
	}

	return nil
}

// build returns the program.
func build(ctx context.Context, log io.Writer) ([]byte, error) {
	dir, err := os.MkdirTemp("", "weir-fleet-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary directory

	out := filepath.Join(dir, "web")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", out, program)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+runtime.GOARCH)
	cmd.Stdout, cmd.Stderr = log, log

	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("build %q: %w", program, err)
	}

	return os.ReadFile(out)
}

// image is the program on an empty base.
func image(content []byte, version string) (v1.Image, error) {
	var buf bytes.Buffer

	w := tar.NewWriter(&buf)
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "web", Mode: 0o755, Size: int64(len(content))}); err != nil {
		return nil, err
	}

	if _, err := w.Write(content); err != nil {
		return nil, err
	}

	if err := w.Close(); err != nil {
		return nil, err
	}

	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(buf.Bytes())), nil
	}, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return nil, err
	}

	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)

	img, err := mutate.AppendLayers(base, layer)
	if err != nil {
		return nil, err
	}

	file, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}

	file = file.DeepCopy()
	file.OS, file.Architecture = "linux", runtime.GOARCH
	file.Config = v1.Config{Entrypoint: []string{"/web"}, User: "65532:65532", Env: []string{"VERSION=" + version}}

	return mutate.ConfigFile(img, file)
}
