package git

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"

	"github.com/weir-dev/weir/reconcilers/ingest"
	"github.com/weir-dev/weir/reconcilers/source/git/transport"
)

// maxFacts bounds what is remembered of commits and archives, and maxRaw how many bytes of a commit and its tag are remembered.
const (
	maxFacts = 4096
	maxRaw   = 8 << 10
)

// facts are what is known of a commit without looking at it again.
type facts struct {
	remote  remoteKey // where it was seen
	hash    plumbing.Hash
	tree    plumbing.Hash
	summary string    // of the message
	when    time.Time // it was committed

	// raw are the objects from the one that was asked for to the commit, as they are hashed: tags, and the commit last. They
	// are not remembered if they are large.
	raw [][]byte
}

func (t target) key(m *remote) cloneKey {
	return cloneKey{remote: m.key, want: t.want, within: t.within, anywhere: t.anywhere}
}

// remember keeps the facts of a target.
func (m *remote) remember(t target, f facts) {
	size := 0
	for _, raw := range f.raw {
		size += len(raw)
	}

	if size > maxRaw {
		f.raw = nil
	}

	m.remotes.facts.Put(t.key(m), f)
}

// look returns what is to know of a target, with the raw objects, and without its files where the server can leave them out.
func (m *remote) look(ctx context.Context, l *listing, t target) (facts, error) {
	if f, ok := m.remotes.facts.Get(t.key(m)); ok && f.raw != nil {
		return f, nil
	}

	if !l.filters() {
		c, release, err := m.clone(ctx, l, t)
		if err != nil {
			return facts{}, err
		}
		defer release()

		return c.facts, nil
	}

	f, release, err := m.remotes.looks.Join(ctx, t.key(m), time.Time{}, func(ctx context.Context) (facts, error) {
		return m.glance(ctx, l, t)
	})
	if err != nil {
		return facts{}, err
	}

	release() // it is only memory, and we hold it

	return f, nil
}

// glance fetches a commit and its tags without trees and files.
func (m *remote) glance(ctx context.Context, l *listing, t target) (facts, error) {
	q := query{wants: t.tips(l)}
	if !t.searched() && l.Capabilities.Supports(capability.Shallow) {
		q.depth = 1
	}

	pack, err := m.commits(ctx, l, q, t.want)
	if pack, err = found(pack, err, t); err != nil {
		return facts{}, err
	}
	defer pack.Close()

	f, err := m.read(ctx, pack, t)
	if err == nil {
		m.remember(t, f)
	}

	return f, err
}

// commits fetches what is asked for without trees and files, or with them from a server that does not leave them out although it
// said that it leaves out things.
func (m *remote) commits(ctx context.Context, l *listing, q query, want plumbing.Hash) (*ingest.Pack, error) {
	bare := q
	bare.filter = packp.FilterTreeDepth(0)

	pack, err := m.fetch(ctx, l, bare, want)
	if _, refused := errors.AsType[*transport.SaidError](err); refused {
		return m.fetch(ctx, l, q, want)
	}

	return pack, err
}

// read gets the facts of a target out of a pack.
func (m *remote) read(ctx context.Context, pack *ingest.Pack, t target) (facts, error) {
	raw, hash, err := chain(ctx, pack, t.want)
	if err != nil {
		return facts{}, fmt.Errorf("read commit: %w", err)
	}

	commit, err := pack.Commit(ctx, hash)
	if err != nil {
		return facts{}, fmt.Errorf("read commit: %w", err)
	}

	return facts{
		remote: m.key, raw: raw,
		hash: commit.Hash, tree: commit.TreeHash, when: commit.Committer.When, summary: summary(commit.Message),
	}, nil
}

// chain returns the raw objects from the one with the hash to the commit that it leads to, whose hash it returns as well.
func chain(ctx context.Context, pack *ingest.Pack, hash plumbing.Hash) (raw [][]byte, commit plumbing.Hash, err error) {
	const most = 10

	for range most {
		kind, b, err := pack.Raw(ctx, hash)
		if err != nil {
			return nil, plumbing.ZeroHash, err
		}

		raw = append(raw, b)

		if kind == plumbing.CommitObject {
			return raw, hash, nil
		}

		head, err := readTag(b)
		if err != nil {
			return nil, plumbing.ZeroHash, fmt.Errorf("tag %s: %w", hash, err)
		}

		hash = head.object
	}

	return nil, plumbing.ZeroHash, fmt.Errorf("more than %d tags in a row", most)
}

// tagHead is the beginning of a tag object.
type tagHead struct {
	object plumbing.Hash
	kind   string
	name   string
}

var errMalformedTag = errors.New("malformed tag")

// readTag reads the beginning of a tag object, strictly: nothing may be in two minds about what was signed.
func readTag(raw []byte) (tagHead, error) {
	var values [3]string

	rest := raw
	for i, key := range []string{"object ", "type ", "tag "} {
		line, after, ok := bytes.Cut(rest, []byte("\n"))

		value, named := strings.CutPrefix(string(line), key)
		if !ok || !named || value == "" {
			return tagHead{}, errMalformedTag
		}

		values[i], rest = value, after
	}

	if !isCommit(values[0]) {
		return tagHead{}, errMalformedTag
	}

	return tagHead{object: plumbing.NewHash(values[0]), kind: values[1], name: values[2]}, nil
}

// summary returns the first line of a commit message, shortened.
func summary(message string) string {
	const most = 50

	line, _, _ := strings.Cut(strings.TrimSpace(strings.ToValidUTF8(message, "\uFFFD")), "\n")
	if runes := []rune(line); len(runes) > most {
		return string(runes[:most]) + "..."
	}

	return line
}
