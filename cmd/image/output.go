package main

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// push uploads the index under the tag. Registries on this machine are spoken to over plain HTTP.
func push(ctx context.Context, tag name.Tag, idx v1.ImageIndex) error {
	if err := remote.WriteIndex(tag, idx, remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain)); err != nil {
		return fmt.Errorf("push %q: %w", tag, err)
	}
	return nil
}

// writeLayout writes the index as an OCI image layout into dir, which must not exist or be empty.
func writeLayout(dir string, tag name.Tag, idx v1.ImageIndex) error {
	path, err := layout.Write(dir, empty.Index)
	if err != nil {
		return fmt.Errorf("layout %q: %w", dir, err)
	}
	if err := path.AppendIndex(idx, layout.WithAnnotations(map[string]string{
		"io.containerd.image.name":          tag.Name(),
		"org.opencontainers.image.ref.name": tag.TagStr(),
	})); err != nil {
		return fmt.Errorf("layout %q: %w", dir, err)
	}
	return nil
}

// writeTarball writes the index as a tar file of an OCI image layout, as `ctr images import` and
// `podman load` read it.
func writeTarball(file string, tag name.Tag, idx v1.ImageIndex) (err error) {
	dir, err := os.MkdirTemp("", "weir-layout-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := writeLayout(dir, tag, idx); err != nil {
		return err
	}
	f, err := os.Create(file) //nolint:gosec // the path is the caller's own
	if err != nil {
		return err
	}
	w := tar.NewWriter(f)
	if err := addTree(w, dir); err != nil {
		_ = f.Close()
		return fmt.Errorf("tarball %q: %w", file, err)
	}
	if err := w.Close(); err != nil {
		_ = f.Close()
		return fmt.Errorf("tarball %q: %w", file, err)
	}
	return f.Close()
}

// addTree adds the regular files under dir in lexical order.
func addTree(w *tar.Writer, dir string) error {
	root := os.DirFS(dir)
	return fs.WalkDir(root, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		f, err := root.Open(path)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		info, err := f.Stat()
		if err != nil {
			return err
		}
		if err := w.WriteHeader(&tar.Header{
			Typeflag: tar.TypeReg, Name: filepath.ToSlash(path), Size: info.Size(), Mode: 0o644,
			ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR,
		}); err != nil {
			return err
		}
		_, err = io.Copy(w, f)
		return err
	})
}
