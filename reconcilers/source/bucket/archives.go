package bucket

import (
	"bytes"
	"context"
	"os"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/weir-dev/weir/reconcilers/artifact"
	"github.com/weir-dev/weir/reconcilers/flight"
)

const (
	// maxArchives is how many archives are remembered.
	maxArchives = 4096

	// maxMembers bounds what is remembered of the files in them, in bytes. A bucket with 10 000 objects takes 160 KiB.
	maxMembers = 64 << 20
)

// archiveKey is what decides the content of an archive, and who may have it: an etag is no proof of having seen the object.
type archiveKey struct {
	bucket   flight.Fingerprint
	revision digest.Digest
}

// seriesKey is archives that follow each other.
type seriesKey struct {
	listKey

	ignore flight.Fingerprint
}

// archive is one that is, or was, in the store.
type archive struct {
	digest   digest.Digest
	revision digest.Digest // of what was found while it was made
	files    int
}

// past is the last archive of a series.
type past struct {
	digest  digest.Digest
	members members
}

// members are the objects of an archive: the beginnings of the hashes of their keys and etags, in order.
type members [][memberSize]byte

const memberSize = 16

func member(o object) [memberSize]byte {
	sum := flight.FingerprintOf(o.key, o.etag)

	return [memberSize]byte(sum[:memberSize])
}

func membersOf(objects []object) members {
	m := make(members, 0, len(objects))
	for _, o := range objects {
		m = append(m, member(o))
	}

	slices.SortFunc(m, compare)

	return m
}

func (m members) has(o object) bool {
	_, ok := slices.BinarySearchFunc(m, member(o), compare)

	return ok
}

func compare(a, b [memberSize]byte) int { return bytes.Compare(a[:], b[:]) }

// archives makes archives of objects, each only once.
type archives struct {
	store  *artifact.Store
	known  flight.Memo[archiveKey, archive]
	pasts  flight.Memo[seriesKey, past]
	flight flight.Group[archiveKey, made]
}

// made is an archive that is held in the store until everybody has linked it.
type made struct {
	archive

	release func()
}

func newArchives(store *artifact.Store, now func() time.Time) *archives {
	return &archives{
		store: store,
		known: flight.Memo[archiveKey, archive]{Size: maxArchives},
		pasts: flight.Memo[seriesKey, past]{
			Size: maxArchives, Room: maxMembers, Weigh: func(p past) int64 { return int64(len(p.members)) * memberSize },
		},
		flight: flight.Group[archiveKey, made]{Now: now, Drop: func(m made) { m.release() }},
	}
}

// add returns the archive of the objects, made if nobody makes it already. It stays in the store until release.
func (a *archives) add(ctx context.Context, b *bucket, series seriesKey, objects []object) (archive, func(), error) {
	key := archiveKey{bucket: b.key, revision: revision(objects)}

	m, release, err := a.flight.Join(ctx, key, time.Time{}, func(ctx context.Context) (made, error) {
		m, err := a.make(ctx, b, series, objects)
		if err == nil && m.revision == key.revision {
			a.known.Put(key, m.archive)
		}

		return m, err
	})

	return m.archive, release, err
}

// storeError says that objects are here and their archive could not be made.
type storeError struct{ err error }

// Error implements error.
func (e *storeError) Error() string { return e.err.Error() }

// Unwrap returns the cause.
func (e *storeError) Unwrap() error { return e.err }

// make fetches the objects that are not in the archive before, and makes an archive of all.
func (a *archives) make(ctx context.Context, b *bucket, series seriesKey, objects []object) (made, error) {
	files, err := layout(objects, b.buckets.options.Limits)
	if err != nil {
		return made{}, err
	}

	f := newFetch(b)
	defer f.close()

	last, _ := a.pasts.Get(series)
	if err := f.all(ctx, files, a.reuse(last)); err != nil {
		return made{}, err
	}

	content, err := f.archive(a.store)
	if err != nil {
		return made{}, err
	}

	d, release, err := a.store.Add(ctx, content)
	if err != nil {
		return made{}, &storeError{err}
	}

	objects = f.found(objects)
	a.pasts.Put(series, past{digest: d, members: membersOf(objects)})

	return made{archive: archive{digest: d, revision: revision(objects), files: len(objects)}, release: release}, nil
}

// reuse returns how to take files from an earlier archive, or nil.
func (a *archives) reuse(p past) *earlier {
	if p.digest == "" {
		return nil
	}

	return &earlier{past: p, open: func() (*os.File, error) { return a.store.Open(p.digest) }}
}
