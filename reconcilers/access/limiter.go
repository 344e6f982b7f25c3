package access

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"k8s.io/utils/clock"
)

const (
	defaultMaxInFlight = 128
	startInFlight      = 16
	minInFlight        = 2
	cutPause           = time.Second // one overload answers many requests; they count once
)

// limiter bounds the requests in flight. The bound grows while it is reached and the API server keeps up, and halves
// when the server says that it is overloaded or does not answer in time.
type limiter struct {
	max   float64
	clock clock.PassiveClock

	mu      sync.Mutex
	limit   float64
	flying  int
	waiting list.List // of chan struct{}
	cut     time.Time
}

func newLimiter(most int, c clock.PassiveClock) *limiter {
	if most <= 0 {
		most = defaultMaxInFlight
	}
	return &limiter{max: float64(most), clock: c, limit: float64(min(startInFlight, most))}
}

// acquire waits for a place. Who gets one calls release.
func (l *limiter) acquire(ctx context.Context) error {
	l.mu.Lock()
	if l.waiting.Len() == 0 && l.flying < int(l.limit) {
		l.flying++
		l.mu.Unlock()
		return nil
	}
	turn := make(chan struct{})
	place := l.waiting.PushBack(turn)
	l.mu.Unlock()
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-turn: // came at the same time: pass it on
		l.flying--
		l.admit()
	default:
		l.waiting.Remove(place)
	}
	return fmt.Errorf("wait to send a request: %w", context.Cause(ctx))
}

// release gives the place back, and tells whether the request was served.
func (l *limiter) release(served bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if served && l.flying >= int(l.limit) {
		l.limit = min(l.max, l.limit+1/l.limit)
	}
	l.flying--
	l.admit()
}

func (l *limiter) admit() {
	for l.waiting.Len() > 0 && l.flying < int(l.limit) {
		turn, _ := l.waiting.Remove(l.waiting.Front()).(chan struct{})
		l.flying++
		close(turn)
	}
}

func (l *limiter) overloaded() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := l.clock.Now(); now.Sub(l.cut) >= cutPause {
		l.cut = now
		l.limit = max(minInFlight, l.limit/2)
	}
}

// observe sees every exchange, those that are retried below the clients too.
func (l *limiter) observe(next http.RoundTripper) http.RoundTripper {
	return roundTripperFunc(func(req *http.Request) (*http.Response, error) {
		resp, err := next.RoundTrip(req)
		if isOverload(req.Context(), resp, err) {
			l.overloaded()
		}
		return resp, err
	})
}

// isOverload tells an overloaded server from one that refuses, and from a caller who lost patience.
func isOverload(ctx context.Context, resp *http.Response, err error) bool {
	if err != nil {
		var timeout net.Error
		return ctx.Err() == nil && errors.As(err, &timeout) && timeout.Timeout()
	}
	return resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode == http.StatusGatewayTimeout
}

// roundTripperFunc makes an http.RoundTripper of a function.
type roundTripperFunc func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (f roundTripperFunc) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }
