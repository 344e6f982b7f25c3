package platform

import (
	"bytes"
	"maps"
	"net/http"
	"sync"
)

// Trap stops everything that goes through a gate at exactly one request. From when it is set, the requests that it is for go
// through one at a time. Once it has sprung, all others wait, but for watches.
type Trap struct {
	gate     *Gate
	match    func(Request) bool
	answered bool

	turn     chan struct{} // holds a token while one of the requests is on its way
	left     int           // until it springs; of whose turn it is
	sprung   chan struct{} // closed when it has sprung
	released chan struct{} // closed when all may go on
	release  sync.Once
}

// Set sets a trap for the n-th request, from now on, that the function is true of. With answered, it is for the n-th that
// succeeds: what it asks for is done, and the answer is lost. Otherwise the request is lost, and nothing is done.
func (g *Gate) Set(n int, answered bool, match func(Request) bool) *Trap {
	t := &Trap{
		gate: g, match: match, answered: answered, left: n,
		turn: make(chan struct{}, 1), sprung: make(chan struct{}), released: make(chan struct{}),
	}

	g.mu.Lock()
	defer g.mu.Unlock()

	g.trap = t

	return t
}

// Sprung is closed when the trap has sprung.
func (t *Trap) Sprung() <-chan struct{} { return t.sprung }

// Release takes the trap away. What was caught is lost, what had to wait goes on.
func (t *Trap) Release() {
	t.gate.mu.Lock()
	if t.gate.trap == t {
		t.gate.trap = nil
	}
	t.gate.mu.Unlock()

	t.release.Do(func() { close(t.released) })
}

func (t *Trap) handle(w http.ResponseWriter, r *http.Request, req Request, next http.Handler) {
	if !t.match(req) {
		t.await(r)
		next.ServeHTTP(w, r)

		return
	}

	select {
	case t.turn <- struct{}{}:
		defer func() { <-t.turn }()
	case <-t.sprung:
	case <-r.Context().Done():
		panic(http.ErrAbortHandler)
	}

	t.await(r)

	if t.answered {
		t.after(w, r, next)
	} else {
		t.before(w, r, next)
	}
}

// await lets a request wait while everything is stopped. Who sent it may be gone when it is over, or the gate closed.
func (t *Trap) await(r *http.Request) {
	select {
	case <-t.sprung:
		t.hold(r)
	default:
	}
}

func (t *Trap) hold(r *http.Request) {
	select {
	case <-t.released:
	case <-r.Context().Done():
	}

	if r.Context().Err() != nil {
		panic(http.ErrAbortHandler)
	}
}

func (t *Trap) before(w http.ResponseWriter, r *http.Request, next http.Handler) {
	if t.spring() {
		t.hold(r)
		panic(http.ErrAbortHandler)
	}

	next.ServeHTTP(w, r)
}

func (t *Trap) after(w http.ResponseWriter, r *http.Request, next http.Handler) {
	a := &answer{header: http.Header{}}
	next.ServeHTTP(a, r)

	if a.status < http.StatusBadRequest && t.spring() {
		t.hold(r)
		panic(http.ErrAbortHandler)
	}

	maps.Copy(w.Header(), a.header)
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body.Bytes()) //nolint:errcheck // who is gone needs no answer
}

// spring counts a request, and tells whether it is the one. It is called by whose turn it is, and once more by each that
// waited for its turn when the trap was released.
func (t *Trap) spring() bool {
	select {
	case <-t.sprung:
		return false
	default:
	}

	if t.left--; t.left > 0 {
		return false
	}

	close(t.sprung)

	return true
}

// answer keeps what the API server says.
type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// Header implements http.ResponseWriter.
func (a *answer) Header() http.Header { return a.header }

// WriteHeader implements http.ResponseWriter.
func (a *answer) WriteHeader(status int) { a.status = status }

// Write implements http.ResponseWriter.
func (a *answer) Write(b []byte) (int, error) {
	if a.status == 0 {
		a.status = http.StatusOK
	}

	return a.body.Write(b)
}
