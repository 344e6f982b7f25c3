package git

import (
	"context"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/opencontainers/go-digest"

	"github.com/weir-dev/weir/reconcilers/artifact"
	"github.com/weir-dev/weir/reconcilers/flight"
	"github.com/weir-dev/weir/reconcilers/ingest"
)

// archiveKey is what decides the content of an archive, and who may have it: the hash of a tree is no proof that somebody who
// serves a commit of it has seen its files.
type archiveKey struct {
	remote remoteKey
	tree   plumbing.Hash
	recipe flight.Fingerprint
}

func keyOf(f facts, r recipe) archiveKey {
	return archiveKey{remote: f.remote, tree: f.tree, recipe: r.fingerprint()}
}

// archives makes archives of commits, each only once.
type archives struct {
	store  *artifact.Store
	trees  Trees
	limits ingest.Limits

	digests flight.Memo[archiveKey, digest.Digest]
	flights flight.Group[archiveKey, added]
}

// added is content that is held in the store until everybody has linked it.
type added struct {
	digest  digest.Digest
	release func()
}

func newArchives(d Deps) *archives {
	return &archives{
		store: d.Store, trees: d.Trees, limits: d.Limits,
		digests: flight.Memo[archiveKey, digest.Digest]{Size: maxFacts},
		flights: flight.Group[archiveKey, added]{Now: d.Remotes.options.Now, Drop: func(a added) { a.release() }},
	}
}

// known returns the digest of an archive that was made before. It may be in the store no more.
func (a *archives) known(f facts, r recipe) (digest.Digest, bool) {
	return a.digests.Get(keyOf(f, r))
}

// add makes the archive of a commit, unless somebody else is at it. It stays in the store until release is called, and longer
// if it is linked before. The clone is only used as long as somebody waits.
func (a *archives) add(ctx context.Context, m *remote, f facts, r recipe,
	open func(context.Context) (*clone, func(), error),
) (digest.Digest, func(), error) {
	key := keyOf(f, r)

	got, release, err := a.flights.Join(ctx, key, time.Time{}, func(ctx context.Context) (added, error) {
		c, done, err := open(ctx)
		if err != nil {
			return added{}, err
		}
		defer done()

		x, err := openContents(ctx, m, c, r, a.trees, a.limits)
		if err != nil {
			return added{}, err
		}
		defer x.close()

		d, release, err := a.write(ctx, x)

		return added{digest: d, release: release}, err
	})
	if err != nil {
		return "", nil, err
	}

	a.digests.Put(key, got.digest)

	return got.digest, release, nil
}

// write streams files into the store.
func (a *archives) write(ctx context.Context, x *contents) (digest.Digest, func(), error) {
	rules, err := x.rules(ctx)
	if err != nil {
		return "", nil, err
	}

	return a.store.Add(ctx, x.archive(ctx, a.store, rules))
}
