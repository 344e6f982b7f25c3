package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

const (
	entrypoint = "/manager"
	uid        = 65532 // the nonroot user of the distroless images, which policies know
)

// A binary is the program for one platform.
type binary struct {
	Platform v1.Platform
	Path     string
}

// metadata is what the image says about itself, beside the program.
type metadata struct {
	Version  string
	Revision string
}

func (m metadata) labels() map[string]string {
	labels := map[string]string{
		"org.opencontainers.image.title":    "weir",
		"org.opencontainers.image.source":   "https://github.com/weir-dev/weir",
		"org.opencontainers.image.licenses": "Apache-2.0",
	}
	if m.Version != "" {
		labels["org.opencontainers.image.version"] = m.Version
	}
	if m.Revision != "" {
		labels["org.opencontainers.image.revision"] = m.Revision
	}
	return labels
}

// index makes the multi-platform image. The same binaries and metadata give the same digest: no clock,
// no user and no path of the machine that builds gets into it.
func index(binaries []binary, about metadata) (v1.ImageIndex, error) {
	var addenda []mutate.IndexAddendum
	for _, b := range binaries {
		img, err := image(b, about)
		if err != nil {
			return nil, fmt.Errorf("image for %s: %w", b.Platform, err)
		}
		platform := b.Platform
		addenda = append(addenda, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &platform}})
	}
	idx := mutate.IndexMediaType(mutate.AppendManifests(empty.Index, addenda...), types.OCIImageIndex)
	annotated, ok := mutate.Annotations(idx, about.labels()).(v1.ImageIndex)
	if !ok {
		return nil, errors.New("annotate image index: it is no index any more")
	}
	return annotated, nil
}

// image is one platform's image: the program on an empty base.
func image(b binary, about metadata) (v1.Image, error) {
	program, err := os.ReadFile(b.Path)
	if err != nil {
		return nil, err
	}
	fs, err := layer(program)
	if err != nil {
		return nil, err
	}
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	img, err = mutate.Append(img, mutate.Addendum{Layer: fs, History: v1.History{
		Created: v1.Time{Time: time.Unix(0, 0).UTC()}, CreatedBy: "cmd/image",
	}})
	if err != nil {
		return nil, err
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.Created = v1.Time{Time: time.Unix(0, 0).UTC()}
	config.OS, config.Architecture, config.Variant = b.Platform.OS, b.Platform.Architecture, b.Platform.Variant
	config.Config = v1.Config{
		Entrypoint: []string{entrypoint},
		User:       fmt.Sprintf("%d:%d", uid, uid),
		WorkingDir: "/",
		Env:        []string{"HOME=/tmp"},
		Labels:     about.labels(),
	}
	return mutate.ConfigFile(img, config)
}

// layer holds the program and the few files that a process expects of a Linux system: a writable /tmp, a
// /data for artifacts and a name for its user.
func layer(program []byte) (v1.Layer, error) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, entry := range []struct {
		header tar.Header
		body   []byte
	}{
		{tar.Header{Name: "data/", Typeflag: tar.TypeDir, Mode: 0o755, Uid: uid, Gid: uid}, nil},
		{tar.Header{Name: "etc/", Typeflag: tar.TypeDir, Mode: 0o755}, nil},
		{tar.Header{Name: "etc/group", Mode: 0o644}, fmt.Appendf(nil, "root:x:0:\nweir:x:%d:\n", uid)},
		{tar.Header{Name: "etc/passwd", Mode: 0o644},
			fmt.Appendf(nil, "root:x:0:0:root:/root:/sbin/nologin\nweir:x:%d:%d:weir:/tmp:/sbin/nologin\n", uid, uid)},
		{tar.Header{Name: strings.TrimPrefix(entrypoint, "/"), Mode: 0o755}, program},
		{tar.Header{Name: "tmp/", Typeflag: tar.TypeDir, Mode: 0o1777}, nil},
	} {
		header := entry.header
		header.Size = int64(len(entry.body))
		header.ModTime = time.Unix(0, 0)
		header.Format = tar.FormatUSTAR
		if header.Typeflag == 0 {
			header.Typeflag = tar.TypeReg
		}
		if err := w.WriteHeader(&header); err != nil {
			return nil, err
		}
		if _, err := w.Write(entry.body); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	content := buf.Bytes()
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(content)), nil
	}, tarball.WithMediaType(types.OCILayer), tarball.WithCompressedCaching)
}
