package ingest

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/go-git/go-git/v5/plumbing"
)

// checksumBytes end a pack.
const checksumBytes = 20

// errMalformed says that the bytes are no pack.
var errMalformed = errors.New("malformed pack")

// packScan reads a pack as it comes.
type packScan struct {
	*Pack

	inflater

	raw      *spool // what was read ahead counts
	buffer   []byte
	inflated int64
}

// spool writes what it reads to a file.
type spool struct {
	r   io.Reader
	w   io.Writer
	n   int64
	max int64
}

// Read implements io.Reader.
func (s *spool) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if s.n += int64(n); s.n > s.max {
		return 0, over(s.max, unitPack)
	}

	if _, err := s.w.Write(p[:n]); err != nil {
		return 0, fmt.Errorf("write pack: %w", err)
	}

	return n, err
}

// read scans the pack object by object, while it comes. Whole objects get their hash; of deltas, the size of what they make
// is known.
//
// The checksum at the end of the pack is not looked at: what leads from a commit to a file is checked hash by hash.
func (p *Pack) read(ctx context.Context, r io.Reader) error {
	raw := &spool{r: &contextReader{ctx: ctx, r: r}, w: p.file, max: p.limits.Bytes}
	s := &packScan{
		Pack: p, raw: raw, inflater: inflater{in: bufio.NewReaderSize(raw, 64<<10)}, buffer: make([]byte, 64<<10),
	}

	var header [12]byte
	if _, err := io.ReadFull(s.in, header[:]); err != nil {
		return fmt.Errorf("read header: %w", unexpected(err))
	}

	if version := binary.BigEndian.Uint32(header[4:]); string(header[:4]) != "PACK" || version != 2 && version != 3 {
		return fmt.Errorf("%w: no pack of version 2 or 3", errMalformed)
	}

	count := int64(binary.BigEndian.Uint32(header[8:]))
	if count > min(p.limits.Objects, math.MaxInt32) {
		return over(p.limits.Objects, unitObjects)
	}

	p.entries = make([]packEntry, 0, min(count, 64<<10))
	for range count {
		if err := s.next(); err != nil {
			return err
		}
	}

	p.bytes = s.position()
	if _, err := io.CopyN(io.Discard, s.in, checksumBytes); err != nil {
		return fmt.Errorf("read checksum: %w", unexpected(err))
	}

	return nil
}

// position is where in the pack the next byte lies.
func (s *packScan) position() int64 { return s.raw.n - int64(s.in.Buffered()) }

// next reads one object.
func (s *packScan) next() error {
	at := s.position()

	kind, size, err := readObjectHeader(s.in)
	if err != nil {
		return fmt.Errorf("object at byte %d: %w", at, unexpected(err))
	}

	e := packEntry{offset: at, size: size, base: none, kind: kind}
	if err := s.readBase(&e); err != nil {
		return fmt.Errorf("object at byte %d: %w", at, unexpected(err))
	}

	e.header = uint16(s.position() - at) //nolint:gosec // a header has at most 40 bytes

	if err := s.check(e); err != nil {
		return err
	}

	if s.inflated += size; s.inflated > s.limits.Inflated {
		return over(s.limits.Inflated, unitInflated)
	}

	if err := s.body(&e, size); err != nil {
		return fmt.Errorf("object at byte %d: %w", at, unexpected(err))
	}

	if err := s.check(e); err != nil { // of a delta, the size of what it makes is known now
		return err
	}

	s.entries = append(s.entries, e)

	return nil
}

// readBase reads which object a delta is based on.
func (s *packScan) readBase(e *packEntry) error {
	switch e.kind {
	case plumbing.CommitObject, plumbing.TreeObject, plumbing.BlobObject, plumbing.TagObject:
		return nil
	case plumbing.OFSDeltaObject:
		distance, err := readDistance(s.in)
		if err != nil {
			return err
		}

		i, found := slices.BinarySearchFunc(s.entries, e.offset-distance, func(e packEntry, offset int64) int {
			return int(min(max(e.offset-offset, -1), 1))
		})
		if !found {
			return fmt.Errorf("%w: no base of the delta", errMalformed)
		}

		e.base = int32(i) //nolint:gosec // checked against the number of objects
		e.kind = plumbing.InvalidObject

		return nil
	case plumbing.REFDeltaObject:
		var hash plumbing.Hash
		if _, err := io.ReadFull(s.in, hash[:]); err != nil {
			return err
		}

		s.refs[int32(len(s.entries))] = hash //nolint:gosec // checked against the number of objects
		e.kind = plumbing.InvalidObject

		return nil
	default:
		return fmt.Errorf("%w: unknown type of object", errMalformed)
	}
}

// check holds the size of an object against the limits. While the type of a delta is not known, it may be a file.
func (p *Pack) check(e packEntry) error {
	switch e.kind {
	case plumbing.CommitObject, plumbing.TreeObject, plumbing.TagObject:
		if e.size > metadataBytes {
			return over(metadataBytes, unitMetadata)
		}
	default:
		if e.size > p.limits.FileBytes {
			return over(p.limits.FileBytes, unitFileBytes)
		}
	}

	return nil
}

// body reads the content of an object of the size.
func (s *packScan) body(e *packEntry, size int64) error {
	if err := s.reset(); err != nil {
		return err
	}

	whole := e.kind != plumbing.InvalidObject
	sum := plumbing.NewHasher(e.kind, size)
	head := &deltaHead{}

	var sink io.Writer = head
	if whole {
		sink = sum
	}

	n, err := io.CopyBuffer(onlyWriter{sink}, io.LimitReader(s.zip, size+1), s.buffer)
	if err != nil {
		return err
	}

	if n != size {
		return fmt.Errorf("%w: the object has not the size that it says", errMalformed)
	}

	if whole {
		e.hash = sum.Sum()

		return nil
	}

	_, e.size, err = head.sizes()

	return err
}

// readObjectHeader reads the type and the inflated size of an object.
func readObjectHeader(r io.ByteReader) (plumbing.ObjectType, int64, error) {
	b, err := r.ReadByte()
	if err != nil {
		return 0, 0, err
	}

	kind := plumbing.ObjectType(b >> 4 & 7) //nolint:gosec // three bits
	size := uint64(b & 15)

	for shift := 4; b&0x80 != 0; shift += 7 {
		if b, err = r.ReadByte(); err != nil {
			return 0, 0, err
		}

		if shift > 60-7 {
			return 0, 0, fmt.Errorf("%w: the size of the object is no number", errMalformed)
		}

		size |= uint64(b&0x7f) << shift
	}

	return kind, int64(size), nil //nolint:gosec // 60 bits at most
}

// readDistance reads how far before a delta its base lies.
func readDistance(r io.ByteReader) (int64, error) {
	b, err := r.ReadByte()
	if err != nil {
		return 0, err
	}

	n := int64(b & 0x7f)
	for b&0x80 != 0 {
		if b, err = r.ReadByte(); err != nil {
			return 0, err
		}

		if n >= 1<<54 {
			return 0, fmt.Errorf("%w: the base of the delta is no number", errMalformed)
		}

		n = (n+1)<<7 | int64(b&0x7f)
	}

	return n, nil
}

// unexpected turns the end of the stream into an error that says that it came too early.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}

	return err
}
