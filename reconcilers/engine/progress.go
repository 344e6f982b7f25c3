package engine

import (
	"context"
	"sync"
	"time"
)

// runKey finds the notes of a run in its context.
type runKey struct{}

// notes is what the steps may tell the runner while they run.
type notes struct {
	progress *progress
	events   *emitted
	save     func(ctx context.Context, message string) error
}

// Progress says what the run is doing now. It costs nothing unless the run lasts: then the latest message is written to
// the Reconciling condition, once and again when it changes.
func Progress(ctx context.Context, message string) {
	if n, ok := ctx.Value(runKey{}).(*notes); ok {
		n.progress.set(message)
	}
}

// Save writes the status as it is now, with the latest message of Progress in Reconciling. It is for steps that are about to do what
// the next run has to know of if the process is killed meanwhile. Without a runner it does nothing.
func Save(ctx context.Context) error {
	if n, ok := ctx.Value(runKey{}).(*notes); ok {
		return n.progress.now(func(message string) error { return n.save(ctx, message) })
	}

	return nil
}

// Emit adds an event to those of the run. It is recorded after the status was patched.
func Emit(ctx context.Context, e Event) {
	if n, ok := ctx.Value(runKey{}).(*notes); ok {
		n.events.add(e)
	}
}

// emitted collects events; steps may emit from several goroutines.
type emitted struct {
	mu   sync.Mutex
	list []Event
}

func (e *emitted) add(event Event) {
	e.mu.Lock()
	defer e.mu.Unlock()

	e.list = append(e.list, event)
}

func (e *emitted) take() []Event {
	e.mu.Lock()
	defer e.mu.Unlock()

	list := e.list
	e.list = nil

	return list
}

// progress writes the latest message when the run has lasted for a while, and not more often than that. A step that says
// what it does never waits for a write of what it said before.
type progress struct {
	every time.Duration
	write func(message string)

	writing sync.Mutex // held during a write, so that stop can wait for it
	mu      sync.Mutex // guards the fields below, and is never held during a write
	timer   *time.Timer
	message string
	written string
	stopped bool
}

func newProgress(every time.Duration, write func(message string)) *progress {
	p := &progress{every: every, write: write, message: progressMessage}
	p.mu.Lock()
	defer p.mu.Unlock()

	p.timer = time.AfterFunc(every, p.tick)

	return p
}

func (p *progress) set(message string) {
	p.mu.Lock()
	defer p.mu.Unlock()

	p.message = message
}

func (p *progress) tick() {
	p.writing.Lock()
	defer p.writing.Unlock()

	if message := p.next(); message != "" {
		p.write(message)
	}

	p.mu.Lock()
	defer p.mu.Unlock()

	if !p.stopped {
		p.timer.Reset(p.every)
	}
}

// now writes something with the latest message, and not at the same time as another one.
func (p *progress) now(write func(message string) error) error {
	p.writing.Lock()
	defer p.writing.Unlock()

	p.mu.Lock()
	message := p.message
	p.written = message
	p.mu.Unlock()

	return write(message)
}

// next returns the message to write, or nothing if there is none.
func (p *progress) next() string {
	p.mu.Lock()
	defer p.mu.Unlock()

	if p.stopped || p.message == p.written {
		return ""
	}

	p.written = p.message

	return p.message
}

// stop returns when no write is on its way, and none will be.
func (p *progress) stop() {
	p.mu.Lock()
	p.stopped = true
	p.timer.Stop()
	p.mu.Unlock()

	p.writing.Lock()
	defer p.writing.Unlock()
}
