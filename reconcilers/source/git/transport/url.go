package transport

import (
	"cmp"
	"fmt"
	"net/url"
	"strings"

	"github.com/weir-dev/weir/reconcilers/ingest"
)

// The schemes of URLs.
const (
	schemeHTTP  = "http"
	schemeHTTPS = "https"
	schemeSSH   = "ssh"
)

// maxURL is the longest URL. It is kept with each thing that is remembered of a repository.
const maxURL = 4096

// ParseURL reads the URL of a repository: http, https or ssh. Its errors do not repeat what may be a password.
func ParseURL(raw string) (*url.URL, error) {
	if len(raw) > maxURL {
		return nil, fmt.Errorf("failed to parse url: it has more than %d bytes", maxURL)
	}

	u, err := url.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("failed to parse url '%s': %w", ingest.Redact(raw), ingest.RedactError(err))
	}

	switch u.Scheme {
	case schemeHTTP, schemeHTTPS, schemeSSH:
	default:
		return nil, fmt.Errorf("failed to parse url '%s': the scheme is none of http, https and ssh", ingest.Redact(raw))
	}

	if u.Host == "" {
		return nil, fmt.Errorf("failed to parse url '%s': there is no host", ingest.Redact(raw))
	}

	return u, nil
}

// SameServer tells whether credentials for one repository may go to the server of the other.
func SameServer(from, to *url.URL) bool {
	if from.Scheme == schemeSSH && to.Scheme == schemeSSH {
		return strings.EqualFold(from.Hostname(), to.Hostname()) && sshPort(from) == sshPort(to)
	}

	return ingest.SameOrigin(withoutPort(from), withoutPort(to))
}

// withoutPort leaves out the port that the scheme means.
func withoutPort(u *url.URL) *url.URL {
	short := *u

	if port := u.Port(); u.Scheme == schemeHTTP && port == "80" || u.Scheme == schemeHTTPS && port == "443" {
		short.Host = strings.TrimSuffix(u.Host, ":"+port)
	}

	return &short
}

func sshPort(u *url.URL) string { return cmp.Or(u.Port(), "22") }
