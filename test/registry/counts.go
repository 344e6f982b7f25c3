package registry

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// Counts are the requests that a registry got.
type Counts struct {
	// Pings ask whether there is a registry.
	Pings int64

	// Tokens were asked for.
	Tokens int64

	// Heads of manifests, and Manifests.
	Heads, Manifests int64

	// Blobs were asked for.
	Blobs int64

	// Tags were listed, page by page.
	Tags int64

	// Referrers were listed.
	Referrers int64

	// Others are all other requests.
	Others int64

	// Refused is how many of all were not authorized.
	Refused int64
}

// All returns how many requests there were.
func (c Counts) All() int64 {
	return c.Pings + c.Tokens + c.Heads + c.Manifests + c.Blobs + c.Tags + c.Referrers + c.Others
}

// Since returns what came after an earlier count.
func (c Counts) Since(o Counts) Counts {
	return Counts{
		Pings: c.Pings - o.Pings, Tokens: c.Tokens - o.Tokens, Heads: c.Heads - o.Heads, Manifests: c.Manifests - o.Manifests,
		Blobs: c.Blobs - o.Blobs, Tags: c.Tags - o.Tags, Referrers: c.Referrers - o.Referrers, Others: c.Others - o.Others,
		Refused: c.Refused - o.Refused,
	}
}

// maxRequests bounds the log.
const maxRequests = 10_000

// counter counts requests from several goroutines.
type counter struct {
	pings, tokens, heads, manifests, blobs, tags, referrers, others, refused atomic.Int64

	mu       sync.Mutex
	requests []string
}

func (c *counter) count(req *http.Request) {
	c.of(req).Add(1)

	c.mu.Lock()
	defer c.mu.Unlock()

	if len(c.requests) < maxRequests {
		c.requests = append(c.requests, req.Method+" "+req.URL.Path)
	}
}

func (c *counter) of(req *http.Request) *atomic.Int64 {
	path := req.URL.Path

	switch {
	case path == tokenPath:
		return &c.tokens
	case path == "/v2/":
		return &c.pings
	case strings.Contains(path, "/manifests/") && req.Method == http.MethodHead:
		return &c.heads
	case strings.Contains(path, "/manifests/") && req.Method == http.MethodGet:
		return &c.manifests
	case strings.Contains(path, "/blobs/") && req.Method == http.MethodGet:
		return &c.blobs
	case strings.HasSuffix(path, "/tags/list"):
		return &c.tags
	case strings.Contains(path, "/referrers/"):
		return &c.referrers
	}

	return &c.others
}

func (c *counter) counts() Counts {
	return Counts{
		Pings: c.pings.Load(), Tokens: c.tokens.Load(), Heads: c.heads.Load(), Manifests: c.manifests.Load(),
		Blobs: c.blobs.Load(), Tags: c.tags.Load(), Referrers: c.referrers.Load(), Others: c.others.Load(),
		Refused: c.refused.Load(),
	}
}

func (c *counter) all() []string {
	c.mu.Lock()
	defer c.mu.Unlock()

	return append([]string(nil), c.requests...)
}

// listTags lists tags in pages, with links from one to the next.
func (s *Server) listTags(w http.ResponseWriter, req *http.Request) {
	n, err := strconv.Atoi(req.URL.Query().Get("n"))
	if err != nil || n <= 0 {
		s.backend.ServeHTTP(w, req)

		return
	}

	whole := req.Clone(req.Context())
	whole.URL = &url.URL{Path: req.URL.Path}

	out := httptest.NewRecorder()
	s.backend.ServeHTTP(out, whole)

	var list struct {
		Name string   `json:"name"`
		Tags []string `json:"tags"`
	}

	if out.Code != http.StatusOK || json.Unmarshal(out.Body.Bytes(), &list) != nil {
		w.WriteHeader(out.Code)
		_, _ = w.Write(out.Body.Bytes())

		return
	}

	last := req.URL.Query().Get("last")
	for len(list.Tags) > 0 && list.Tags[0] <= last {
		list.Tags = list.Tags[1:]
	}

	if len(list.Tags) > n {
		list.Tags = list.Tags[:n]
		w.Header().Set("Link", fmt.Sprintf(`<%s?n=%d&last=%s>; rel="next"`, req.URL.Path, n, list.Tags[n-1]))
	}

	if err := json.NewEncoder(w).Encode(list); err != nil { // nobody waits for it any more
		return
	}
}
