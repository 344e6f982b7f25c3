package registry

import (
	"cmp"
	"net/http"
)

// userAgent is how we call ourselves.
const userAgent = "weir"

// transport adds what the registry wants to see to the requests of one repository. Other hosts get nothing of it.
type transport struct {
	session *session
	scope   string
}

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(in *http.Request) (*http.Response, error) {
	s := t.session
	if !sameHost(in.URL.Host, s.registry.RegistryStr()) {
		return s.away.RoundTrip(in)
	}

	if err := s.open(); err != nil {
		return nil, err
	}

	scheme, err := s.scheme(in.Context())
	if err != nil {
		return nil, err
	}

	req := in.Clone(in.Context())
	req.URL.Scheme = scheme
	req.Header.Set("User-Agent", userAgent)

	header, err := s.authorization(req.Context(), s.challenge(), t.scope, "")
	if err != nil {
		return nil, err
	}

	resp, err := t.send(req, header)
	if err != nil || resp.StatusCode != http.StatusUnauthorized || req.Body != nil {
		return resp, err
	}

	return t.again(req, resp, header)
}

func (t *transport) send(req *http.Request, header string) (*http.Response, error) {
	if header != "" {
		req.Header.Set("Authorization", header)
	}

	resp, err := t.session.base.RoundTrip(req)
	if err != nil {
		if req.Context().Err() == nil {
			t.session.lost()
		}

		return nil, err //nolint:wrapcheck // http.Client adds the URL
	}

	t.session.heed(resp)

	return resp, nil
}

// again answers what the registry asks, once.
func (t *transport) again(req *http.Request, resp *http.Response, sent string) (*http.Response, error) {
	c, ok := findChallenge(resp.Header)
	if !ok {
		return resp, nil
	}

	t.session.challenged(c)

	header, err := t.session.authorization(req.Context(), c, t.scope, cmp.Or(sent, "none"))
	if err != nil {
		discard(resp.Body)

		return nil, err
	}

	if header == sent {
		return resp, nil
	}

	discard(resp.Body)

	return t.send(req.Clone(req.Context()), header)
}
