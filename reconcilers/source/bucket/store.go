package bucket

import (
	"context"
	"errors"
	"io"
	"net/http"

	"github.com/weir-dev/weir/reconcilers/ingest"
)

// object is what a bucket says about one of its objects.
type object struct {
	key  string
	etag string // without quotes
	size int64

	// version optionally names the content that was listed, for those who can ask for it.
	version int64
}

// store is a bucket of some kind of storage. It is used by several goroutines.
type store interface {
	// list visits all objects whose key has the prefix, in any order. Its errors are errNoBucket if there is none, those of the
	// storage, and that of visit.
	list(ctx context.Context, prefix string, visit func(object) error) error

	// open returns the content of an object and its etag, which is another one if the object changed since it was listed. It
	// fails with errGone if there is no such object.
	open(ctx context.Context, o object) (content io.ReadCloser, etag string, err error)
}

var (
	errNoBucket = errors.New("bucket not found")
	errGone     = errors.New("object not found")
)

// pageSize is how many objects a bucket is asked for at a time.
const pageSize = 1000

// maxPage bounds an answer that is no object, in bytes: a page of keys with the greatest length has 4 MiB when they are escaped.
const maxPage = 16 << 20

// newClient returns a client for a storage. What isContent tells to be an object may have maxObject bytes.
func newClient(t http.RoundTripper, maxObject int64, isContent func(*http.Request) bool) *http.Client {
	c := ingest.NewClient(t, func(resp *http.Response) int64 {
		if resp.Request != nil && isContent(resp.Request) {
			return maxObject + 1
		}

		return maxPage
	})
	c.Transport = plain{c.Transport}

	return c
}

// noContent is for servers that hold no objects.
func noContent(*http.Request) bool { return false }

// plain asks for objects as they are stored, and takes no cookies, which libraries would keep.
type plain struct{ http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (p plain) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.Header.Set("Accept-Encoding", "identity")

	resp, err := p.RoundTripper.RoundTrip(req)
	if err == nil {
		resp.Header.Del("Set-Cookie")
	}

	return resp, err //nolint:wrapcheck // http.Client adds the URL
}
