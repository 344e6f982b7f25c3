// Package accesstest counts the requests that clients send, for tests and benchmarks that hold a budget of them. It
// counts what really goes over the wire, retries included, and changes nothing.
package accesstest

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// Counter counts requests by what they do. Its zero value is ready; its methods may be called concurrently.
type Counter struct {
	mu     sync.Mutex
	counts map[string]int
}

// Transport wraps a transport, as access.Options.Transport has it.
func (c *Counter) Transport(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		c.mu.Lock()
		if c.counts == nil {
			c.counts = map[string]int{}
		}
		c.counts[Verb(req)]++
		c.mu.Unlock()
		return next.RoundTrip(req)
	})
}

// Verb names what a request does: apply, dry-run, patch, create, update, delete, get, list, watch or discover.
func Verb(req *http.Request) string {
	q := req.URL.Query()
	switch req.Method {
	case http.MethodPatch:
		return patch(req.Header.Get("Content-Type"), q.Has("dryRun"))
	case http.MethodPost:
		return "create"
	case http.MethodPut:
		return "update"
	case http.MethodDelete:
		return "delete"
	}
	parts := strings.Split(strings.Trim(req.URL.Path, "/"), "/")
	switch {
	case q.Has("watch"):
		return "watch"
	case len(parts) <= 1 || (parts[0] == "apis" && len(parts) <= 3) || (parts[0] == "api" && len(parts) == 2):
		return "discover"
	case q.Has("limit"):
		return "list"
	}
	return "get"
}

func patch(contentType string, dry bool) string {
	switch {
	case dry:
		return "dry-run"
	case strings.Contains(contentType, "apply-patch"):
		return "apply"
	}
	return "patch"
}

// Take returns how many requests of each verb there were since the last Take, without those of verbs that are named.
func (c *Counter) Take(without ...string) map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := c.counts
	c.counts = nil
	for _, verb := range without {
		delete(out, verb)
	}
	if out == nil {
		out = map[string]int{}
	}
	return out
}

// String lists the counts, such as "apply 3, dry-run 3".
func (c *Counter) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []string
	for _, verb := range slices.Sorted(maps.Keys(c.counts)) {
		out = append(out, fmt.Sprintf("%s %d", verb, c.counts[verb]))
	}
	return strings.Join(out, ", ")
}

type roundTripper func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }
