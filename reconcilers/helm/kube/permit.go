package kube

import (
	"context"
	"fmt"
	"sync"
)

// Permit lets its holder work. Waits give it back, so that others may.
type Permit interface {
	// Release gives the permit back. It does nothing for who does not hold it.
	Release()
	// Take waits until the permit is there again. After an error it is not held.
	Take(ctx context.Context) error
}

// Permits bound how many actions work at the same time. Those that wait do not count.
type Permits struct{ places chan struct{} }

// NewPermits makes so many permits, at least one.
func NewPermits(n int) *Permits { return &Permits{places: make(chan struct{}, max(n, 1))} }

// admission is the key of the permit that a context carries.
type admission struct{}

// Admit waits for a permit, so that what has to wait for one does not begin. The context carries it to the first Take, and done gives
// it back, whoever has it by then. The error is that of the context.
func (p *Permits) Admit(ctx context.Context) (with context.Context, done func(), err error) {
	one := &permit{places: p.places}
	if err := one.Take(ctx); err != nil {
		return ctx, func() {}, err
	}
	return context.WithValue(ctx, admission{}, one), one.Release, nil
}

// Take waits for a permit, or returns the one that the context carries. One of others is given back. The error is that of the context.
func (p *Permits) Take(ctx context.Context) (Permit, error) {
	one, ok := ctx.Value(admission{}).(*permit)
	if ok && one.places != p.places {
		one.Release()
	}
	if !ok || one.places != p.places {
		one = &permit{places: p.places}
	}
	if err := one.Take(ctx); err != nil {
		return nil, err
	}
	return one, nil
}

type permit struct {
	places chan struct{}

	mu   sync.Mutex
	held bool
}

// Release implements Permit.
func (p *permit) Release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held {
		p.held = false
		<-p.places
	}
}

// Take implements Permit.
func (p *permit) Take(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held {
		return nil
	}
	select {
	case p.places <- struct{}{}:
		p.held = true
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for a turn to work: %w", context.Cause(ctx))
	}
}
