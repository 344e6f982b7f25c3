package git

import (
	"context"
	"fmt"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/opencontainers/go-digest"

	"github.com/weir-dev/weir/reconcilers/artifact"
	"github.com/weir-dev/weir/reconcilers/flight"
	"github.com/weir-dev/weir/reconcilers/ingest"
)

// maxFacts bounds what is remembered of commits and archives.
const maxFacts = 4096

// facts are what is known of a commit without looking at it again.
type facts struct {
	remote  remoteKey // where it was seen
	hash    plumbing.Hash
	tree    plumbing.Hash
	summary string    // of the message
	when    time.Time // it was committed
}

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
	limits ingest.Limits

	commits flight.Memo[cloneKey, facts]
	digests flight.Memo[archiveKey, digest.Digest]
	flights flight.Group[archiveKey, added]
}

// added is content that is held in the store until everybody has linked it.
type added struct {
	digest  digest.Digest
	release func()
}

func newArchives(store *artifact.Store, limits ingest.Limits, now func() time.Time) *archives {
	return &archives{
		store: store, limits: limits,
		commits: flight.Memo[cloneKey, facts]{Size: maxFacts},
		digests: flight.Memo[archiveKey, digest.Digest]{Size: maxFacts},
		flights: flight.Group[archiveKey, added]{Now: now, Drop: func(a added) { a.release() }},
	}
}

// known returns the digest of an archive that was made before. It may be in the store no more.
func (a *archives) known(f facts, r recipe) (digest.Digest, bool) {
	return a.digests.Get(keyOf(f, r))
}

// add makes the archive of a commit, unless somebody else is at it. It stays in the store until release is called, and longer
// if it is linked before. The clone is only used as long as somebody waits.
func (a *archives) add(ctx context.Context, f facts, r recipe,
	open func(context.Context) (*clone, func(), error),
) (digest.Digest, func(), error) {
	key := keyOf(f, r)

	got, release, err := a.flights.Join(ctx, key, time.Time{}, func(ctx context.Context) (added, error) {
		c, done, err := open(ctx)
		if err != nil {
			return added{}, err
		}
		defer done()

		d, release, err := a.write(ctx, c, r)

		return added{digest: d, release: release}, err
	})
	if err != nil {
		return "", nil, err
	}

	a.digests.Put(key, got.digest)

	return got.digest, release, nil
}

// write streams the files of a commit from its pack into the store.
func (a *archives) write(ctx context.Context, c *clone, r recipe) (digest.Digest, func(), error) {
	rules, err := readRules(ctx, c, r, a.limits)
	if err != nil {
		return "", nil, err
	}

	options := ingest.WalkOptions{Limits: a.limits, Under: r.directories(), Skip: rules.Skip, Prune: rules.Prune}

	return a.store.Add(ctx, a.store.Tarball(func(tar *artifact.Tar) error {
		return c.pack.Walk(ctx, c.commit, options, func(n ingest.Node) error {
			if n.Dir {
				return tar.Dir(n.Path)
			}

			in, err := c.pack.Open(ctx, n.Hash)
			if err != nil {
				return fmt.Errorf("open %q: %w", n.Path, err)
			}
			defer in.Close()

			return tar.File(n.Path, n.Executable, n.Size, in)
		})
	}))
}
