package kms

import (
	"context"
	"sync"
	"time"

	"github.com/weir-dev/weir/reconcilers/flight"
)

const (
	// maxMemo is how many tokens are kept.
	maxMemo = 512

	// maxAge is how long one is kept at most.
	maxAge = time.Hour
)

// memo keeps tokens until they have lived four fifths of their life. A token is got once for all who want it at the same time.
// Keys are made of all that decides who may have the token.
type memo[V any] struct {
	now     func() time.Time
	flights flight.Group[flight.Fingerprint, fresh[V]]

	mu    sync.Mutex
	items map[flight.Fingerprint]fresh[V]
}

// fresh is a token, and until when it is kept.
type fresh[V any] struct {
	value V
	until time.Time
}

func newMemo[V any](now func() time.Time) *memo[V] {
	return &memo[V]{
		now: now, flights: flight.Group[flight.Fingerprint, fresh[V]]{Now: now}, items: map[flight.Fingerprint]fresh[V]{},
	}
}

// get returns the token that is kept, or a new one, which ends at the time that comes with it.
func (m *memo[V]) get(ctx context.Context, key flight.Fingerprint, run func(context.Context) (V, time.Time, error)) (V, error) {
	if value, ok := m.kept(key); ok {
		return value, nil
	}

	got, release, err := m.flights.Join(ctx, key, time.Time{}, func(ctx context.Context) (fresh[V], error) {
		ctx, cancel := context.WithTimeout(ctx, defaultTimeout)
		defer cancel()

		at := m.now()
		value, expires, err := run(ctx)

		return fresh[V]{value: value, until: at.Add(min(expires.Sub(at)/5*4, maxAge))}, err
	})
	if err != nil {
		return got.value, err //nolint:wrapcheck // the caller does
	}

	release() // it is only memory
	m.keep(key, got)

	return got.value, nil
}

func (m *memo[V]) kept(key flight.Fingerprint) (value V, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()

	it, ok := m.items[key]
	if !ok || !m.now().Before(it.until) {
		delete(m.items, key)

		return value, false
	}

	return it.value, true
}

// keep keeps a token, in the place of those that are too old or of any other if there are too many.
func (m *memo[V]) keep(key flight.Fingerprint, it fresh[V]) {
	m.mu.Lock()
	defer m.mu.Unlock()

	for k, old := range m.items {
		if !m.now().Before(old.until) {
			delete(m.items, k)
		}
	}

	for k := range m.items {
		if len(m.items) < maxMemo {
			break
		}

		delete(m.items, k)
	}

	m.items[key] = it
}

// drop forgets a token that turned out to be worth nothing.
func (m *memo[V]) drop(key flight.Fingerprint) {
	m.mu.Lock()
	defer m.mu.Unlock()

	delete(m.items, key)
}
