package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/weir-dev/weir/reconcilers/flight"
	"github.com/weir-dev/weir/reconcilers/ingest"
)

// Repository is a repository with the credentials of somebody. It is safe for concurrent use.
type Repository struct {
	all       *Registries
	session   *session
	name      name.Repository
	key       flight.Fingerprint
	transport *transport
}

// lookup is what somebody asks about a reference.
type lookup struct {
	repository flight.Fingerprint
	reference  string
	content    bool
}

func newRepository(all *Registries, s *session, n name.Repository) *Repository {
	return &Repository{
		all: all, session: s, name: n,
		key:       flight.FingerprintOf(string(s.key[:]), n.RepositoryStr()),
		transport: &transport{session: s, scope: n.Scope("pull")},
	}
}

// Name returns the name of the repository.
func (r *Repository) Name() name.Repository { return r.name }

// Key tells repositories apart, and who may read them with which credentials: what was read with the key may be given to all
// who have it.
func (r *Repository) Key() flight.Fingerprint { return r.key }

// maxRemote bounds the answers that other libraries read through Remote, in bytes.
const maxRemote = 4 << 20

// Remote returns the options with which package remote of go-containerregistry reads this repository, with the same
// credentials. What it reads is bounded; it does not try again.
func (r *Repository) Remote() []remote.Option {
	client := ingest.NewClient(pinged{r.transport}, func(*http.Response) int64 { return maxRemote })

	return []remote.Option{
		remote.WithTransport(frugalTransport{client.Transport}),
		remote.WithRetryBackoff(remote.Backoff{Steps: 1}),
	}
}

// pinged answers the question whether there is a registry, which is asked for each repository.
type pinged struct{ *transport }

// RoundTrip implements http.RoundTripper.
func (p pinged) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Path == "/v2/" && sameHost(req.URL.Host, p.session.registry.RegistryStr()) {
		return &http.Response{
			Status: "200 OK", StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
			Header: http.Header{}, Body: http.NoBody, Request: req,
		}, nil
	}

	return p.transport.RoundTrip(req)
}

// request sends a request about the repository, and returns the answer if it has the status 200. Its body is bounded.
func (r *Repository) request(ctx context.Context, method, what string, maxBytes int64, accept ...string) (*http.Response, error) {
	u, err := r.url(ctx, what)
	if err != nil {
		return nil, err
	}

	return r.get(ctx, method, u, maxBytes, accept...)
}

// url returns the URL of something in the repository.
func (r *Repository) url(ctx context.Context, what string) (string, error) {
	scheme, err := r.session.scheme(ctx)
	if err != nil {
		return "", err
	}

	return scheme + "://" + r.name.RegistryStr() + "/v2/" + r.name.RepositoryStr() + what, nil
}

func (r *Repository) get(ctx context.Context, method, u string, maxBytes int64, accept ...string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, u, nil)
	if err != nil {
		return nil, ingest.RedactError(err)
	}

	if len(accept) > 0 {
		req.Header.Set("Accept", strings.Join(accept, ","))
	}

	client := ingest.NewClient(r.transport, func(*http.Response) int64 { return maxBytes })

	resp, err := client.Do(req)
	if err != nil {
		return nil, failedRequest(req, err)
	}

	if err := checkStatus(resp, http.StatusOK); err != nil {
		discard(resp.Body)

		return nil, err
	}

	return resp, nil
}

// Resolve returns what a tag points at, or a digest, without its content. The answer is not older than since; the zero time
// takes any that is here. Its digest is that of an index if the tag points at one.
func (r *Repository) Resolve(ctx context.Context, reference string, since time.Time) (v1.Descriptor, error) {
	return r.resolve(ctx, lookup{repository: r.key, reference: reference}, since)
}

// Pull is Resolve for those who are going to ask for the Manifest, which comes with the same request.
func (r *Repository) Pull(ctx context.Context, reference string, since time.Time) (v1.Descriptor, error) {
	return r.resolve(ctx, lookup{repository: r.key, reference: reference, content: true}, since)
}

func (r *Repository) resolve(ctx context.Context, l lookup, since time.Time) (v1.Descriptor, error) {
	if err := checkReference(l.reference); err != nil {
		return v1.Descriptor{}, err
	}

	d, release, err := r.all.lookups.Join(ctx, l, since, func(ctx context.Context) (v1.Descriptor, error) {
		if l.content {
			return r.lookGet(ctx, l.reference)
		}

		return r.look(ctx, l.reference)
	})
	if err != nil {
		return v1.Descriptor{}, err
	}

	release()

	return d, nil
}

// checkReference refuses what is neither a tag nor a digest, and would be part of a URL.
func checkReference(reference string) error {
	if strings.Contains(reference, ":") {
		if _, err := v1.NewHash(reference); err != nil {
			return fmt.Errorf("%q is no digest", reference)
		}

		return nil
	}

	if !isTag(reference) {
		return fmt.Errorf("%q is no tag", reference)
	}

	return nil
}

// isTag tells whether all characters may be in a tag, and the first one at its beginning. It is asked for each request.
func isTag(s string) bool {
	const first = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_"

	return s != "" && len(s) <= maxTag && strings.Contains(first, s[:1]) && strings.Trim(s, first+".-") == ""
}

// look asks for the head of a manifest. What registries make of that differs: if the answer is not whole, all of it is asked
// for.
func (r *Repository) look(ctx context.Context, reference string) (v1.Descriptor, error) {
	resp, err := r.request(ctx, http.MethodHead, "/manifests/"+reference, 0, accepted()...) //nolint:bodyclose // discard does
	if err != nil {
		if _, answered := errors.AsType[*StatusError](err); answered && !final(err) {
			return r.lookGet(ctx, reference)
		}

		return v1.Descriptor{}, err
	}

	discard(resp.Body)

	digest, err := v1.NewHash(resp.Header.Get("Docker-Content-Digest"))
	if err != nil || digest.Algorithm != "sha256" || resp.ContentLength < 0 || resp.Header.Get("Content-Type") == "" {
		return r.lookGet(ctx, reference)
	}

	if strings.Contains(reference, ":") && digest.String() != reference {
		return v1.Descriptor{}, fmt.Errorf("the registry has %q for %q", digest, reference)
	}

	return v1.Descriptor{
		MediaType: types.MediaType(resp.Header.Get("Content-Type")), Size: resp.ContentLength, Digest: digest,
	}, nil
}

// final tells whether it makes no sense to ask for more.
func final(err error) bool {
	return errors.Is(err, ErrRateLimited) || isStatus(err, http.StatusUnauthorized)
}

func isStatus(err error, status int) bool {
	e, ok := errors.AsType[*StatusError](err)

	return ok && e.Status == status
}
