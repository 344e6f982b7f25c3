package registry

import (
	"crypto/rand"
	"crypto/subtle"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
)

const tokenPath = "/token"

// tokens are those that were given and are still good.
type tokens struct {
	mu    sync.Mutex
	given map[string][]string // scopes by token
}

func (t *tokens) add(scopes []string) string {
	t.mu.Lock()
	defer t.mu.Unlock()

	if t.given == nil {
		t.given = map[string][]string{}
	}

	value := rand.Text()
	t.given[value] = scopes

	return value
}

func (t *tokens) opens(value, scope string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()

	scopes, ok := t.given[value]

	return ok && (scope == "" || slices.ContainsFunc(scopes, func(s string) bool { return strings.HasPrefix(s, scope) }))
}

// Expire makes all tokens worthless that were given so far.
func (s *Server) Expire() {
	s.tokens.mu.Lock()
	defer s.tokens.mu.Unlock()

	clear(s.tokens.given)
}

func (s *Server) authorized(req *http.Request) bool {
	switch {
	case s.options.Tokens:
		value, ok := strings.CutPrefix(req.Header.Get("Authorization"), "Bearer ")

		return ok && s.tokens.opens(value, scopeOf(req))
	case s.options.Username != "":
		return s.knows(req)
	}

	return true
}

func (s *Server) knows(req *http.Request) bool {
	user, password, _ := req.BasicAuth()

	return equal(user, s.options.Username) && equal(password, s.options.Password)
}

func equal(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// scopeOf returns the beginning of the scope that a token has to have for the request: who may do anything, may do all.
func scopeOf(req *http.Request) string {
	path := strings.Trim(strings.TrimPrefix(req.URL.Path, "/v2/"), "/")

	for _, part := range []string{"/manifests/", "/blobs/", "/tags/", "/referrers/"} {
		if i := strings.LastIndex(path, part); i > 0 {
			return "repository:" + path[:i] + ":"
		}
	}

	return ""
}

func (s *Server) refuse(w http.ResponseWriter, req *http.Request) {
	challenge := `Basic realm="registry"`

	if s.options.Tokens {
		challenge = fmt.Sprintf(`Bearer realm="%s%s",service="registry"`, s.url(), tokenPath)
		if scope := scopeOf(req); scope != "" {
			challenge += fmt.Sprintf(`,scope="%spull"`, scope)
		}
	}

	w.Header().Set("WWW-Authenticate", challenge)
	answerError(w, http.StatusUnauthorized, "UNAUTHORIZED")
}

func (s *Server) url() string {
	if s.options.TLS {
		return "https://" + s.Addr
	}

	return "http://" + s.Addr
}

// giveToken gives a token to who has the credentials, or the password as the refresh token of an identity.
func (s *Server) giveToken(w http.ResponseWriter, req *http.Request) {
	if !s.options.Tokens {
		http.NotFound(w, req)

		return
	}

	scopes := req.URL.Query()["scope"]
	known := s.options.Username == "" || s.knows(req)

	if req.Method == http.MethodPost {
		scopes = strings.Fields(req.PostFormValue("scope"))
		known = equal(req.PostFormValue("refresh_token"), s.options.Password)
	}

	if !known {
		answerError(w, http.StatusUnauthorized, "UNAUTHORIZED")

		return
	}

	life := ""
	if s.options.TokenSeconds > 0 {
		life = fmt.Sprintf(`,"expires_in":%d`, s.options.TokenSeconds)
	}

	w.Header().Set("Content-Type", "application/json")
	_, _ = fmt.Fprintf(w, `{"token":%q%s}`, s.tokens.add(scopes), life)
}

func answerError(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, `{"errors":[{"code":%q,"message":"no"}]}`, code)
}
