package ingest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

const (
	// errorBytes is how much is read of an answer that is an error.
	errorBytes = 64 << 10

	// stallTimeout is how long a body may bring nothing. Servers that have to think say so in between.
	stallTimeout = time.Minute
)

// Bounded bounds the bodies of answers. What maxBody returns for an answer is how many bytes its body may have, once inflated if
// the transport does that; a body that goes on fails with a *LimitError. A nil maxBody bounds only the bodies of errors, to
// 64 KiB, as does a result of zero. A body that brings nothing for a minute fails, whatever time the request has.
func Bounded(t http.RoundTripper, maxBody func(*http.Response) int64) http.RoundTripper {
	return &boundedTransport{t: t, max: maxBody}
}

// boundedTransport bounds the bodies of answers.
type boundedTransport struct {
	t   http.RoundTripper
	max func(*http.Response) int64
}

// RoundTrip implements http.RoundTripper.
func (b *boundedTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(req.Context())

	resp, err := b.t.RoundTrip(req.WithContext(ctx))
	if err != nil {
		cancel()

		return nil, err //nolint:wrapcheck // http.Client adds the URL
	}

	limit := int64(0)

	switch {
	case resp.StatusCode >= http.StatusBadRequest:
		limit = errorBytes
	case b.max != nil:
		limit = b.max(resp)
	}

	body := &boundedBody{ReadCloser: resp.Body, name: Redact(req.URL.String()), max: limit, left: limit, cancel: cancel}
	body.stall = time.AfterFunc(stallTimeout, cancel)
	body.stall.Stop()
	resp.Body = body

	return resp, nil
}

// CloseIdleConnections lets http.Client do so.
func (b *boundedTransport) CloseIdleConnections() {
	if c, ok := b.t.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// boundedBody fails after its limit, if it has one, and when nothing comes any more.
type boundedBody struct {
	io.ReadCloser

	name      string
	left, max int64
	cancel    context.CancelFunc
	stall     *time.Timer // runs while somebody reads
}

// Read implements io.Reader.
func (b *boundedBody) Read(p []byte) (int, error) {
	b.stall.Reset(stallTimeout)
	n, err := b.ReadCloser.Read(p)

	if !b.stall.Stop() && !errors.Is(err, io.EOF) {
		return n, fmt.Errorf("%q: nothing came for %s", b.name, stallTimeout)
	}

	if b.left -= int64(n); b.max > 0 && b.left < 0 {
		return 0, over(b.max, "bytes per answer", b.name)
	}

	return n, err
}

// Close implements io.Closer.
func (b *boundedBody) Close() error {
	defer b.cancel()

	return b.ReadCloser.Close()
}
