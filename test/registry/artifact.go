package registry

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"maps"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Media types of artifacts.
const (
	FluxConfig  types.MediaType = "application/vnd.cncf.flux.config.v1+json"
	FluxContent types.MediaType = "application/vnd.cncf.flux.content.v1.tar+gzip"

	HelmConfig  types.MediaType = "application/vnd.cncf.helm.config.v1+json"
	HelmContent types.MediaType = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
)

// Layer is a blob with its media type.
type Layer struct {
	MediaType types.MediaType
	Content   []byte
}

// Artifact is an OCI artifact in the making.
type Artifact struct {
	// Config is the media type of the configuration. Empty means that of an image.
	Config types.MediaType

	// Docker makes a manifest of Docker, version 2, in place of one of OCI.
	Docker bool

	// Layers in their order.
	Layers []Layer

	// Annotations of the manifest.
	Annotations map[string]string
}

// Image returns the artifact.
func (a Artifact) Image() (v1.Image, error) {
	format := types.OCIManifestSchema1
	if a.Docker {
		format = types.DockerManifestSchema2
	}

	img := mutate.MediaType(empty.Image, format)
	if a.Config != "" {
		img = mutate.ConfigMediaType(img, a.Config)
	}

	for _, l := range a.Layers {
		var err error

		layer := static.NewLayer(l.Content, l.MediaType)
		if img, err = mutate.Append(img, mutate.Addendum{Layer: layer, MediaType: l.MediaType}); err != nil {
			return nil, fmt.Errorf("add layer: %w", err)
		}
	}

	if len(a.Annotations) > 0 {
		img = mutate.Annotations(img, a.Annotations).(v1.Image) //nolint:forcetypeassert // it is what it was
	}

	return img, nil
}

// Flux returns an artifact as `flux push artifact` makes it of files, by their paths. Files whose path ends with "*" can be
// executed, and have no "*" in the artifact.
func Flux(files, annotations map[string]string) (v1.Image, error) {
	content, err := Tarball(files)
	if err != nil {
		return nil, err
	}

	return Artifact{
		Config: FluxConfig, Annotations: annotations, Layers: []Layer{{MediaType: FluxContent, Content: content}},
	}.Image()
}

// Chart returns a packaged chart as `helm push` makes it.
func Chart(pkg []byte, annotations map[string]string) (v1.Image, error) {
	return Artifact{
		Config: HelmConfig, Annotations: annotations, Layers: []Layer{{MediaType: HelmContent, Content: pkg}},
	}.Image()
}

// Tarball returns an archive of the files, compressed with gzip. See Flux about their paths.
func Tarball(files map[string]string) ([]byte, error) {
	var b bytes.Buffer

	zip := gzip.NewWriter(&b)
	out := tar.NewWriter(zip)

	for _, path := range slices.Sorted(maps.Keys(files)) {
		h := &tar.Header{Name: path, Mode: 0o644, Size: int64(len(files[path])), Typeflag: tar.TypeReg}
		if path[len(path)-1] == '*' {
			h.Name, h.Mode = path[:len(path)-1], 0o755
		}

		if err := out.WriteHeader(h); err != nil {
			return nil, fmt.Errorf("archive %q: %w", path, err)
		}

		if _, err := out.Write([]byte(files[path])); err != nil {
			return nil, fmt.Errorf("archive %q: %w", path, err)
		}
	}

	if err := out.Close(); err != nil {
		return nil, fmt.Errorf("end archive: %w", err)
	}

	if err := zip.Close(); err != nil {
		return nil, fmt.Errorf("end compression: %w", err)
	}

	return b.Bytes(), nil
}
