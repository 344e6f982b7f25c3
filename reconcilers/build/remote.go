package build

import (
	"fmt"
	"net/url"
	"path"
	"regexp"
	"strings"
)

// RefusedError says that a kustomization asks for something that no build does: to fetch from the network, to run a
// program, or to inflate a Helm chart.
type RefusedError struct {
	// File that asks for it, relative to the artifact, or "spec" for the Kustomization itself.
	File string
	// What it asks for, without credentials.
	What string
	// Why it is refused, or what to do instead.
	Why string
}

// Error implements error.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("%s in %q is refused: %s", e.What, e.File, e.Why)
}

func remoteError(file, ref string) error {
	return &RefusedError{
		File: file,
		What: fmt.Sprintf("remote reference %q", withoutCredentials(ref)),
		Why:  "it must be in the artifact",
	}
}

// withoutCredentials returns the reference without what may be secret in it: user, password and query.
func withoutCredentials(ref string) string {
	ref, _, _ = strings.Cut(ref, "?")

	scheme, rest, ok := strings.Cut(ref, "://")
	if !ok {
		return ref
	}

	host, tail, _ := strings.Cut(rest, "/")
	if i := strings.LastIndex(host, "@"); i >= 0 {
		host = host[i+1:]
	}

	if tail != "" {
		tail = "/" + tail
	}

	return scheme + "://" + host + tail
}

// isRemote tells whether the library would fetch the reference: as a file over HTTP, or as a Git repository. In doubt it
// says yes.
func isRemote(ref string) bool {
	if u, err := url.Parse(ref); err == nil && (u.Scheme == "http" || u.Scheme == "https") {
		return true
	}

	return !path.IsAbs(ref) && isGit(ref)
}

var gitUser = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9-]*@`)

// isGit tells whether the reference is in one of the forms that the library clones: with a scheme, user@host:path, or
// github.com/org/repo.
func isGit(ref string) bool {
	ref, _, _ = strings.Cut(ref, "?")

	lower := strings.TrimPrefix(strings.ToLower(ref), "git::")
	for _, scheme := range []string{"ssh://", "https://", "http://", "file://"} {
		if strings.HasPrefix(lower, scheme) {
			return true
		}
	}

	user := gitUser.FindString(lower)
	host := lower[len(user):]

	github := strings.HasPrefix(host, "github.com/") || strings.HasPrefix(host, "github.com:")
	if user == "" && !github {
		return false
	}

	end := strings.Index(host, "/")
	if colon := strings.Index(host, ":"); end < 0 || (colon > 0 && colon < end) {
		end = colon
	}

	if end < 0 {
		return false
	}

	// What is left has to look like a repository: user@host.yaml/app.yaml is a file.
	rest := host[end+1:]

	return strings.Contains(rest, "/") || strings.Contains(rest, ".git")
}
