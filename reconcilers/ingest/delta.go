package ingest

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
)

// deltaHead keeps the beginning of a delta, which tells the sizes of its base and of what it makes.
type deltaHead struct {
	b [2 * binary.MaxVarintLen64]byte
	n int
}

// Write implements io.Writer.
func (d *deltaHead) Write(p []byte) (int, error) {
	d.n += copy(d.b[d.n:], p)

	return len(p), nil
}

// sizes returns the sizes of the base and of what the delta makes.
func (d *deltaHead) sizes() (base, target int64, err error) {
	b, n := binary.Uvarint(d.b[:d.n])
	if n <= 0 || b > 1<<60 {
		return 0, 0, fmt.Errorf("%w: the delta has no size of its base", errMalformed)
	}

	t, m := binary.Uvarint(d.b[n:d.n])
	if m <= 0 || t > 1<<60 {
		return 0, 0, fmt.Errorf("%w: the delta has no size", errMalformed)
	}

	return int64(b), int64(t), nil
}

// patch applies a delta to its base.
type patch struct {
	ctx    context.Context //nolint:containedctx // it lives as long as the call that was given the context
	base   *content
	delta  *bufio.Reader
	out    io.Writer
	left   int64 // bytes of the target that are to come
	buffer []byte
}

// apply writes what the delta makes of the base, which has to have the size given.
func (x *patch) apply(size int64) error {
	base, err := binary.ReadUvarint(x.delta)
	if err != nil {
		return unexpected(err)
	}

	target, err := binary.ReadUvarint(x.delta)
	if err != nil {
		return unexpected(err)
	}

	if base != uint64(x.base.size) || target != uint64(size) { //nolint:gosec // sizes are not negative
		return fmt.Errorf("%w: the delta is not for its base", errMalformed)
	}

	for x.left = size; x.left > 0; {
		if err := x.ctx.Err(); err != nil {
			return err
		}

		op, err := x.delta.ReadByte()
		if err != nil {
			return unexpected(err)
		}

		if err := x.one(op); err != nil {
			return err
		}
	}

	if _, err := x.delta.ReadByte(); err != io.EOF {
		return fmt.Errorf("%w: the delta makes more than it says", errMalformed)
	}

	return nil
}

// one carries out one instruction: copy from the base, or take what follows.
func (x *patch) one(op byte) error {
	if op&0x80 != 0 {
		offset, size, err := x.readCopy(op)
		if err != nil {
			return err
		}

		if offset+size > x.base.size {
			return fmt.Errorf("%w: the delta reads outside of its base", errMalformed)
		}

		return x.take(io.NewSectionReader(x.base, offset, size), size)
	}

	if op == 0 {
		return fmt.Errorf("%w: unknown instruction in a delta", errMalformed)
	}

	return x.take(x.delta, int64(op))
}

// readCopy reads where in the base to copy from, and how much.
func (x *patch) readCopy(op byte) (offset, size int64, err error) {
	var fields [7]byte
	for i := range fields {
		if op&(1<<i) == 0 {
			continue
		}

		if fields[i], err = x.delta.ReadByte(); err != nil {
			return 0, 0, unexpected(err)
		}
	}

	offset = int64(binary.LittleEndian.Uint32(fields[:4]))
	size = int64(fields[4]) | int64(fields[5])<<8 | int64(fields[6])<<16

	if size == 0 {
		size = 0x10000
	}

	return offset, size, nil
}

func (x *patch) take(r io.Reader, n int64) error {
	if n > x.left {
		return fmt.Errorf("%w: the delta makes more than it says", errMalformed)
	}

	copied, err := io.CopyBuffer(onlyWriter{x.out}, io.LimitReader(r, n), x.buffer)
	x.left -= copied

	if err == nil && copied < n {
		err = io.ErrUnexpectedEOF
	}

	return err
}
