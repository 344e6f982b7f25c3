package bucket

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"time"

	"github.com/weir-dev/weir/reconcilers/cloud"
	"github.com/weir-dev/weir/reconcilers/flight"
	"github.com/weir-dev/weir/reconcilers/ingest"
)

// Options are the parameters of Buckets.
type Options struct {
	// Dir is where objects lie until they are in an artifact, in files without names. It is made if it is not there. Empty means the
	// directory for temporary files.
	Dir string

	// Transports reach the storages. Nil means such that allow all addresses.
	Transports *ingest.Transports

	// Cloud gives credentials to objects that name no Secret. Nil means that they get none.
	Cloud *cloud.Credentials

	// Limits of one artifact.
	Limits ingest.Limits

	// Parallel is how many objects of one bucket are fetched at a time. Each takes about 80 KiB of memory. Buckets do not wait for
	// each other: the server of one may be slow. Zero means 64.
	Parallel int

	// Moment is for how long a listing is news to an object that merely looks whether something happened. Zero means 2 s.
	Moment time.Duration

	// Now is the clock. Nil means that of the machine.
	Now func() time.Time
}

// Buckets are the buckets of all objects. What one object sees and fetches serves all that have the same credentials. It is safe
// for concurrent use.
type Buckets struct {
	options  Options
	stores   flight.Memo[flight.Fingerprint, connection]
	listings flight.Group[listKey, *listing]
	rules    flight.Memo[rulesKey, string]
}

// listKey is a part of a bucket as somebody sees it.
type listKey struct {
	bucket flight.Fingerprint
	prefix string
}

// rulesKey is the ignore rules of a bucket.
type rulesKey struct {
	bucket flight.Fingerprint
	etag   string
}

const (
	// maxStores is how many connections to buckets are kept ready for use.
	maxStores = 256

	// maxListings bounds the listings that are kept for a moment, in bytes.
	maxListings = 32 << 20

	// maxKnownRules bounds the ignore rules that are kept, in bytes.
	maxKnownRules = 4 << 20

	// defaultParallel at 50 ms per request are about 1300 objects a second.
	defaultParallel = 64
)

// NewBuckets returns buckets that nobody has looked at yet.
func NewBuckets(o Options) (*Buckets, error) {
	o.Moment = cmp.Or(o.Moment, 2*time.Second)
	o.Parallel = cmp.Or(o.Parallel, defaultParallel)
	o.Limits.FileBytes = cmp.Or(o.Limits.FileBytes, 512<<20)
	o.Limits.Bytes = cmp.Or(o.Limits.Bytes, 1<<30)

	if o.Now == nil {
		o.Now = time.Now
	}

	if o.Transports == nil {
		o.Transports = &ingest.Transports{}
	}

	o.Dir = cmp.Or(o.Dir, os.TempDir())
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make directory: %w", err)
	}

	return &Buckets{
		options: o,
		stores:  flight.Memo[flight.Fingerprint, connection]{Size: maxStores},
		rules: flight.Memo[rulesKey, string]{
			Size: maxStores, Room: maxKnownRules, Weigh: func(s string) int64 { return int64(len(s)) },
		},
		listings: flight.Group[listKey, *listing]{
			Age: o.Moment, Room: maxListings, Weigh: (*listing).weight, Now: o.Now,
		},
	}, nil
}

// bucket is one that somebody may look at.
type bucket struct {
	store

	buckets *Buckets
	key     flight.Fingerprint // of the bucket, the way to it and the credentials
}

// list returns what is in the bucket at the time given or later. The listing must not be used after release.
func (b *bucket) list(ctx context.Context, prefix string, since time.Time) (l *listing, release func(), err error) {
	key := listKey{bucket: b.key, prefix: prefix}

	return b.buckets.listings.Join(ctx, key, since, func(ctx context.Context) (*listing, error) {
		return b.look(ctx, prefix)
	})
}
