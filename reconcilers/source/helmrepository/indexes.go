package helmrepository

import (
	"context"
	"io"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/weir-dev/weir/reconcilers/artifact"
	"github.com/weir-dev/weir/reconcilers/charts"
	"github.com/weir-dev/weir/reconcilers/flight"
)

// maxFacts bounds the indexes of which the normal form is remembered.
const maxFacts = 4096

// indexes brings the indexes that were downloaded into their normal form, each only once.
type indexes struct {
	store        *artifact.Store
	repositories *charts.Repositories

	digests flight.Memo[digest.Digest, digest.Digest] // of the normal forms, by those of the files
	flights flight.Group[*charts.Download, added]     // by what all who wait for one hold
}

// added is content that is held in the store until everybody has linked it.
type added struct {
	digest  digest.Digest
	release func()
}

// storageError says that an index could not be stored: nothing is wrong with the index.
type storageError struct{ err error }

// Error implements error.
func (e *storageError) Error() string { return e.err.Error() }

func newIndexes(d Deps) *indexes {
	return &indexes{
		store: d.Store, repositories: d.Repositories,
		digests: flight.Memo[digest.Digest, digest.Digest]{Size: maxFacts},
		flights: flight.Group[*charts.Download, added]{Now: d.Repositories.Now, Drop: func(a added) { a.release() }},
	}
}

// known returns the digest of a normal form that was made before. It may be in the store no more. Who holds the file may have
// its normal form, whoever made that.
func (x *indexes) known(d *charts.Download) (digest.Digest, bool) { return x.digests.Get(d.Digest) }

// add brings an index into its normal form, unless somebody else is at it, and returns its digest. It is in the store until
// release is called, and longer if it is linked before.
func (x *indexes) add(ctx context.Context, d *charts.Download) (digest.Digest, func(), error) {
	got, release, err := x.flights.Join(ctx, d, time.Time{}, func(ctx context.Context) (added, error) {
		n, err := x.repositories.Normalize(ctx, d)
		if err != nil {
			return added{}, err
		}
		defer n.Close()

		content, release, err := x.store.Add(ctx, func(w io.Writer) error { return n.WriteJSON(w) })
		if err != nil {
			return added{}, &storageError{err}
		}

		return added{digest: content, release: release}, nil
	})
	if err != nil {
		return "", nil, err
	}

	x.digests.Put(d.Digest, got.digest)

	return got.digest, release, nil
}
