package transport

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"

	"github.com/weir-dev/weir/reconcilers/ingest"
)

const (
	serviceQuery      = "?service=git-upload-pack"
	refsPath          = "/info/refs"
	packPath          = "/git-upload-pack"
	typeAdvertisement = "application/x-git-upload-pack-advertisement"
	typeRequest       = "application/x-git-upload-pack-request"
	typeResult        = "application/x-git-upload-pack-result"
)

// httpTransport speaks smart HTTP.
type httpTransport struct {
	client      *http.Client
	credentials Credentials

	mu   sync.Mutex
	base string // of the repository; a redirect moves it
	own  bool   // base is where the credentials belong
}

func newHTTP(client *http.Client, u *url.URL, c Credentials) *httpTransport {
	return &httpTransport{client: client, credentials: c, base: strings.TrimRight(u.String(), "/"), own: true}
}

// List implements Transport.
func (t *httpTransport) List(ctx context.Context) (*packp.AdvRefs, error) {
	t.mu.Lock()
	base, own := t.base, t.own
	t.mu.Unlock()

	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+refsPath+serviceQuery, nil)
	if err != nil {
		return nil, ingest.RedactError(err)
	}

	resp, err := t.do(req, own)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()

	if !strings.HasPrefix(resp.Header.Get("Content-Type"), typeAdvertisement) {
		return nil, errNotGit
	}

	if err := t.move(base, resp.Request.URL); err != nil {
		return nil, err
	}

	adv, err := readAdvertised(resp.Body)
	drain(resp.Body)

	return adv, err
}

// Fetch implements Transport.
func (t *httpTransport) Fetch(ctx context.Context, request *packp.UploadRequest) (io.ReadCloser, error) {
	raw, err := encode(request)
	if err != nil {
		return nil, err
	}

	t.mu.Lock()
	base, own := t.base, t.own
	t.mu.Unlock()

	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+packPath, bytes.NewReader(raw))
	if err != nil {
		return nil, ingest.RedactError(err)
	}

	req.Header.Set("Content-Type", typeRequest)
	req.Header.Set("Accept", typeResult)

	resp, err := t.do(req, own)
	if err != nil {
		return nil, err
	}

	if !strings.HasPrefix(resp.Header.Get("Content-Type"), typeResult) {
		_ = resp.Body.Close()

		return nil, errNotGit
	}

	return openPack(request, &drained{ReadCloser: resp.Body})
}

func (t *httpTransport) do(req *http.Request, own bool) (*http.Response, error) {
	req.Header.Set("User-Agent", "git/"+capability.DefaultAgent()) // some servers answer only to git

	if own {
		t.credentials.authorize(req)
	}

	resp, err := t.client.Do(req)
	if err != nil {
		return nil, ingest.RedactError(err)
	}

	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}

	drain(resp.Body)
	_ = resp.Body.Close()

	switch resp.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		return nil, fmt.Errorf("%w: %s", ErrDenied, ingest.Status(resp))
	case http.StatusNotFound, http.StatusGone:
		return nil, fmt.Errorf("%w: %s", errNoRepo, ingest.Status(resp))
	}

	return nil, fmt.Errorf("the server answers %q", ingest.Status(resp))
}

// move remembers where a redirect of the listing has led to, for the requests that follow.
func (t *httpTransport) move(base string, to *url.URL) error {
	path, ok := strings.CutSuffix(to.Path, refsPath)
	if !ok {
		return fmt.Errorf("redirect to %q, which is no repository", ingest.Redact(to.String()))
	}

	moved := *to
	moved.Path, moved.RawPath, moved.RawQuery, moved.User = path, "", "", nil

	if moved.String() == base {
		return nil
	}

	from, err := url.Parse(base)
	if err != nil {
		return fmt.Errorf("parse URL: %w", ingest.RedactError(err))
	}

	t.mu.Lock()
	defer t.mu.Unlock()

	t.base = moved.String()
	t.own = t.own && ingest.SameOrigin(from, &moved)

	return nil
}

// drain reads the rest of a body, if it is small, so that the connection can be used again.
func drain(r io.Reader) { _, _ = io.CopyN(io.Discard, r, 64<<10) }

// drained is a body that is drained before it is closed.
type drained struct{ io.ReadCloser }

// Close implements io.Closer.
func (d *drained) Close() error {
	drain(d.ReadCloser)

	return d.ReadCloser.Close()
}
