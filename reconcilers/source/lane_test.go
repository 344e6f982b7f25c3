package source

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"
)

// stall waits as one does for a server that does not answer: until its context ends, or release is closed.
func stall(release <-chan struct{}) func(context.Context) error {
	return func(ctx context.Context) error {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-release:
			return nil
		}
	}
}

// occupy lets somebody of the namespace wait in the lane until release is closed. It returns the channel with the result.
func occupy(t *testing.T, l *Lane, namespace string, release <-chan struct{}) <-chan error {
	t.Helper()

	count := func() int {
		l.mu.Lock()
		defer l.mu.Unlock()

		return l.all
	}

	before, done := count(), make(chan error, 1)

	go func() { done <- l.run(t.Context(), namespace, stall(release)) }()

	for count() == before {
		runtime.Gosched()
	}

	return done
}

func TestLane(t *testing.T) {
	l := NewLane(5, time.Millisecond) // room for four, two of one namespace
	release := make(chan struct{})

	waiting := []<-chan error{occupy(t, l, "a", release), occupy(t, l, "a", release)}

	if err := l.run(t.Context(), "a", stall(nil)); !errors.Is(err, errBusy) || !strings.HasPrefix(err.Error(), "gave up after 1ms: ") {
		t.Errorf("a third one of the namespace: %v", err)
	}

	waiting = append(waiting, occupy(t, l, "b", release), occupy(t, l, "c", release))

	if err := l.run(t.Context(), "d", stall(nil)); !errors.Is(err, errBusy) {
		t.Errorf("a fifth one: %v", err)
	}

	// Who is fast needs no room, and what fails does so in its own words.
	refused := errors.New("refused")
	if err := l.run(t.Context(), "d", func(context.Context) error { return refused }); err != refused { //nolint:errorlint // the very same
		t.Errorf("a fast one: %v", err)
	}

	close(release)

	for _, done := range waiting {
		if err := <-done; err != nil {
			t.Errorf("one that waited: %v", err)
		}
	}

	if l.all != 0 || len(l.users) != 0 {
		t.Errorf("%d are left, %v", l.all, l.users)
	}
}

func TestLaneDefaults(t *testing.T) {
	for workers, want := range map[int][2]int{0: {8, 5}, 1: {1, 1}, 2: {1, 1}, 50: {40, 25}} {
		if l := NewLane(workers, 0); l.room != want[0] || l.share != want[1] || l.patience != 10*time.Second {
			t.Errorf("%d workers: %+v", workers, l)
		}
	}
}

// What ends for another reason is not put down to the lane.
func TestLaneEnds(t *testing.T) {
	l := NewLane(5, time.Hour)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()

	if err := l.run(ctx, "a", stall(nil)); !errors.Is(err, context.Canceled) || errors.Is(err, errBusy) {
		t.Errorf("error: %v", err)
	}
}

// Somebody who panics must not take up room for ever.
func TestLanePanic(t *testing.T) {
	l := NewLane(5, time.Millisecond)

	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic is lost")
			}
		}()

		_ = l.run(t.Context(), "a", func(context.Context) error {
			for full := false; !full; runtime.Gosched() {
				l.mu.Lock()
				full = l.all == 1
				l.mu.Unlock()
			}

			panic("no idea")
		})
	}()

	if l.all != 0 || len(l.users) != 0 {
		t.Errorf("%d wait, %v", l.all, l.users)
	}
}
