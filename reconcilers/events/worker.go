package events

import (
	"context"
	"sync"
	"time"
)

// Start makes the workers begin, and returns. They work until Close, or until the context ends. It must be called once.
func (r *Recorder) Start(ctx context.Context) {
	ctx, r.stop = context.WithCancel(ctx)
	r.ended = make(chan struct{})

	var all sync.WaitGroup
	for range workers {
		all.Go(func() { r.work(ctx) })
	}

	go func() {
		all.Wait()
		close(r.ended)
	}()
}

// Close writes what waits, until the context ends at the latest. What could not be written is dropped, as is what comes later.
func (r *Recorder) Close(ctx context.Context) {
	if r.stop == nil {
		return // it was never started
	}

	r.mu.Lock()
	r.closing = true
	for range workers {
		r.rouse()
	}
	r.mu.Unlock()

	select {
	case <-r.ended:
	case <-ctx.Done():
		r.stop()
		<-r.ended
	}

	r.stop()
	r.mu.Lock()
	defer r.mu.Unlock()

	r.closed = true
	for j := r.queue.pop(); j != nil; j = r.queue.pop() {
		r.drop(j.series, "shutdown", "the process ends")
	}
}

func (r *Recorder) work(ctx context.Context) {
	for ctx.Err() == nil {
		j, wait, more := r.next()

		switch {
		case j != nil:
			r.done(j, r.write(ctx, j))
		case more:
			r.sleep(ctx, wait)
		default:
			return
		}
	}
}

// sleep waits for something to do; zero waits for nothing but that.
func (r *Recorder) sleep(ctx context.Context, wait time.Duration) {
	var over <-chan time.Time
	if wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		over = timer.C
	}

	select {
	case <-ctx.Done():
	case <-r.wake:
	case <-over:
	}
}

// next returns a job, or for how long there is none. Without more, there will be none.
func (r *Recorder) next() (j *job, wait time.Duration, more bool) {
	now := r.now()

	r.mu.Lock()
	defer r.mu.Unlock()

	if wait = r.resume.Sub(now); wait > 0 {
		return nil, wait, !r.closing || r.queue.len()+r.late.Len() > 0
	}

	if j = r.queue.pop(); j != nil {
		return j, 0, true
	}

	first := r.late.Front()
	if first == nil {
		return nil, 0, !r.closing
	}

	s, _ := first.Value.(*series)
	if wait = s.due.Sub(now); wait > 0 && !r.closing {
		return nil, wait, true
	}

	r.late.Remove(first)

	return &job{series: s}, 0, true
}

// attempt is an answer and what it was an answer to.
type attempt struct {
	err   error
	count int // that was told
}

// write makes one attempt to write an event.
func (r *Recorder) write(ctx context.Context, j *job) attempt {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()

	r.mu.Lock()
	s := *j.series
	r.mu.Unlock()

	if s.written == 0 {
		return attempt{r.writer.CreateEvent(ctx, s.namespace, j.body), 1}
	}

	body, err := patch(&s)
	if err != nil {
		return attempt{err, s.count}
	}

	err = r.writer.PatchEvent(ctx, s.namespace, s.name, body)
	if answerOf(err) == absent && j.body != nil { // the API server keeps an event for an hour, or less
		err = r.writer.CreateEvent(ctx, s.namespace, j.body)
	}

	return attempt{err, s.count}
}

// done takes note of an answer.
func (r *Recorder) done(j *job, a attempt) {
	now, what := r.now(), answerOf(a.err)

	r.mu.Lock()
	defer r.mu.Unlock()

	if what != outage {
		r.pause, r.resume = 0, time.Time{}
	}

	switch s := j.series; {
	case what == written:
		r.settle(s, a.count, now)
	case what == absent: // nobody reads about what is gone
		r.forget(s)
	case what == outage && j.body == nil:
		r.rest(now)
		r.defers(s, now)
	case what == outage:
		r.rest(now)
		r.push(j)
	case what == failed && j.body != nil && j.attempts+1 < mostAttempts:
		j.attempts++
		r.push(j)
	case what == failed:
		r.drop(s, "failed", cause(a.err))
	default:
		r.drop(s, "refused", cause(a.err))
	}
}

// settle takes note of the count that the API server knows.
func (r *Recorder) settle(s *series, count int, now time.Time) {
	s.busy, s.written, s.told = false, count, now
	if s.count > s.written {
		r.defers(s, now)
	}
}

// rest keeps all workers from asking an API server that takes nothing, for longer each time. Those that asked it at the same time
// count once.
func (r *Recorder) rest(now time.Time) {
	if now.Before(r.resume) {
		return
	}

	r.pause = min(max(2*r.pause, firstPause), longestPause)
	r.resume = now.Add(r.pause)
}
