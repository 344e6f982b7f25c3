package charts

import (
	"net/url"
	"strings"

	"github.com/weir-dev/weir/reconcilers/flight"
)

// Fingerprint tells apart what decides which charts somebody gets from a repository, credentials included, and gives nothing away.
func (a RepositoryAccess) Fingerprint() flight.Fingerprint { return a.fingerprint() }

// NormalizeURL returns a URL of a repository in the form in which those that mean the same are equal.
func NormalizeURL(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return raw
	}

	u.Scheme, u.Host = strings.ToLower(u.Scheme), strings.ToLower(u.Host)
	u.Path, u.RawPath = strings.TrimRight(u.Path, "/"), strings.TrimRight(u.RawPath, "/")

	return u.String()
}
