package flight

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
	"weak"
)

// hangar is a group whose results are numbers, with a clock and a count of what was dropped.
type hangar struct {
	Group[string, int]

	now     time.Time
	dropped []int
}

func newHangar(age time.Duration, room int64) *hangar {
	h := &hangar{now: time.Unix(1000, 0)}
	h.Group = Group[string, int]{
		Age: age, Room: room, Now: func() time.Time { return h.now },
		Weigh: func(v int) int64 { return int64(v) },
		Drop:  func(v int) { h.dropped = append(h.dropped, v) },
	}

	return h
}

// fetch joins a flight that ends at once.
func (h *hangar) fetch(t *testing.T, key string, since time.Time, value int) (got int, release func()) {
	t.Helper()

	got, release, err := h.Join(t.Context(), key, since, func(context.Context) (int, error) { return value, nil })
	if err != nil {
		t.Fatal(err)
	}

	return got, release
}

func TestGroupShare(t *testing.T) {
	f := &Group[string, int]{Now: time.Now}
	end := make(chan struct{})

	var runs atomic.Int64
	run := func(context.Context) (int, error) {
		<-end

		return int(runs.Add(1)), nil
	}

	all := make([]*flight[string, int], 0, 10)
	for range 10 {
		all = append(all, f.enter(t.Context(), "k", time.Time{}, run))
	}

	close(end)

	for _, fl := range all {
		<-fl.done
		f.leave(fl)
	}

	if n := runs.Load(); n != 1 || len(f.all) != 0 {
		t.Errorf("%d runs, %d results are kept", n, len(f.all))
	}
}

func TestGroupKeepResults(t *testing.T) {
	h := newHangar(time.Minute, 10)

	_, release := h.fetch(t, "a", time.Time{}, 4)
	release()
	release() // twice is once

	if got, release := h.fetch(t, "a", time.Time{}, 5); got != 4 {
		t.Errorf("got %d: the result was not kept", got)
	} else {
		release()
	}

	h.now = h.now.Add(time.Minute)

	if got, release := h.fetch(t, "a", time.Time{}, 5); got != 5 {
		t.Errorf("got %d: the result was kept for too long", got)
	} else {
		release()
	}

	_, release = h.fetch(t, "b", time.Time{}, 6) // does not fit beside the other one
	release()

	if fmt.Sprint(h.dropped) != "[4 5]" {
		t.Errorf("dropped %v", h.dropped)
	}
}

func TestGroupSince(t *testing.T) {
	h := newHangar(time.Minute, 10)
	first := h.now

	_, release := h.fetch(t, "a", first, 1)
	h.now = h.now.Add(time.Second)

	if got, release := h.fetch(t, "a", first, 2); got != 1 {
		t.Errorf("got %d: the result is new enough", got)
	} else {
		release()
	}

	got, releaseNew := h.fetch(t, "a", h.now, 2)
	if got != 2 {
		t.Errorf("got %d: the result is too old", got)
	}

	release()

	if fmt.Sprint(h.dropped) != "[1]" {
		t.Errorf("dropped %v", h.dropped)
	}

	releaseNew()
}

// Who wants news while a flight is on its way waits for the next one, with all who do.
func TestGroupDoNotOverlap(t *testing.T) {
	var tick atomic.Int64
	f := &Group[string, int]{Now: func() time.Time { return time.Unix(tick.Add(1), 0) }}

	started, end := make(chan struct{}), make(chan struct{})
	results := make(chan int, 3)

	go func() {
		got, _, _ := f.Join(t.Context(), "k", time.Time{}, func(context.Context) (int, error) {
			close(started)
			<-end

			return 1, nil
		})
		results <- got
	}()
	<-started

	var flying, runs atomic.Int64
	next := func(context.Context) (int, error) {
		if flying.Add(1) > 1 {
			t.Error("two flights at a time")
		}
		defer flying.Add(-1)

		return int(runs.Add(1)) + 1, nil
	}

	entered := make(chan struct{}, 2)
	since := time.Unix(tick.Add(1), 0)

	for range 2 {
		go func() {
			fl := f.enter(t.Context(), "k", since, next)
			entered <- struct{}{}
			<-fl.done
			results <- fl.value
		}()
	}

	<-entered
	<-entered
	close(end)

	sum := 0
	for range 3 {
		sum += <-results
	}

	if sum != 1+2+2 || runs.Load() != 1 {
		t.Errorf("sum of results %d, %d runs", sum, runs.Load())
	}
}

func TestGroupFail(t *testing.T) {
	h := newHangar(time.Minute, 10)
	failed := errors.New("failed")

	_, _, err := h.Join(t.Context(), "a", time.Time{}, func(context.Context) (int, error) { return 0, failed })
	if !errors.Is(err, failed) {
		t.Errorf("unexpected error: %v", err)
	}

	_, _, err = h.Join(t.Context(), "a", time.Time{}, func(context.Context) (int, error) { panic("boom") })
	if err == nil || err.Error() != "internal error: boom" {
		t.Errorf("unexpected error: %v", err)
	}

	if got, _ := h.fetch(t, "a", time.Time{}, 3); got != 3 || len(h.dropped) != 0 {
		t.Errorf("got %d, dropped %v", got, h.dropped)
	}
}

// The flight goes on as long as anybody waits, and what comes in after the last one left is dropped.
func TestGroupAreAbandoned(t *testing.T) {
	dropped := make(chan int, 1)
	f := &Group[string, int]{Now: time.Now, Age: time.Minute, Room: 10, Drop: func(v int) { dropped <- v }}

	started, stopped := make(chan struct{}), make(chan struct{})
	run := func(ctx context.Context) (int, error) {
		close(started)
		<-ctx.Done()
		close(stopped)

		return 9, nil
	}

	first, cancelFirst := context.WithCancel(t.Context())
	second, cancelSecond := context.WithCancelCause(t.Context())
	late := errors.New("late")

	fl := f.enter(first, "k", time.Time{}, run)
	<-started

	done := make(chan error)
	go func() {
		_, _, err := f.Join(second, "k", time.Time{}, run)
		done <- err
	}()

	for joined := false; !joined; { // until the second one is on board
		f.mu.Lock()
		joined = fl.users == 2
		f.mu.Unlock()
	}

	cancelFirst()
	f.leave(fl)

	select {
	case <-stopped:
		t.Error("the flight stopped though somebody waits")
	default:
	}

	cancelSecond(late)

	if err := <-done; !errors.Is(err, late) {
		t.Errorf("unexpected error: %v", err)
	}

	<-stopped

	if got := <-dropped; got != 9 {
		t.Errorf("dropped %d", got)
	}
}

func TestMemo(t *testing.T) {
	m := Memo[string, int]{Size: 2}
	m.Put("a", 1)
	m.Put("b", 2)
	m.Put("a", 3)
	m.Put("c", 4)

	if _, ok := m.Get("b"); ok {
		t.Error("the fact asked for least is still there")
	}

	if v, ok := m.Get("a"); !ok || v != 3 {
		t.Errorf("got %d, %t", v, ok)
	}
}

// A result that is kept does not keep what was in the context of who asked first.
func TestGroupLetsGo(t *testing.T) {
	type key struct{}

	h := newHangar(time.Minute, 10)
	held := &[1024]byte{}
	seen := weak.Make(held)

	_, release, err := h.Join(context.WithValue(t.Context(), key{}, held), "k", time.Time{},
		func(context.Context) (int, error) { return 1, nil })
	if err != nil {
		t.Fatal(err)
	}

	runtime.KeepAlive(held)
	release()

	defer runtime.KeepAlive(h)

	for range 100 { // the goroutine may not be gone yet
		if runtime.GC(); seen.Value() == nil {
			return
		}

		runtime.Gosched()
	}

	t.Error("the context is still there")
}

func TestMemoRoom(t *testing.T) {
	m := Memo[string, int]{Size: 10, Room: 5, Weigh: func(v int) int64 { return int64(v) }}
	m.Put("a", 2)
	m.Put("b", 3)
	m.Put("a", 1)
	m.Put("c", 2)
	m.Put("d", 6)

	kept := ""
	for _, key := range []string{"a", "b", "c", "d"} {
		if _, ok := m.Get(key); ok {
			kept += key
		}
	}

	if kept != "ac" || m.weight != 3 {
		t.Errorf("kept %q of weight %d", kept, m.weight)
	}

	m.Put("e", 4)
	m.Put("f", 1)
	m.Put("g", 1)

	if _, ok := m.Get("e"); ok || m.weight != 2 {
		t.Errorf("weight %d, the heaviest is there: %t", m.weight, ok)
	}
}
