package oci

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/opencontainers/go-digest"

	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/artifact"
	"github.com/weir-dev/weir/reconcilers/flight"
	"github.com/weir-dev/weir/reconcilers/ingest"
	"github.com/weir-dev/weir/reconcilers/registry"
	"github.com/weir-dev/weir/reconcilers/source"
)

// content is content in the store.
type content struct{ digest digest.Digest }

// wanted is a layer, and what is made of it.
type wanted struct {
	layer  v1.Descriptor
	copied bool    // byte for byte
	ignore *string // rules of the object
}

func wantedOf(obj *sourcev1.OCIRepository, layer v1.Descriptor) wanted {
	w := wanted{layer: layer, copied: obj.GetLayerOperation() == sourcev1.OCILayerCopy}
	if !w.copied {
		w.ignore = obj.Spec.Ignore
	}

	return w
}

// contents makes content of layers, each only once.
type contents struct {
	store  *artifact.Store
	limits ingest.Limits
	dir    string

	digests flight.Memo[flight.Fingerprint, digest.Digest]
	flights flight.Group[flight.Fingerprint, added]
}

// added is content that is held in the store until everybody has linked it.
type added struct {
	digest  digest.Digest
	release func()
}

// maxDigests bounds what is remembered of layers.
const maxDigests = 4096

// defaultLayerBytes bounds a layer as the limits of its files do.
const defaultLayerBytes = 1 << 30

func newContents(d Deps) *contents {
	return &contents{
		store: d.Store, limits: d.Limits, dir: d.Dir,
		digests: flight.Memo[flight.Fingerprint, digest.Digest]{Size: maxDigests},
		flights: flight.Group[flight.Fingerprint, added]{Now: d.Now, Drop: func(a added) { a.release() }},
	}
}

// keyOf is made of what decides the content, and of who may have it: to name the digest of a layer is no proof that somebody
// may read it.
func keyOf(repo *registry.Repository, w wanted) flight.Fingerprint {
	repoKey := repo.Key()
	ignore := ""

	if w.ignore != nil {
		ignore = *w.ignore
	}

	return flight.FingerprintOf(string(repoKey[:]), w.layer.Digest.String(), strconv.FormatInt(w.layer.Size, 10),
		strconv.FormatBool(w.copied), strconv.FormatBool(w.ignore != nil), ignore)
}

// known returns the digest of content that was made before. It may be in the store no more.
func (c *contents) known(repo *registry.Repository, w wanted) (digest.Digest, bool) {
	return c.digests.Get(keyOf(repo, w))
}

// add makes the content, unless somebody else is at it. It stays in the store until release is called, and longer if it is
// linked before.
func (c *contents) add(ctx context.Context, repo *registry.Repository, w wanted) (digest.Digest, func(), error) {
	if limit := cmp.Or(c.limits.Bytes, defaultLayerBytes); w.layer.Size > limit {
		return "", nil, fmt.Errorf("%w: it has %d bytes, and %d are allowed", errLayer, w.layer.Size, limit)
	}

	key := keyOf(repo, w)

	got, release, err := c.flights.Join(ctx, key, time.Time{}, func(ctx context.Context) (added, error) {
		d, release, err := c.make(ctx, repo, w)

		return added{digest: d, release: release}, err
	})
	if err != nil {
		return "", nil, err //nolint:wrapcheck // the step does
	}

	c.digests.Put(key, got.digest)

	return got.digest, release, nil
}

// Errors that say what went wrong beside the download.
var (
	errLayer   = errors.New("failed to extract layer contents from artifact")
	errArchive = errors.New("unable to archive artifact to storage")
)

func (c *contents) make(ctx context.Context, repo *registry.Repository, w wanted) (digest.Digest, func(), error) {
	blob, err := repo.Blob(ctx, w.layer)
	if err != nil {
		return "", nil, err //nolint:wrapcheck // the step does
	}
	defer blob.Close() //nolint:errcheck // it was only read

	if !w.copied {
		return c.extract(ctx, blob, w)
	}

	d, release, err := c.store.Add(ctx, artifact.File(blob))
	if err != nil {
		return "", nil, err //nolint:wrapcheck // the step does
	}

	return d, release, nil
}

// extract unpacks the layer, and packs again what the ignore rules leave of it. Nothing of it is used before all of the layer
// is here and is the one of its digest.
func (c *contents) extract(ctx context.Context, blob io.Reader, w wanted) (digest.Digest, func(), error) {
	dir, err := os.MkdirTemp(c.dir, "oci-*")
	if err != nil {
		return "", nil, fmt.Errorf("%w: make directory: %w", errArchive, err)
	}
	defer os.RemoveAll(dir) //nolint:errcheck // there is nothing that could be done

	if _, err := ingest.Untar(ctx, blob, dir, c.limits); err != nil {
		return "", nil, fmt.Errorf("%w: %w", errLayer, err)
	}

	if _, err := io.Copy(io.Discard, blob); err != nil {
		return "", nil, err //nolint:wrapcheck // the step does
	}

	book, err := source.ReadRules(ctx, dir, w.ignore)
	if err != nil {
		return "", nil, fmt.Errorf("%w: %w", errArchive, err)
	}

	d, release, err := c.store.Add(ctx, source.Archive(ctx, c.store, dir, book.Tree()))
	if err != nil {
		return "", nil, fmt.Errorf("%w: %w", errArchive, err)
	}

	return d, release, nil
}
