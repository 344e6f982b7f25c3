package flight

import (
	"container/list"
	"sync"
)

// Memo remembers a bounded number of facts that never change, the ones asked for last.
type Memo[K comparable, V any] struct {
	// Size is how many facts are remembered.
	Size int

	// Room is the weight that all facts may have together, if Weigh is set. A fact that is heavier is not remembered.
	Room int64

	// Weigh optionally returns the weight of a fact.
	Weigh func(V) int64

	mu     sync.Mutex
	items  map[K]*list.Element
	order  list.List // of fact[K, V]
	weight int64
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
		m.drop(e)
	}

	if m.Weigh != nil && m.weightOf(value) > m.Room {
		return // all others would have to go for nothing
	}

	m.items[key] = m.order.PushFront(fact[K, V]{key: key, value: value})
	m.weight += m.weightOf(value)

	for m.order.Len() > m.Size || m.Weigh != nil && m.weight > m.Room {
		m.drop(m.order.Back())
	}
}

func (m *Memo[K, V]) drop(e *list.Element) {
	old := m.order.Remove(e).(fact[K, V]) //nolint:forcetypeassert // the list holds nothing else
	delete(m.items, old.key)
	m.weight -= m.weightOf(old.value)
}

func (m *Memo[K, V]) weightOf(value V) int64 {
	if m.Weigh == nil {
		return 0
	}

	return m.Weigh(value)
}
