package release

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/reconcilers/distribution"
	"github.com/weir-dev/weir/reconcilers/ingest"
	"github.com/weir-dev/weir/reconcilers/registry"
	"github.com/weir-dev/weir/reconcilers/secrets"
)

// Limits of an artifact. The largest one that is known has a tenth of it.
const (
	maxLayer    = 64 << 20  // bytes
	maxUnpacked = 256 << 20 // bytes
	maxFile     = 16 << 20  // bytes
	maxKept     = 64 << 20  // bytes
	maxFiles    = 10_000
)

// createdAnnotation of a manifest says when it was made.
const createdAnnotation = "org.opencontainers.image.created"

// found is something in a registry.
type found struct {
	repository *registry.Repository
	digest     v1.Hash
}

// String returns the reference.
func (f found) String() string { return f.repository.Name().Name() + "@" + f.digest.String() }

// access is how the instance reaches registries, with one of its pull secrets.
func (r *Releases) access(ctx context.Context, obj *fluxv1.FluxInstance, pullSecret string) (registry.Access, error) {
	d := obj.Spec.Distribution
	a := registry.Access{
		Insecure: d.Insecure, Provider: d.Provider, ServiceAccount: d.ServiceAccountName,
		Kind: fluxv1.FluxInstanceKind, Namespace: obj.Namespace, Name: obj.Name,
	}
	var err error
	if pullSecret != "" {
		if a.Secret, err = secrets.Get(ctx, r.options.Secrets, obj.Namespace, pullSecret); err != nil {
			return a, err
		}
	}
	if d.CertSecret != "" {
		secret, err := secrets.Get(ctx, r.options.Secrets, obj.Namespace, d.CertSecret)
		if err != nil {
			return a, err
		}
		if a.TLS, err = secrets.ReadTLS(secret, false); err != nil {
			return a, fmt.Errorf("spec.distribution.certSecret: %w", err)
		}
	}
	if d.ProxySecret != "" {
		secret, err := secrets.Get(ctx, r.options.Secrets, obj.Namespace, d.ProxySecret)
		if err != nil {
			return a, err
		}
		if a.Proxy, err = secrets.Proxy(secret); err != nil {
			return a, fmt.Errorf("spec.distribution.proxySecret: %w", err)
		}
	}
	return a, nil
}

// find asks the mirrors, and the registry of the artifact itself, what the reference points at. The first answer counts:
// another one would be chosen by whoever can keep the first from answering, and verification is there for both.
func (r *Releases) find(ctx context.Context, obj *fluxv1.FluxInstance, ref name.Reference, a registry.Access) (found, error) {
	repositories := make([]string, 0, len(obj.Spec.Distribution.Mirrors)+1)
	for _, mirror := range obj.Spec.Distribution.Mirrors {
		repositories = append(repositories, strings.TrimRight(mirror, "/")+"/"+ref.Context().RepositoryStr())
	}
	repositories = append(repositories, ref.Context().Name())
	var errs []error
	for _, repository := range repositories {
		f, err := r.resolve(ctx, repository, ref.Identifier(), a)
		if err == nil {
			return f, nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", repository, err))
		if ctx.Err() != nil {
			break
		}
	}
	return found{}, errors.Join(errs...)
}

// resolve asks a repository what a tag points at. A digest has to be there.
func (r *Releases) resolve(ctx context.Context, repository, reference string, a registry.Access) (found, error) {
	f := found{}
	err := r.bounded(ctx, func(ctx context.Context) (err error) {
		if f.repository, err = r.options.Registries.Open(ctx, repository, a); err != nil {
			return err
		}
		d, err := f.repository.Pull(ctx, reference, r.options.Now().Add(-r.options.Registries.Moment()))
		f.digest = d.Digest
		return err
	})
	return f, err
}

// content is what an artifact holds.
type content struct {
	releases *distribution.Releases
	created  time.Time // zero if it does not say
}

// content reads the artifact, once for each digest.
func (r *Releases) content(ctx context.Context, f found) (*content, error) {
	r.mu.Lock()
	c, ok := r.contents.Get(f.digest.String())
	r.mu.Unlock()
	if ok {
		return c, nil
	}
	err := r.bounded(ctx, func(ctx context.Context) (err error) {
		c, err = read(ctx, f)
		return err
	})
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.contents.Put(f.digest.String(), c)
	return c, nil
}

func read(ctx context.Context, f found) (*content, error) {
	m, err := f.repository.Manifest(ctx, f.digest)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f, err)
	}
	if len(m.Layers) == 0 {
		return nil, &InvalidError{Err: fmt.Errorf("artifact %s has no layer", f)}
	}
	layer := m.Layers[0]
	if layer.Size > maxLayer {
		return nil, &InvalidError{Err: fmt.Errorf("artifact %s has %d bytes, more than %d", f, layer.Size, maxLayer)}
	}
	files, err := unpack(ctx, f.repository, layer)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f, err)
	}
	releases, err := distribution.ReadReleases(files)
	if err != nil {
		return nil, &InvalidError{Err: err}
	}
	c := &content{releases: releases}
	if created := m.Annotations[createdAnnotation]; created != "" {
		if c.created, err = time.Parse(time.RFC3339, created); err != nil {
			return nil, &InvalidError{Err: fmt.Errorf("artifact %s: annotation %s is no time", f, createdAnnotation)}
		}
	}
	return c, nil
}

// unpack returns the manifests of a layer. Artifacts hold other things too, which are left out.
func unpack(ctx context.Context, repository *registry.Repository, layer v1.Descriptor) (map[string][]byte, error) {
	blob, err := repository.Blob(ctx, layer)
	if err != nil {
		return nil, err
	}
	defer func() { _ = blob.Close() }() // it was read, or it failed
	files, kept := map[string][]byte{}, 0
	limits := ingest.Limits{Bytes: maxUnpacked, FileBytes: maxFile, Entries: maxFiles}
	_, err = ingest.ReadTar(ctx, blob, limits, func(f ingest.TarFile, content io.Reader) error {
		if path.Ext(f.Name) != ".yaml" || !wanted(f.Name) {
			return nil
		}
		file, err := io.ReadAll(content)
		if kept += len(file); kept > maxKept {
			return fmt.Errorf("its manifests have more than %d bytes", maxKept)
		}
		files[f.Name] = file
		return err
	})
	if err != nil {
		return nil, err
	}
	if _, err := io.Copy(io.Discard, blob); err != nil { // only its end tells whether it is what its digest says
		return nil, err
	}
	return files, nil
}

// wanted tells whether a file of an artifact is used. Those of upstream's own operator, which lie in no folder of a version, are not.
func wanted(file string) bool {
	parts := strings.Split(file, "/")
	return len(parts) == 3 && slices.Contains([]string{"flux", "flux-images", "flux-operator"}, parts[0])
}
