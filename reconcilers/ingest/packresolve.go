package ingest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/klauspost/compress/zlib"
)

// resolver gives the deltas of a pack their hashes.
type resolver struct {
	*Pack

	known   map[plumbing.Hash]int32   // nil unless some delta names its base by hash
	forBase map[int32][]int32         // deltas whose base has no hash yet
	forHash map[plumbing.Hash][]int32 // deltas whose base was not found yet
	buffer  []byte
}

// resolve applies every delta once, to learn its hash and to see that it can be applied.
func (p *Pack) resolve(ctx context.Context) error {
	r := &resolver{
		Pack: p, forBase: map[int32][]int32{}, forHash: map[plumbing.Hash][]int32{}, buffer: make([]byte, 32<<10),
	}
	defer p.sort()

	if len(p.refs) > 0 {
		r.known = make(map[plumbing.Hash]int32, len(p.entries))
		for i := range p.entries {
			if e := &p.entries[i]; !e.hash.IsZero() {
				r.known[e.hash] = int32(i) //nolint:gosec // checked against the number of objects
			}
		}
	}

	for i := range p.entries {
		if !p.entries[i].hash.IsZero() {
			continue
		}

		if err := r.delta(ctx, int32(i)); err != nil { //nolint:gosec // checked against the number of objects
			return err
		}
	}

	if len(r.forBase)+len(r.forHash) > 0 {
		return fmt.Errorf("%w: no base of a delta", errMalformed)
	}

	return nil
}

// delta resolves a delta and those that waited for it, or lets it wait for its base.
func (r *resolver) delta(ctx context.Context, i int32) error {
	ready := []int32{i}
	for len(ready) > 0 {
		i, ready = ready[len(ready)-1], ready[:len(ready)-1]

		if !r.place(i) {
			continue
		}

		if err := r.sum(ctx, i); err != nil {
			return err
		}

		hash := r.entries[i].hash
		ready = append(ready, r.forBase[i]...)
		ready = append(ready, r.forHash[hash]...)

		delete(r.forBase, i)
		delete(r.forHash, hash)

		if r.known != nil {
			r.known[hash] = i
		}
	}

	return nil
}

// place tells whether the base of a delta is resolved. If it is not, the delta waits for it.
func (r *resolver) place(i int32) bool {
	e := &r.entries[i]

	if e.base == none {
		base, found := r.known[r.refs[i]]
		if !found {
			r.forHash[r.refs[i]] = append(r.forHash[r.refs[i]], i)

			return false
		}

		e.base = base
	}

	if r.entries[e.base].hash.IsZero() {
		r.forBase[e.base] = append(r.forBase[e.base], i)

		return false
	}

	return true
}

// sum makes the content of a delta, and its hash.
func (r *resolver) sum(ctx context.Context, i int32) error {
	e := &r.entries[i]
	base := r.entries[e.base]

	if e.kind, e.depth = base.kind, base.depth+1; e.depth > maxChain {
		return over(maxChain, unitChain)
	}

	if err := r.check(*e); err != nil {
		return err
	}

	c, err := r.content(ctx, i)
	if err != nil {
		return fmt.Errorf("object at byte %d: %w", e.offset, err)
	}
	defer c.release()

	sum := plumbing.NewHasher(e.kind, e.size)
	if _, err := io.CopyBuffer(onlyWriter{sum}, io.NewSectionReader(c, 0, c.size), r.buffer); err != nil {
		return fmt.Errorf("hash object at byte %d: %w", e.offset, err)
	}

	e.hash = sum.Sum()

	return nil
}

// content returns an object with its deltas applied. The caller has to release it.
func (p *Pack) content(ctx context.Context, i int32) (*content, error) {
	var chain []int32 // deltas to apply, the last one first

	c := p.cache.get(i)
	for c == nil && p.entries[i].base != none {
		chain = append(chain, i)
		i = p.entries[i].base
		c = p.cache.get(i)
	}

	if c == nil {
		var err error
		if c, err = p.whole(i); err != nil {
			return nil, err
		}

		p.cache.put(i, c)
	}

	for _, delta := range slices.Backward(chain) {
		next, err := p.apply(ctx, delta, c)
		c.release()

		if err != nil {
			return nil, err
		}

		c = next
		p.cache.put(delta, c)
	}

	return c, nil
}

// whole returns an object that is no delta.
func (p *Pack) whole(i int32) (*content, error) {
	r, err := p.inflate(i)
	if err != nil {
		return nil, err
	}
	defer r.Close()

	return newContent(p.dir, p.entries[i].size, func(w io.Writer) error {
		_, err := io.Copy(w, r)

		return err
	})
}

// apply applies one delta.
func (p *Pack) apply(ctx context.Context, i int32, base *content) (*content, error) {
	r, err := p.inflate(i)
	if err != nil {
		return nil, err
	}
	defer r.Close()

	size := p.entries[i].size

	return newContent(p.dir, size, func(w io.Writer) error {
		x, ok := p.patches.Get().(*patch)
		if !ok {
			x = &patch{delta: bufio.NewReader(nil), buffer: make([]byte, 4<<10)}
		}

		x.ctx, x.base, x.out = ctx, base, w
		x.delta.Reset(r)

		err := x.apply(size)

		x.ctx, x.base, x.out = nil, nil, nil
		x.delta.Reset(nil)
		p.patches.Put(x)

		return err
	})
}

// inflater is what it takes to inflate one object after the other.
type inflater struct {
	in  *bufio.Reader
	zip io.ReadCloser
}

// inflate returns the inflated data of an entry: the object, or the delta.
func (p *Pack) inflate(i int32) (io.ReadCloser, error) {
	e := p.entries[i]
	start := e.offset + int64(e.header)
	section := io.NewSectionReader(p.file, start, p.limits.Bytes-start) // the data knows where it ends

	f, ok := p.pool.Get().(*inflater)
	if !ok {
		f = &inflater{in: bufio.NewReaderSize(nil, 16<<10)}
	}

	f.in.Reset(section)

	if err := f.reset(); err != nil {
		return nil, fmt.Errorf("inflate object at byte %d: %w", e.offset, unexpected(err))
	}

	return &releasingReader{Reader: f.zip, release: func() { p.pool.Put(f) }}, nil
}

func (f *inflater) reset() (err error) {
	if f.zip == nil {
		f.zip, err = zlib.NewReader(f.in)

		return err
	}

	return f.zip.(zlib.Resetter).Reset(f.in, nil) //nolint:forcetypeassert // documented by the package
}
