package platform

import (
	"context"
	"fmt"
	"io/fs"
	"path"
	"testing/fstest"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/weir-dev/weir/config/crd"
	manifests "github.com/weir-dev/weir/config/distribution"
	operator "github.com/weir-dev/weir/config/operator"
	"github.com/weir-dev/weir/reconcilers/distribution"
	"github.com/weir-dev/weir/test/registry"
)

// Artifact is a distribution to publish.
type Artifact struct {
	// Tag is where, as host:port/repository:tag.
	Tag string

	// Version of the distribution, such as v2.9.6.
	Version string

	// Image that runs everything, with a digest.
	Image string

	// Change optionally makes the manifests of the distribution other ones, by the names of their files.
	Change func(file, content string) string
}

// Publish makes the artifact and pushes it, and returns its reference with the digest. An artifact that was published later says that it
// was made later.
func Publish(ctx context.Context, a Artifact) (string, error) {
	tag, err := name.NewTag(a.Tag)
	if err != nil {
		return "", err
	}

	changed, err := a.manifests()
	if err != nil {
		return "", err
	}

	made, err := distribution.Files(distribution.Sources{
		Manifests: changed, Definitions: crd.FS(), Operator: operator.FS(), Version: a.Version, Image: a.Image,
	})
	if err != nil {
		return "", err
	}

	files := make(map[string]string, len(made))
	for file, content := range made {
		files[file] = string(content)
	}

	img, err := registry.Flux(files, map[string]string{
		"org.opencontainers.image.created": time.Now().UTC().Format(time.RFC3339), "org.opencontainers.image.version": a.Version,
	})
	if err != nil {
		return "", err
	}

	if err := remote.Write(tag, img, remote.WithContext(ctx)); err != nil {
		return "", fmt.Errorf("push %q: %w", a.Tag, err)
	}

	digest, err := img.Digest()
	if err != nil {
		return "", err
	}

	return tag.Context().Name() + "@" + digest.String(), nil
}

func (a Artifact) manifests() (fs.FS, error) {
	if a.Change == nil {
		return manifests.FS(), nil
	}

	changed := fstest.MapFS{}

	err := fs.WalkDir(manifests.FS(), ".", func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}

		content, err := fs.ReadFile(manifests.FS(), file)
		if err == nil && path.Ext(file) == ".yaml" {
			content = []byte(a.Change(file, string(content)))
		}

		changed[file] = &fstest.MapFile{Data: content}

		return err
	})

	return changed, err
}
