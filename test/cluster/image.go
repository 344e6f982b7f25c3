package cluster

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// imageUser is whom the programs of images run as: nobody in particular, and not root.
const imageUser = "65532:65532"

// Image returns an image for this machine's architecture that holds copies of
// the host's files, by their paths in the image, and no more; so programs must
// be static executables. The entrypoint runs as user 65532. Files keep their
// permissions; equal files give equal digests.
func Image(files map[string]string, entrypoint ...string) (v1.Image, error) {
	layer, err := archive(files)
	if err != nil {
		return nil, fmt.Errorf("make image: %w", err)
	}
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	img, err := mutate.Append(base, mutate.Addendum{Layer: static.NewLayer(layer, types.OCIUncompressedLayer)})
	if err != nil {
		return nil, err
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", runtime.GOARCH
	config.Config = v1.Config{Entrypoint: entrypoint, User: imageUser, WorkingDir: "/", Env: []string{"PATH=/"}}
	return mutate.ConfigFile(img, config)
}

// archive is a tar file with the files and the folders above them.
func archive(files map[string]string) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	made := map[string]bool{}
	for _, target := range slices.Sorted(maps.Keys(files)) {
		inside := strings.TrimPrefix(filepath.Clean(target), "/")
		if err := folders(w, inside, made); err != nil {
			return nil, err
		}
		if err := add(w, inside, files[target]); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), w.Close()
}

func folders(w *tar.Writer, file string, made map[string]bool) error {
	for i := range len(file) {
		if dir := file[:i]; file[i] == '/' && !made[dir] {
			made[dir] = true
			if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: 0o755}); err != nil {
				return err
			}
		}
	}
	return nil
}

func add(w *tar.Writer, target, file string) error {
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if err := w.WriteHeader(&tar.Header{Name: target, Mode: int64(info.Mode().Perm()), Size: int64(len(b))}); err != nil {
		return err
	}
	_, err = w.Write(b)
	return err
}

// Push puts an image into the cluster's registry under repository and tag, as in
// "team/app:v1", and returns the reference by which pods name it. The node looks
// for images of all other registries there too, first and by their repository:
// "registry.example/team/app:v1" finds the same image.
func (c *Cluster) Push(ctx context.Context, img v1.Image, tag string) (string, error) {
	ref, err := name.NewTag(c.Registry() + "/" + tag)
	if err != nil {
		return "", err
	}
	if err := remote.Write(ref, img, remote.WithContext(ctx)); err != nil {
		return "", fmt.Errorf("push %q: %w", ref, err)
	}
	return ref.Name(), nil
}

func (c *Cluster) pushTool(ctx context.Context, tag, tool, file string) error {
	img, err := Image(map[string]string{"/" + file: filepath.Join(c.tools[tool], file)}, "/"+file)
	if err != nil {
		return err
	}
	_, err = c.Push(ctx, img, tag)
	return err
}
