package ingest

import (
	"bytes"
	"container/list"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
)

// content is an object with its deltas applied: in memory, or in a file without a name if it is large.
type content struct {
	size   int64
	memory []byte
	file   *os.File
	users  atomic.Int32
}

// ReadAt implements io.ReaderAt.
func (c *content) ReadAt(p []byte, off int64) (int, error) {
	if c.file != nil {
		return c.file.ReadAt(p, off)
	}

	if off >= int64(len(c.memory)) {
		return 0, io.EOF
	}

	n := copy(p, c.memory[off:])
	if n < len(p) {
		return n, io.EOF
	}

	return n, nil
}

// retain adds a user.
func (c *content) retain() *content {
	c.users.Add(1)

	return c
}

// release takes a user away; the last one closes the file.
func (c *content) release() {
	if c.users.Add(-1) == 0 && c.file != nil {
		_ = c.file.Close()
	}
}

// releasingReader gives back what it reads from when it is closed for the first time.
type releasingReader struct {
	io.Reader

	release func()
	once    sync.Once
}

// Close implements io.Closer.
func (r *releasingReader) Close() error {
	r.once.Do(r.release)

	return nil
}

// newContent makes content of a size that is known before; fill writes it.
func newContent(dir string, size int64, fill func(io.Writer) error) (*content, error) {
	c := &content{size: size}

	if size <= spoolBytes {
		b := bytes.NewBuffer(make([]byte, 0, size))
		if err := fill(b); err != nil {
			return nil, err
		}

		c.memory = b.Bytes()

		return c.retain(), nil
	}

	file, err := nameless(dir)
	if err != nil {
		return nil, err
	}

	c.file = file
	if err := fill(file); err != nil {
		_ = file.Close()

		return nil, fmt.Errorf("write temporary file: %w", err)
	}

	return c.retain(), nil
}

// contentCache keeps the contents used last. Each counts with its size, large ones as a quarter of the whole: they cost no
// memory, but disk space.
type contentCache struct {
	max int64

	mu    sync.Mutex
	used  int64
	items map[int32]*list.Element
	order *list.List // of cached, the one used last first
}

type cached struct {
	key int32
	c   *content
}

func newContentCache(maxBytes int64) *contentCache {
	return &contentCache{max: maxBytes, items: map[int32]*list.Element{}, order: list.New()}
}

// weigh returns the weight of all that is kept.
func (k *contentCache) weigh() int64 {
	k.mu.Lock()
	defer k.mu.Unlock()

	return k.used
}

func (k *contentCache) weight(c *content) int64 { return min(c.size, k.max/4) }

// get returns the content of the entry, which the caller has to release, or nil.
func (k *contentCache) get(key int32) *content {
	k.mu.Lock()
	defer k.mu.Unlock()

	e, ok := k.items[key]
	if !ok {
		return nil
	}

	k.order.MoveToFront(e)

	return e.Value.(cached).c.retain() //nolint:forcetypeassert // the list holds nothing else
}

// put keeps the content of the entry.
func (k *contentCache) put(key int32, c *content) {
	k.mu.Lock()
	defer k.mu.Unlock()

	if _, ok := k.items[key]; ok {
		return
	}

	k.items[key] = k.order.PushFront(cached{key: key, c: c.retain()})
	k.used += k.weight(c)

	for k.used > k.max {
		k.drop(k.order.Back())
	}
}

func (k *contentCache) drop(e *list.Element) {
	item := k.order.Remove(e).(cached) //nolint:forcetypeassert // the list holds nothing else
	delete(k.items, item.key)
	k.used -= k.weight(item.c)
	item.c.release()
}

// clear forgets all.
func (k *contentCache) clear() {
	k.mu.Lock()
	defer k.mu.Unlock()

	for e := k.order.Back(); e != nil; e = k.order.Back() {
		k.drop(e)
	}
}
