package git

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"

	"github.com/weir-dev/weir/reconcilers/ingest"
)

// clone returns the commit of the target with all its files. The caller has to call release.
func (m *remote) clone(ctx context.Context, l *listing, t target) (c *clone, release func(), err error) {
	return m.remotes.clones.Join(ctx, t.key(m), time.Time{}, func(ctx context.Context) (*clone, error) {
		pack, err := m.pack(ctx, l, t)
		if err != nil {
			return nil, err
		}

		c, err := m.opened(ctx, pack, t)
		if err != nil {
			pack.Close()
		}

		return c, err
	})
}

// opened finds the commit of the target in its pack.
func (m *remote) opened(ctx context.Context, pack *ingest.Pack, t target) (*clone, error) {
	f, err := m.read(ctx, pack, t)
	if err != nil {
		return nil, err
	}

	commit, err := pack.Commit(ctx, f.hash)
	if err != nil {
		return nil, fmt.Errorf("read commit: %w", err)
	}

	m.remember(t, f)

	return &clone{pack: pack, commit: commit, facts: f}, nil
}

// check fails with ingest.ErrNoDirectory unless all directories are there.
func (c *clone) check(ctx context.Context, dirs []string, limits ingest.Limits) error {
	if len(dirs) == 0 {
		return nil
	}

	o := ingest.WalkOptions{Limits: limits, Under: dirs, Prune: true, Skip: func([]string, bool) bool { return true }}

	return c.pack.Walk(ctx, c.commit, o, func(ingest.Node) error { return nil })
}

// pack fetches the commit of the target, and no more than it takes to know that it is where it should be.
func (m *remote) pack(ctx context.Context, l *listing, t target) (*ingest.Pack, error) {
	if !t.searched() {
		return m.shallow(ctx, l, t.want)
	}

	if !l.filters() || !l.givesAny() {
		pack, err := m.fetch(ctx, l, query{wants: t.tips(l)}, t.want)

		return found(pack, err, t)
	}

	// The commits alone tell whether it is in the history.
	commits, err := m.commits(ctx, l, query{wants: t.tips(l)}, t.want)
	if commits, err = found(commits, err, t); err != nil {
		return nil, err
	}

	commits.Close()

	return m.shallow(ctx, l, t.want)
}

// found checks that what the target asks for is in what was fetched.
func found(pack *ingest.Pack, err error, t target) (*ingest.Pack, error) {
	if err != nil {
		return nil, err
	}

	if pack.Has(t.want) {
		return pack, nil
	}

	pack.Close()

	switch {
	case t.anywhere:
		return nil, fmt.Errorf("commit %q is in no branch and no tag", t.want)
	case t.within.IsZero():
		return nil, fmt.Errorf("the server did not send %q", t.want)
	case t.name == "":
		return nil, fmt.Errorf("commit %q is not in the default branch", t.want)
	}

	return nil, fmt.Errorf("commit %q is not in branch %q", t.want, t.name)
}

// shallow fetches an object without history, where the server can cut it off.
func (m *remote) shallow(ctx context.Context, l *listing, want plumbing.Hash) (*ingest.Pack, error) {
	q := query{wants: []plumbing.Hash{want}}
	if l.Capabilities.Supports(capability.Shallow) {
		q.depth = 1
	}

	pack, err := m.fetch(ctx, l, q, want)

	// Which file is too large cannot always be told from the beginning of a pack. A server that leaves large files out tells.
	over, ok := errors.AsType[*ingest.LimitError](err)
	if !ok || !over.OfFile() || len(over.Names) == 1 || !l.filters() {
		return pack, err
	}

	q.filter = packp.FilterBlobLimit(uint64(over.Max)+1, packp.BlobLimitPrefixNone) //nolint:gosec // limits are positive

	rest, e := m.fetch(ctx, l, q, want)
	if e != nil {
		return nil, err
	}
	defer rest.Close()

	if names := rest.Missing(ctx, want); len(names) > 0 {
		return nil, &ingest.LimitError{Names: names[:1], Max: over.Max, Unit: over.Unit}
	}

	return nil, err
}

// query is what is asked of a server.
type query struct {
	wants  []plumbing.Hash
	depth  int // zero means the whole history
	filter packp.Filter
}

// request returns the query in terms of what the server can do.
func (l *listing) request(q query) *packp.UploadRequest {
	req := packp.NewUploadRequest()
	req.Wants = q.wants
	req.Depth = packp.DepthCommits(q.depth)
	req.Filter = q.filter

	offer := func(c capability.Capability, values ...string) bool {
		return l.Capabilities.Supports(c) && req.Capabilities.Set(c, values...) == nil
	}

	_ = offer(capability.Sideband64k) || offer(capability.Sideband)
	// Azure DevOps answers to nobody without it. We have nothing in common with the server, so there is nothing to acknowledge.
	_ = offer(capability.MultiACKDetailed) || offer(capability.MultiACK)
	_ = offer(capability.OFSDelta)
	_ = offer(capability.NoProgress)
	_ = offer(capability.Agent, capability.DefaultAgent())

	if q.depth > 0 {
		_ = offer(capability.Shallow)
	}

	if q.filter != "" {
		_ = offer(capability.Filter)
	}

	return req
}

// fetch asks for a pack and reads it. The commit is for the name of a file that is too large.
func (m *remote) fetch(ctx context.Context, l *listing, q query, commit plumbing.Hash) (*ingest.Pack, error) {
	pack, err := l.transport.Fetch(ctx, l.request(q))
	if err != nil {
		return nil, err
	}
	defer pack.Close()

	return ingest.ReadPack(ctx, pack, m.remotes.options.Dir, commit, m.remotes.options.Limits)
}
