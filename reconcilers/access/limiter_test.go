package access

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"
)

// fill takes n places and returns how many were free.
func fill(t *testing.T, l *limiter, n int) int {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for i := range n {
		if err := l.acquire(ctx); err != nil {
			return i
		}
	}
	return n
}

func TestLimiterGrowsWhileItIsReached(t *testing.T) {
	l := newLimiter(20, clocktesting.NewFakePassiveClock(time.Unix(0, 0)))
	flying := fill(t, l, 100)
	if flying != startInFlight {
		t.Fatalf("starts with %d", flying)
	}
	for range 1000 { // one goes, and others take its place
		l.release(true)
		flying += fill(t, l, 100) - 1
	}
	if flying != 20 {
		t.Errorf("grows to %d, not to its bound", flying)
	}
}

func TestLimiterHalvesOncePerOverload(t *testing.T) {
	clock := clocktesting.NewFakePassiveClock(time.Unix(1000, 0))
	l := newLimiter(0, clock)
	refused := l.observe(roundTripperFunc(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusTooManyRequests, Body: http.NoBody}, nil
	}))
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://server", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	send := func() {
		resp, err := refused.RoundTrip(req)
		if err != nil || resp.StatusCode != http.StatusTooManyRequests {
			t.Fatal("the answer is not passed on")
		}
		resp.Body.Close()
	}
	send()
	send()
	if got := int(l.limit); got != startInFlight/2 {
		t.Errorf("answers to one overload leave %d places", got)
	}
	for range 10 {
		clock.SetTime(clock.Now().Add(cutPause))
		send()
	}
	if got := int(l.limit); got != minInFlight {
		t.Errorf("many overloads leave %d places", got)
	}
}

type timeout struct{ error }

func (timeout) Timeout() bool   { return true }
func (timeout) Temporary() bool { return true }

func TestOverload(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	cases := map[string]struct {
		reason string
		ctx    context.Context
		resp   *http.Response
		err    error
		want   bool
	}{
		"Timeout":  {"a server that does not answer is overloaded", t.Context(), nil, timeout{errors.New("slow")}, true},
		"GivenUp":  {"a caller who does not wait says nothing about it", ended, nil, timeout{errors.New("slow")}, false},
		"Refused":  {"a closed port is no overload", t.Context(), nil, errors.New("refused"), false},
		"Gateway":  {"but one that a gateway waited for in vain is", t.Context(), &http.Response{StatusCode: 504}, nil, true},
		"Conflict": {"a conflict is an answer", t.Context(), &http.Response{StatusCode: 409}, nil, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := isOverload(c.ctx, c.resp, c.err); got != c.want {
				t.Errorf("%s: got %t", c.reason, got)
			}
		})
	}
}

func TestLimiterLetsNobodyDown(t *testing.T) {
	l := newLimiter(1, clocktesting.NewFakePassiveClock(time.Unix(0, 0)))
	if err := l.acquire(t.Context()); err != nil {
		t.Fatal(err)
	}
	impatient, cancel := context.WithCancel(t.Context())
	gave, got := make(chan error), make(chan error)
	go func() { gave <- l.acquire(impatient) }()
	for l.queue() < 1 {
	}
	go func() { got <- l.acquire(t.Context()) }()
	for l.queue() < 2 {
	}
	cancel()
	if err := <-gave; !errors.Is(err, context.Canceled) {
		t.Errorf("who gives up is told so: %v", err)
	}
	l.release(true)
	if err := <-got; err != nil {
		t.Errorf("the next one gets the place: %v", err)
	}
	l.release(false)
	if l.flying != 0 || l.waiting.Len() != 0 {
		t.Errorf("in the end %d fly and %d wait", l.flying, l.waiting.Len())
	}
}

func (l *limiter) queue() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.waiting.Len()
}
