package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/weir-dev/weir/reconcilers/ingest"
)

// Errors that callers may want to tell apart, with errors.Is.
var (
	// ErrUnauthorized says that the credentials, or their absence, do not suffice.
	ErrUnauthorized = errors.New("not authorized")

	// ErrNotFound says that the registry does not have what is asked for.
	ErrNotFound = errors.New("not found")

	// ErrRateLimited says that the registry wants to be left alone for a while. Nobody asks it anything until then.
	ErrRateLimited = errors.New("the registry takes no more requests for a while")
)

// StatusError is an answer that is an error. Of what the registry says about it, only the code is passed on: the rest could be
// anything.
type StatusError struct {
	// Method and URL of the request. The URL holds no secrets.
	Method, URL string

	// Status is the HTTP status code.
	Status int

	// Code is that of the distribution specification, such as MANIFEST_UNKNOWN. It may be empty.
	Code string
}

// Error implements error.
func (e *StatusError) Error() string {
	s := fmt.Sprintf("%s %s: %s", e.Method, e.URL, ingest.Status(&http.Response{StatusCode: e.Status}))
	if e.Code != "" {
		s += " (" + e.Code + ")"
	}

	return s
}

// Is implements the interface of errors.Is.
func (e *StatusError) Is(target error) bool {
	switch e.Status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return target == ErrUnauthorized
	case http.StatusNotFound:
		return target == ErrNotFound
	case http.StatusTooManyRequests:
		return target == ErrRateLimited
	}

	return false
}

// checkStatus returns the error of an answer with another status than wanted. The body of one that is an error is read.
func checkStatus(resp *http.Response, want ...int) error {
	if slices.Contains(want, resp.StatusCode) {
		return nil
	}

	body, _ := io.ReadAll(io.LimitReader(resp.Body, errorBytes)) // without the code, the status has to do

	return &StatusError{
		Method: resp.Request.Method, URL: shown(resp.Request.URL),
		Status: resp.StatusCode, Code: codeOf(body),
	}
}

// errorBytes is how much is read of an answer that is an error.
const errorBytes = 64 << 10

// maxCode is how long a code may be, in bytes.
const maxCode = 40

// codeOf returns the first code in the body of an error.
func codeOf(body []byte) string {
	var all struct {
		Errors []struct {
			Code string `json:"code"`
		} `json:"errors"`
	}

	if json.Unmarshal(body, &all) != nil || len(all.Errors) == 0 {
		return ""
	}

	if code := all.Errors[0].Code; len(code) <= maxCode && strings.Trim(code, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_") == "" {
		return code
	}

	return ""
}

// failedRequest says which request did not come to an answer.
func failedRequest(req *http.Request, err error) error {
	return fmt.Errorf("%s %s: %w", req.Method, shown(req.URL), ingest.RedactError(err))
}

// maxShown bounds a URL in an error, in bytes: a redirect may lead to one of any length.
const maxShown = 512

// shown returns a URL as people may see it.
func shown(u *url.URL) string {
	s := ingest.Redact(u.String())
	if len(s) > maxShown {
		s = s[:maxShown] + "…"
	}

	return s
}

// discard reads the rest of a body, if it is short, so that its connection can be used again, and closes it.
func discard(body io.ReadCloser) {
	_, _ = io.Copy(io.Discard, io.LimitReader(body, errorBytes))
	_ = body.Close()
}

// sameHost tells whether a URL or address is on the host, with its port.
func sameHost(a, b string) bool { return strings.EqualFold(a, b) }
