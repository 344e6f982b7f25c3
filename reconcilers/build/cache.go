package build

import (
	"container/list"
	"sync"
)

// cache keeps the sets that were used last, up to a number of bytes.
type cache struct {
	mu      sync.Mutex
	max     int64
	used    int64
	entries map[string]cacheEntry
	// recent has the keys, the one used last in front.
	recent *list.List
}

type cacheEntry struct {
	place *list.Element
	value *encoded
}

func newCache(limit int64) *cache {
	return &cache{max: limit, entries: map[string]cacheEntry{}, recent: list.New()}
}

func (c *cache) get(key string) *encoded {
	c.mu.Lock()
	defer c.mu.Unlock()

	entry, ok := c.entries[key]
	if !ok {
		return nil
	}

	c.recent.MoveToFront(entry.place)

	return entry.value
}

// put keeps the value, unless it takes more than a quarter of the cache: that would cost too many others their place.
func (c *cache) put(key string, value *encoded) {
	size := value.size()
	if size > c.max/4 {
		return
	}

	c.mu.Lock()
	defer c.mu.Unlock()

	c.drop(key)
	c.entries[key] = cacheEntry{c.recent.PushFront(key), value}
	c.used += size

	for c.used > c.max {
		oldest, _ := c.recent.Back().Value.(string)
		c.drop(oldest)
	}
}

func (c *cache) drop(key string) {
	entry, ok := c.entries[key]
	if !ok {
		return
	}

	c.recent.Remove(entry.place)
	delete(c.entries, key)
	c.used -= entry.value.size()
}
