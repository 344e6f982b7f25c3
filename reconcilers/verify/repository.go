package verify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// Bounds of what is read of a registry for one verification. Real manifests of signatures have some kilobytes, as have payloads
// and bundles.
const (
	maxManifest  = 4 << 20
	maxBlob      = 2 << 20
	maxReferrers = 64  // manifests that refer to the image and may hold signatures
	maxLayers    = 128 // signatures of one manifest
	maxPayloads  = 16  // different payloads of the signatures of one manifest
)

// errUnfit means that what a registry holds can be no signature, which no second look changes.
var errUnfit = errors.New("it is no signature")

// repository reads what belongs to one image, within bounds.
type repository struct {
	image  name.Digest
	puller *remote.Puller
}

func openRepository(image name.Digest, o []remote.Option) (*repository, error) {
	p, err := remote.NewPuller(o...)
	if err != nil {
		return nil, fmt.Errorf("open repository %q: %w", image.Context().Name(), err)
	}

	return &repository{image: image, puller: p}, nil
}

// manifest is what matters of the manifests that hold signatures. Those that Notation wrote before OCI 1.1 have blobs.
type manifest struct {
	Layers []v1.Descriptor `json:"layers"`
	Blobs  []v1.Descriptor `json:"blobs"`
}

// manifest reads a manifest. One that is not there is nil.
func (r *repository) manifest(ctx context.Context, ref name.Reference) (*manifest, error) {
	d, err := r.puller.Get(ctx, ref)
	if notFound(err) {
		return nil, nil //nolint:nilnil // nothing is an answer
	}

	if err != nil {
		return nil, fmt.Errorf("get manifest %q: %w", ref.Identifier(), err)
	}

	m, err := readManifest(d.Manifest)
	if err != nil {
		return nil, fmt.Errorf("%w: manifest %q: %w", errUnfit, ref.Identifier(), err)
	}

	return m, nil
}

func readManifest(b []byte) (*manifest, error) {
	if len(b) > maxManifest {
		return nil, fmt.Errorf("more than %d bytes", maxManifest)
	}

	m := &manifest{}
	if err := json.Unmarshal(b, m); err != nil {
		return nil, fmt.Errorf("parse: %w", err)
	}

	return m, nil
}

// blob reads a blob, whose digest is checked.
func (r *repository) blob(ctx context.Context, d v1.Descriptor) ([]byte, error) {
	if d.Size < 0 || d.Size > maxBlob {
		return nil, fmt.Errorf("%w: blob %q has %d bytes, more than %d", errUnfit, d.Digest, d.Size, maxBlob)
	}

	layer, err := r.puller.Layer(ctx, r.image.Context().Digest(d.Digest.String()))
	if err != nil {
		return nil, fmt.Errorf("get blob %q: %w", d.Digest, err)
	}

	rc, err := layer.Compressed()
	if err != nil {
		return nil, fmt.Errorf("get blob %q: %w", d.Digest, err)
	}

	b, err := io.ReadAll(io.LimitReader(rc, d.Size+1))
	if err = errors.Join(err, rc.Close()); err != nil {
		return nil, fmt.Errorf("read blob %q: %w", d.Digest, err)
	}

	if int64(len(b)) != d.Size {
		return nil, fmt.Errorf("%w: blob %q has not the %d bytes that its descriptor says", errUnfit, d.Digest, d.Size)
	}

	return b, nil
}

// referrers lists the manifests that refer to the image and may be of the types, the ones added last first. It finds those of
// registries without the API in the tag that stands in for it.
func (r *repository) referrers(ctx context.Context, keep func(v1.Descriptor) bool) ([]v1.Descriptor, error) {
	index, err := remote.Referrers(r.image, remote.Reuse(r.puller), remote.WithContext(ctx))
	if notFound(err) {
		return nil, nil
	}

	if err != nil {
		return nil, fmt.Errorf("list referrers: %w", err)
	}

	m, err := index.IndexManifest()
	if err != nil {
		return nil, fmt.Errorf("parse referrers: %w", err)
	}

	var found []v1.Descriptor

	for _, d := range slices.Backward(m.Manifests) {
		if keep(d) {
			found = append(found, d)
		}

		if len(found) == maxReferrers {
			break
		}
	}

	return found, nil
}

// resolve returns the descriptor of the image.
func (r *repository) resolve(ctx context.Context) (v1.Descriptor, error) {
	d, err := r.puller.Head(ctx, r.image)
	if err == nil {
		return *d, nil
	}

	got, err := r.puller.Get(ctx, r.image)
	if err != nil {
		return v1.Descriptor{}, fmt.Errorf("get manifest %q: %w", r.image.DigestStr(), err)
	}

	return got.Descriptor, nil
}

func notFound(err error) bool {
	var e *transport.Error

	return errors.As(err, &e) && e.StatusCode == http.StatusNotFound
}
