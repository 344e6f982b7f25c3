package registry

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
)

// maxParts bounds the parts of a document in JSON. A part of a few bytes takes hundreds of them once it is read: without this
// bound, the memory that a document takes would have nothing to do with its size.
const maxParts = 50_000

// frugal fails in a document that has too many parts, which are told by the commas between them.
type frugal struct {
	io.ReadCloser

	parts int
}

// Read implements io.Reader.
func (f *frugal) Read(p []byte) (int, error) {
	n, err := f.ReadCloser.Read(p)

	if f.parts += bytes.Count(p[:n], []byte{','}); f.parts > maxParts {
		return 0, fmt.Errorf("the document has more than %d parts", maxParts)
	}

	return n, err //nolint:wrapcheck // io.EOF has to stay what it is
}

// frugalTransport makes the bodies of answers frugal.
type frugalTransport struct{ http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (t frugalTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.RoundTripper.RoundTrip(req)
	if err != nil {
		return nil, err //nolint:wrapcheck // http.Client adds the URL
	}

	resp.Body = &frugal{ReadCloser: resp.Body}

	return resp, nil
}
