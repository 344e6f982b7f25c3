package flight

import (
	"container/list"
	"sync"
)

// Memo remembers a bounded number of facts that never change, the ones asked for last.
type Memo[K comparable, V any] struct {
	// Size is how many facts are remembered.
	Size int

	mu    sync.Mutex
	items map[K]*list.Element
	order list.List // of fact[K, V]
}

type fact[K comparable, V any] struct {
	key   K
	value V
}

// Get returns what is remembered of the key.
func (m *Memo[K, V]) Get(key K) (value V, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()

	e, ok := m.items[key]
	if !ok {
		return value, false
	}

	m.order.MoveToFront(e)

	return e.Value.(fact[K, V]).value, true //nolint:forcetypeassert // the list holds nothing else
}

// Put remembers a fact.
func (m *Memo[K, V]) Put(key K, value V) {
	m.mu.Lock()
	defer m.mu.Unlock()

	if m.items == nil {
		m.items = map[K]*list.Element{}
	}

	if e, ok := m.items[key]; ok {
		m.order.Remove(e)
	}

	m.items[key] = m.order.PushFront(fact[K, V]{key: key, value: value})

	for m.order.Len() > m.Size {
		old := m.order.Remove(m.order.Back()).(fact[K, V]) //nolint:forcetypeassert // the list holds nothing else
		delete(m.items, old.key)
	}
}
