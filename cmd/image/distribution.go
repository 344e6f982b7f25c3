package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/weir-dev/weir/config/crd"
	manifests "github.com/weir-dev/weir/config/distribution"
	operator "github.com/weir-dev/weir/config/operator"
	"github.com/weir-dev/weir/reconcilers/distribution"
	"github.com/weir-dev/weir/reconcilers/ingest"
)

// Media types of an artifact as `flux push artifact` makes it, which is what fetches them expects.
const (
	artifactConfig  types.MediaType = "application/vnd.cncf.flux.config.v1+json"
	artifactContent types.MediaType = "application/vnd.cncf.flux.content.v1.tar+gzip"
)

// Limits of the artifact that versions are taken over from. They are those of the operator that reads it.
const (
	maxUnpacked = 256 << 20 // bytes
	maxFile     = 16 << 20  // bytes
	maxFiles    = 10_000
)

// publish writes the artifact of the distribution that runs the image, and returns its reference with the digest.
func (o options) publish(ctx context.Context, image string) (string, error) {
	tag, err := name.NewTag(strings.TrimPrefix(o.distribution, "oci://"))
	if err != nil {
		return "", fmt.Errorf("--distribution: %w", err)
	}
	files := map[string][]byte{}
	if o.extend != "" {
		if files, err = previous(ctx, strings.TrimPrefix(o.extend, "oci://")); err != nil {
			return "", fmt.Errorf("versions of %q: %w", o.extend, err)
		}
	}
	made, err := distribution.Files(distribution.Sources{
		Manifests: manifests.FS(), Definitions: crd.FS(), Operator: operator.FS(), Version: o.fluxVersion, Image: image,
	})
	if err != nil {
		return "", err
	}
	maps.Copy(files, made)
	releases, err := distribution.ReadReleases(files)
	if err != nil {
		return "", err
	}
	img, err := artifact(files, o.annotations(releases.Newest()))
	if err != nil {
		return "", err
	}
	if err := o.writeArtifact(ctx, tag, img); err != nil {
		return "", err
	}
	digest, err := img.Digest()
	if err != nil {
		return "", err
	}
	return "oci://" + tag.Context().Name() + ":" + tag.TagStr() + "@" + digest.String(), nil
}

func (o options) annotations(newest string) map[string]string {
	annotations := map[string]string{
		"org.opencontainers.image.title":    "weir-distribution",
		"org.opencontainers.image.source":   "https://github.com/weir-dev/weir",
		"org.opencontainers.image.licenses": "Apache-2.0",
		"org.opencontainers.image.version":  newest,
		"org.opencontainers.image.created":  o.created.UTC().Format(time.RFC3339),
	}
	if o.revision != "" {
		annotations["org.opencontainers.image.revision"] = o.revision
	}
	return annotations
}

// artifact packs the files. Its digest depends on them and on the annotations only.
func artifact(files map[string][]byte, annotations map[string]string) (v1.Image, error) {
	var content bytes.Buffer
	zip := gzip.NewWriter(&content)
	w := tar.NewWriter(zip)
	for _, file := range slices.Sorted(maps.Keys(files)) {
		header := &tar.Header{
			Name: file, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(files[file])), ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR,
		}
		if err := w.WriteHeader(header); err != nil {
			return nil, err
		}
		if _, err := w.Write(files[file]); err != nil {
			return nil, err
		}
	}
	if err := errors.Join(w.Close(), zip.Close()); err != nil {
		return nil, err
	}
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), artifactConfig)
	img, err := mutate.Append(img, mutate.Addendum{
		Layer: static.NewLayer(content.Bytes(), artifactContent), MediaType: artifactContent,
	})
	if err != nil {
		return nil, err
	}
	annotated, ok := mutate.Annotations(img, annotations).(v1.Image)
	if !ok {
		return nil, errors.New("annotate artifact: it is no image any more")
	}
	return annotated, nil
}

// previous returns the manifests of an artifact that was published before.
func previous(ctx context.Context, reference string) (map[string][]byte, error) {
	ref, err := name.ParseReference(reference)
	if err != nil {
		return nil, err
	}
	img, err := remote.Image(ref, remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain))
	if err != nil {
		return nil, err
	}
	layers, err := img.Layers()
	if err != nil {
		return nil, err
	}
	if len(layers) == 0 {
		return nil, errors.New("it has no layer")
	}
	blob, err := layers[0].Compressed()
	if err != nil {
		return nil, err
	}
	defer func() { _ = blob.Close() }() // it was read, or it failed
	files := map[string][]byte{}
	limits := ingest.Limits{Bytes: maxUnpacked, FileBytes: maxFile, Entries: maxFiles}
	_, err = ingest.ReadTar(ctx, blob, limits, func(f ingest.TarFile, content io.Reader) error {
		folder, _, _ := strings.Cut(f.Name, "/")
		if path.Ext(f.Name) != ".yaml" || !slices.Contains([]string{"flux", "flux-images", "flux-operator"}, folder) {
			return nil
		}
		file, err := io.ReadAll(content)
		files[f.Name] = file
		return err
	})
	return files, err
}

// writeArtifact puts the artifact wherever the command line wants it.
func (o options) writeArtifact(ctx context.Context, tag name.Tag, img v1.Image) error {
	if o.distributionLayout != "" {
		to, err := layout.Write(o.distributionLayout, empty.Index)
		if err == nil {
			err = to.AppendImage(img, layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": tag.TagStr()}))
		}
		if err != nil {
			return fmt.Errorf("layout %q: %w", o.distributionLayout, err)
		}
	}
	if !o.push {
		return nil
	}
	if err := remote.Write(tag, img, remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain)); err != nil {
		return fmt.Errorf("push %q: %w", tag, err)
	}
	return nil
}
