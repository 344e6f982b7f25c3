package access

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/utils/clock"
)

const (
	minPeace = 5 * time.Second
	maxPeace = 2 * time.Minute

	// maxAnswer is how long an answer of a remote cluster may be, in bytes, but for watches, whose events are bounded.
	maxAnswer = 64 << 20
	// maxDiscovery is how long one may be that tells what is served: some thousand kinds take a twentieth of that.
	maxDiscovery = 16 << 20
)

// UnreachableError says that a remote cluster does not answer, and is asked again later.
type UnreachableError struct {
	// Until is when it makes sense to ask again.
	Until time.Time
	// Err is what happened.
	Err error
}

// Error implements error.
func (e *UnreachableError) Error() string {
	return fmt.Sprintf("the cluster cannot be reached: %v", e.Err)
}

// Unwrap returns what happened.
func (e *UnreachableError) Unwrap() error { return e.Err }

// errPeace is what a request gets that is not sent. It does not quote why the one before failed: client-go looks for some of
// these words, and would try again.
var errPeace = errors.New("a request has failed, and it is left in peace for a while")

// probing is the key of a context whose request is sent even over a line that is down.
type probing struct{}

// line tells whether a remote cluster answers. One request that does not come through is enough: all others would take as
// long to find out, and occupy who has something else to do.
type line struct {
	clock clock.PassiveClock
	room  *Room

	mu    sync.Mutex
	err   error // nil: up
	peace time.Duration
	until time.Time
}

func newLine(c clock.PassiveClock) *line {
	if c == nil {
		c = clock.RealClock{}
	}

	return &line{clock: c}
}

func (l *line) down() *UnreachableError {
	l.mu.Lock()
	defer l.mu.Unlock()

	if l.err == nil || !l.clock.Now().Before(l.until) {
		return nil
	}

	return &UnreachableError{Until: l.until, Err: l.err}
}

func (l *line) broken() bool {
	l.mu.Lock()
	defer l.mu.Unlock()

	return l.err != nil
}

// broke notes that a request did not come through. What fails while the line is down counts once.
func (l *line) broke(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()

	now := l.clock.Now()
	if l.err != nil && now.Before(l.until) {
		return
	}

	l.err, l.peace = err, min(max(2*l.peace, minPeace), maxPeace)
	l.until = now.Add(l.peace)
}

func (l *line) answered() {
	l.mu.Lock()
	defer l.mu.Unlock()

	l.err, l.peace = nil, 0
}

// wrap sees every exchange.
func (l *line) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripperFunc(func(req *http.Request) (*http.Response, error) {
		ctx := req.Context()

		if down := l.down(); down != nil && ctx.Value(probing{}) == nil {
			return nil, &UnreachableError{Until: down.Until, Err: errPeace}
		}

		resp, err := next.RoundTrip(req)
		if err != nil {
			if !errors.Is(ctx.Err(), context.Canceled) { // else the caller has lost interest
				l.broke(err)
			}

			return nil, err
		}

		if resp.StatusCode >= 300 && resp.StatusCode < 400 {
			_ = resp.Body.Close()

			return nil, fmt.Errorf("the cluster answers with a redirect (%d), which is not followed", resp.StatusCode)
		}

		if resp.StatusCode != http.StatusOK || !req.URL.Query().Has("watch") { // a refused watch has an answer like any other
			l.measure(req, resp)
		}

		return resp, nil
	})
}

// measure bounds the body of an answer. The cluster has answered when it has been read.
func (l *line) measure(req *http.Request, resp *http.Response) {
	if req.Method == http.MethodHead || resp.ContentLength == 0 {
		l.answered()
	}

	resp.Body = &answer{ReadCloser: resp.Body, ctx: req.Context(), line: l, left: longest(req.URL.Path)}
}

// longest returns how long the answer to a request for the path may be.
func longest(path string) int64 {
	if strings.HasSuffix(path, "/api") || strings.HasSuffix(path, "/apis") {
		return maxDiscovery
	}

	return maxAnswer
}

// answer is the body of an answer, which is bounded, and has to come.
type answer struct {
	io.ReadCloser
	ctx   context.Context //nolint:containedctx // of the request that this is the answer to
	line  *line
	left  int64
	taken atomic.Int64 // of the room
}

// Close implements io.Closer.
func (a *answer) Close() error {
	a.line.room.Give(a.taken.Swap(0))

	return a.ReadCloser.Close()
}

// Read implements io.Reader.
func (a *answer) Read(p []byte) (int, error) {
	n, err := a.ReadCloser.Read(p)

	if a.left -= int64(n); a.left < 0 {
		return 0, fmt.Errorf("the answer of the cluster is longer than the %d bytes that it may have", a.left+a.taken.Load()+int64(n))
	}

	if full := a.line.room.Take(int64(n)); full != nil {
		return 0, fmt.Errorf("read the answer of the cluster: %w", full)
	}

	a.taken.Add(int64(n))

	switch {
	case err == nil, errors.Is(a.ctx.Err(), context.Canceled):
	case errors.Is(err, io.EOF):
		a.line.answered() // not before: a server that begins to answer and never ends holds who waits for it
	default:
		a.line.broke(err)
	}

	return n, err
}
