package artifact

import (
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"time"

	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/ingest"
)

const (
	// connectTimeout is how long a store may take to take a connection. One that is away may not even refuse it.
	connectTimeout = 5 * time.Second

	// answerTimeout is how long it may take until it begins to answer: a file that is there, or on its way.
	answerTimeout = 15 * time.Second
)

// NewTransport returns a transport to other stores, which refuses link-local addresses: statuses say where they are. It makes a connection
// for each request: behind a Service, one that is kept leads to the process that it always led to, though that may have lost its network
// and another one have taken its place.
func NewTransport() *http.Transport {
	t := ingest.NewTransport(ingest.HTTPOptions{Allow: ingest.RefuseLinkLocal})
	dialer := ingest.NewDialer(ingest.RefuseLinkLocal)
	dialer.Timeout = connectTimeout
	t.DialContext, t.ResponseHeaderTimeout, t.DisableKeepAlives = dialer.DialContext, answerTimeout, true

	return t
}

func newClient() *http.Client { return ingest.NewClient(NewTransport(), nil) }

// transferError is an ErrUnavailable that says why.
type transferError struct{ err error }

// Error implements error.
func (e *transferError) Error() string { return e.err.Error() }

// Unwrap returns the cause.
func (e *transferError) Unwrap() error { return e.err }

// Is tells errors.Is what it is.
func (e *transferError) Is(target error) bool { return target == ErrUnavailable }

// download returns the file of an artifact from where it is served; what is more than its size does not come through. It fails
// with ErrNotFound if it is not there, and with ErrUnavailable if the server does not say.
func download(ctx context.Context, client *http.Client, a *meta.Artifact) (io.ReadCloser, error) {
	url := ingest.Redact(a.URL)

	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.URL, nil)
	if err != nil {
		return nil, fmt.Errorf("fetch artifact %q: %w", url, ingest.RedactError(err))
	}

	req.Header.Set("Accept-Encoding", "identity") // the digest is that of the file

	resp, err := client.Do(req)
	if err != nil {
		return nil, &transferError{fmt.Errorf("fetch artifact %q: %w", url, ingest.RedactError(err))}
	}

	if err := judge(resp); err != nil {
		_ = resp.Body.Close()

		return nil, err
	}

	if a.Size != nil && *a.Size >= 0 && *a.Size < math.MaxInt64 { // one more gives another digest
		return struct {
			io.Reader
			io.Closer
		}{io.LimitReader(resp.Body, *a.Size+1), resp.Body}, nil
	}

	return resp.Body, nil
}

// judge says what is wrong with an answer.
func judge(resp *http.Response) error {
	url := ingest.Redact(resp.Request.URL.String())

	switch {
	case resp.StatusCode == http.StatusNotFound, resp.StatusCode == http.StatusGone:
		return fmt.Errorf("fetch artifact %q: %w: %s", url, ErrNotFound, ingest.Status(resp))
	case resp.StatusCode >= http.StatusInternalServerError, resp.StatusCode == http.StatusTooManyRequests:
		return &transferError{fmt.Errorf("fetch artifact %q: %s", url, ingest.Status(resp))}
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("fetch artifact %q: %s", url, ingest.Status(resp))
	}

	return nil
}
