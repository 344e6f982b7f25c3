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
	entries map[string]*list.Element
	// recent has the entries, the one used last in front.
	recent *list.List
}

type cacheEntry struct {
	key   string
	value *encoded
}

func newCache(limit int64) *cache {
	return &cache{max: limit, entries: map[string]*list.Element{}, recent: list.New()}
}

func (c *cache) get(key string) *encoded {
	c.mu.Lock()
	defer c.mu.Unlock()

	element, ok := c.entries[key]
	if !ok {
		return nil
	}

	c.recent.MoveToFront(element)

	return element.Value.(*cacheEntry).value
}

// put keeps the value, unless it takes more than a quarter of the cache: that would cost too many others their place.
func (c *cache) put(key string, value *encoded) {
	size := value.size()
	if size > c.max/4 {
		return
	}

	c.mu.Lock()
	defer c.mu.Unlock()

	if element, ok := c.entries[key]; ok {
		c.drop(element)
	}

	c.entries[key] = c.recent.PushFront(&cacheEntry{key, value})
	c.used += size

	for c.used > c.max {
		c.drop(c.recent.Back())
	}
}

func (c *cache) drop(element *list.Element) {
	entry := c.recent.Remove(element).(*cacheEntry)
	delete(c.entries, entry.key)
	c.used -= entry.value.size()
}
