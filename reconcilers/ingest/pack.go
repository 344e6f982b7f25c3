package ingest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// PackLimits bound what a Git pack may cost before its trees are looked at. A field that is zero takes its default; to lift
// a limit, set it to math.MaxInt64.
type PackLimits struct {
	// Bytes of the pack as it comes. The default is 4 GiB.
	Bytes int64

	// Inflated bytes of all its objects together, deltas not applied. The default is 32 GiB.
	Inflated int64

	// Objects in the pack. The default is 2 million, of which the index takes 100 MB of memory.
	Objects int64

	// FileBytes of one file. The default is 512 MiB.
	FileBytes int64
}

func (l PackLimits) orDefaults() PackLimits {
	l.Bytes = or(l.Bytes, 4<<30)
	l.Inflated = or(l.Inflated, 32<<30)
	l.Objects = or(l.Objects, 2_000_000)
	l.FileBytes = or(l.FileBytes, defaultFileBytes)

	return l
}

const (
	// metadataBytes is the largest commit, tag or tree.
	metadataBytes = 32 << 20

	// headBytes is the largest commit or tag that is looked at. Those that are kept stay in memory, and the bytes of a message
	// cost nothing in a pack.
	headBytes = 1 << 20

	// spoolBytes is the largest object that is held in memory; larger ones lie in temporary files.
	spoolBytes = 4 << 20

	// cacheBytes bounds the bases of deltas that are kept for the next delta.
	cacheBytes = 16 << 20

	// maxChain is the longest chain of deltas. Git stops at it too.
	maxChain = 4095
)

// ErrNotFound says that an object is not in the pack.
var ErrNotFound = errors.New("object not found")

// Pack is a Git pack in a file without a name, of whose every object the hash is known. Objects come out by their hash, so
// what a commit leads to is what its hash stands for. It is safe for concurrent use once it has been read.
//
// It exists because go-git indexes a pack by inflating every object into memory, before anybody can ask for its size. Here
// a size that is over the limit ends the reading at the header of the object, and memory does not grow with the size of files.
type Pack struct {
	file    *os.File
	dir     string
	bytes   int64
	limits  PackLimits
	entries []packEntry             // by offset
	refs    map[int32]plumbing.Hash // bases that are named by their hash
	order   []int32                 // entries by hash
	cache   *contentCache
	pool    sync.Pool // of inflaters
	patches sync.Pool // of patches, for their buffers
}

// packEntry is an object in the pack.
type packEntry struct {
	hash   plumbing.Hash
	offset int64               // of its header
	size   int64               // inflated, deltas applied
	base   int32               // entry that it is a delta of, or none
	header uint16              // bytes before the compressed data
	depth  uint16              // deltas down to a whole object
	kind   plumbing.ObjectType // deltas applied
}

const none = int32(-1)

// ReadPack reads a pack from the stream into a temporary file in the directory, which has no name any more when it returns.
// A *LimitError names the file that is too large as it is called in the tree of the commit, as well as that can be told from
// what came before it. The pack has to be complete: deltas against objects outside of it are refused.
func ReadPack(ctx context.Context, r io.Reader, dir string, commit plumbing.Hash, l PackLimits) (*Pack, error) {
	file, err := nameless(dir)
	if err != nil {
		return nil, err
	}

	p := &Pack{
		file: file, dir: dir, limits: l.orDefaults(),
		refs: map[int32]plumbing.Hash{}, cache: newContentCache(cacheBytes),
	}

	err = p.read(ctx, r)
	if over, ok := errors.AsType[*LimitError](err); ok && over.OfFile() {
		// The first one that is missing is the likeliest to come next.
		_ = p.resolve(ctx) // as far as it goes: the end of the pack is missing
		over.Names = p.Missing(ctx, commit)
	}

	if err == nil {
		err = p.resolve(ctx)
	}

	if err != nil {
		p.Close()

		return nil, fmt.Errorf("read pack: %w", err)
	}

	return p, nil
}

// nameless makes a temporary file and takes its name away, so that nothing is left behind, whatever happens.
func nameless(dir string) (*os.File, error) {
	file, err := os.CreateTemp(dir, "pack-*")
	if err != nil {
		return nil, fmt.Errorf("make temporary file: %w", err)
	}

	if err := os.Remove(file.Name()); err != nil {
		_ = file.Close()

		return nil, fmt.Errorf("remove name of temporary file: %w", err)
	}

	return file, nil
}

// Close gives the disk space back.
func (p *Pack) Close() {
	p.cache.clear()
	_ = p.file.Close()
}

// Bytes is the size of the pack on disk.
func (p *Pack) Bytes() int64 { return p.bytes }

// Weight is about how many bytes the pack takes, on disk and in memory, with something for the open file.
func (p *Pack) Weight() int64 {
	const entryBytes, fixed = 64, 64 << 10

	return p.bytes + int64(len(p.entries))*entryBytes + p.cache.weigh() + fixed
}

// Has tells whether the object is in the pack.
func (p *Pack) Has(hash plumbing.Hash) bool { return p.find(hash) != none }

// Size returns the size of a blob without reading it.
func (p *Pack) Size(hash plumbing.Hash) (int64, error) {
	i, err := p.lookup(hash, plumbing.BlobObject)
	if err != nil {
		return 0, err
	}

	return p.entries[i].size, nil
}

// Open returns the content of a blob.
func (p *Pack) Open(ctx context.Context, hash plumbing.Hash) (io.ReadCloser, error) {
	i, err := p.lookup(hash, plumbing.BlobObject)
	if err != nil {
		return nil, err
	}

	if p.entries[i].base == none {
		return p.inflate(i)
	}

	c, err := p.content(ctx, i)
	if err != nil {
		return nil, fmt.Errorf("read blob %s: %w", hash, err)
	}

	return &releasingReader{Reader: io.NewSectionReader(c, 0, c.size), release: c.release}, nil
}

// Raw returns a commit or an annotated tag as it stands in the repository: the bytes of which the hash is, which is what people
// sign. It says which of the two it is.
func (p *Pack) Raw(ctx context.Context, hash plumbing.Hash) (plumbing.ObjectType, []byte, error) {
	i := p.find(hash)
	if i == none || p.entries[i].kind != plumbing.CommitObject && p.entries[i].kind != plumbing.TagObject {
		return plumbing.InvalidObject, nil, fmt.Errorf("commit or tag %s: %w", hash, ErrNotFound)
	}

	kind := p.entries[i].kind
	if p.entries[i].size > headBytes {
		return plumbing.InvalidObject, nil, over(headBytes, unitHead, hash.String())
	}

	c, err := p.content(ctx, i)
	if err != nil {
		return plumbing.InvalidObject, nil, fmt.Errorf("read %s %s: %w", kind, hash, err)
	}
	defer c.release()

	raw, err := io.ReadAll(io.NewSectionReader(c, 0, c.size))
	if err != nil {
		return plumbing.InvalidObject, nil, fmt.Errorf("read %s %s: %w", kind, hash, err)
	}

	return kind, raw, nil
}

// Commit returns the commit that the hash of a commit, or of an annotated tag, leads to.
func (p *Pack) Commit(ctx context.Context, hash plumbing.Hash) (*object.Commit, error) {
	hash, err := p.peel(ctx, hash)
	if err != nil {
		return nil, err
	}

	encoded, err := p.object(ctx, hash, plumbing.CommitObject)
	if err != nil {
		return nil, err
	}

	commit, err := object.DecodeCommit(nil, encoded)
	if err != nil {
		return nil, fmt.Errorf("decode commit %s: %w", hash, err)
	}

	return commit, nil
}

// peel follows tags to what they point at.
func (p *Pack) peel(ctx context.Context, hash plumbing.Hash) (plumbing.Hash, error) {
	const most = 10

	for range most {
		i := p.find(hash)
		if i == none || p.entries[i].kind != plumbing.TagObject {
			return hash, nil
		}

		encoded, err := p.object(ctx, hash, plumbing.TagObject)
		if err != nil {
			return plumbing.ZeroHash, err
		}

		tag, err := object.DecodeTag(nil, encoded)
		if err != nil {
			return plumbing.ZeroHash, fmt.Errorf("decode tag %s: %w", hash, err)
		}

		hash = tag.Target
	}

	return plumbing.ZeroHash, fmt.Errorf("tag %s: more than %d tags in a row", hash, most)
}

// tree returns the entries of a tree.
func (p *Pack) tree(ctx context.Context, hash plumbing.Hash) ([]object.TreeEntry, error) {
	encoded, err := p.object(ctx, hash, plumbing.TreeObject)
	if err != nil {
		return nil, err
	}

	tree := &object.Tree{}
	if err := tree.Decode(encoded); err != nil {
		return nil, fmt.Errorf("decode tree %s: %w", hash, err)
	}

	return tree.Entries, nil
}

// object returns a commit, tag or tree.
func (p *Pack) object(ctx context.Context, hash plumbing.Hash, kind plumbing.ObjectType) (plumbing.EncodedObject, error) {
	i, err := p.lookup(hash, kind)
	if err != nil {
		return nil, err
	}

	if kind != plumbing.TreeObject && p.entries[i].size > headBytes {
		return nil, over(headBytes, unitHead, hash.String())
	}

	c, err := p.content(ctx, i)
	if err != nil {
		return nil, fmt.Errorf("read %s %s: %w", kind, hash, err)
	}
	defer c.release()

	o := &plumbing.MemoryObject{}
	o.SetType(kind)

	// The buffer of a copy is no larger than its limit: a tree of a few entries needs no 32 KiB.
	if _, err := io.Copy(o, io.LimitReader(io.NewSectionReader(c, 0, c.size), c.size)); err != nil {
		return nil, fmt.Errorf("read %s %s: %w", kind, hash, err)
	}

	return o, nil
}

func (p *Pack) lookup(hash plumbing.Hash, kind plumbing.ObjectType) (int32, error) {
	i := p.find(hash)
	if i == none || p.entries[i].kind != kind {
		return none, fmt.Errorf("%s %s: %w", kind, hash, ErrNotFound)
	}

	return i, nil
}

// find returns the entry of the hash, or none.
func (p *Pack) find(hash plumbing.Hash) int32 {
	at, found := slices.BinarySearchFunc(p.order, hash, func(i int32, h plumbing.Hash) int {
		return bytes.Compare(p.entries[i].hash[:], h[:])
	})
	if !found {
		return none
	}

	return p.order[at]
}

// sort makes the entries known by their hashes.
func (p *Pack) sort() {
	p.order = make([]int32, 0, len(p.entries))
	for i := range p.entries {
		if !p.entries[i].hash.IsZero() {
			p.order = append(p.order, int32(i)) //nolint:gosec // the number of objects is an uint32 and limited
		}
	}

	slices.SortFunc(p.order, func(a, b int32) int {
		return bytes.Compare(p.entries[a].hash[:], p.entries[b].hash[:])
	})
}
