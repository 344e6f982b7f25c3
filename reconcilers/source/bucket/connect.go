package bucket

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/cloud"
	"github.com/weir-dev/weir/reconcilers/flight"
	"github.com/weir-dev/weir/reconcilers/ingest"
	"github.com/weir-dev/weir/reconcilers/secrets"
)

// access is how an object reaches its bucket, and as whom.
type access struct {
	spec *sourcev1.BucketSpec

	secret *corev1.Secret // nil if none is named
	tls    *secrets.TLS
	proxy  *url.URL

	stsSecret *corev1.Secret
	stsTLS    *secrets.TLS

	// who asks for the credentials of an identity, if there is no secret.
	who cloud.Request
}

// errNoIdentity says that nobody gives credentials.
var errNoIdentity = errors.New("workload identity is not available: spec.secretRef is required")

// find reads the Secrets that an object names.
func find(ctx context.Context, r secrets.Reader, obj *sourcev1.Bucket) (*access, error) {
	a := &access{spec: &obj.Spec, who: cloud.Request{
		Provider: obj.GetProvider(), ServiceAccount: obj.Spec.ServiceAccountName,
		Kind: sourcev1.BucketKind, Namespace: obj.Namespace, Name: obj.Name,
	}}

	get := func(ref *meta.LocalObjectReference) (*corev1.Secret, error) {
		if ref == nil {
			return nil, nil //nolint:nilnil // none is named
		}

		return secrets.Get(ctx, r, obj.Namespace, ref.Name)
	}

	var err error
	if a.secret, err = get(obj.Spec.SecretRef); err != nil {
		return nil, err
	}

	proxy, err := get(obj.Spec.ProxySecretRef)
	if err != nil {
		return nil, err
	}

	if proxy != nil {
		if a.proxy, err = secrets.Proxy(proxy); err != nil {
			return nil, err //nolint:wrapcheck // it names the secret
		}

		a.who.Proxy = a.proxy
	}

	// Whoever names an authority and a proxy reads what passes: the tokens of an identity must not.
	if obj.GetProvider() == meta.ProviderGeneric {
		if a.tls, err = readTLS(get(obj.Spec.CertSecretRef)); err != nil {
			return nil, err
		}
	}

	if sts := obj.Spec.STS; sts != nil {
		if a.stsSecret, err = get(sts.SecretRef); err != nil {
			return nil, err
		}

		if a.stsTLS, err = readTLS(get(sts.CertSecretRef)); err != nil {
			return nil, err
		}
	}

	return a, nil
}

func readTLS(s *corev1.Secret, err error) (*secrets.TLS, error) {
	if s == nil || err != nil {
		return nil, err
	}

	return secrets.ReadTLS(s, false) //nolint:wrapcheck // it names the secret
}

// open returns the bucket. It gets credentials if there are none that are still good.
func (b *Buckets) open(ctx context.Context, a *access) (*bucket, error) {
	key, err := b.keyOf(ctx, a)
	if err != nil {
		return nil, err
	}

	s, ok := b.stores.Get(key)
	if !ok {
		made, err := b.newStore(a)
		if err != nil {
			return nil, err
		}

		s = connection{store: made, turn: make(chan struct{}, 1)}
		b.stores.Put(key, s)
	}

	if err := s.login(ctx, b.options.Cloud, a.who); err != nil {
		return nil, err
	}

	return &bucket{store: s.store, buckets: b, key: key}, nil
}

// connection is a bucket for all who reach it in the same way.
type connection struct {
	store

	turn chan struct{} // is held by the one who logs in
}

// login gets credentials if there are none that are still good. Libraries hold a lock meanwhile: who waits for it could not stop.
func (c connection) login(ctx context.Context, creds *cloud.Credentials, who cloud.Request) error {
	l, ok := c.store.(interface {
		login(context.Context, *cloud.Credentials, cloud.Request) error
	})
	if !ok {
		return nil
	}

	select {
	case c.turn <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}

	defer func() { <-c.turn }()

	return l.login(ctx, creds, who) //nolint:wrapcheck // it says for whom
}

func (b *Buckets) newStore(a *access) (store, error) {
	switch a.who.Provider {
	case meta.ProviderGCP:
		return b.newGCS(a)
	case meta.ProviderAzure:
		return b.newAzure(a)
	default:
		return b.newS3(a)
	}
}

// keyOf tells buckets apart: two objects have the same key if, and only if, they see the same.
func (b *Buckets) keyOf(ctx context.Context, a *access) (flight.Fingerprint, error) {
	s := a.spec
	parts := []string{
		a.who.Provider, s.Endpoint, s.BucketName, s.Region, fmt.Sprint(s.Insecure), fingerprint(a.tls), fingerprint(a.stsTLS),
	}

	if a.proxy != nil {
		parts = append(parts, "proxy", a.proxy.String())
	}

	if s.STS != nil {
		parts = append(parts, "sts", s.STS.Provider, s.STS.Endpoint)
	}

	parts = append(parts, contentOf(a.secret), contentOf(a.stsSecret))

	if a.identity() {
		if b.options.Cloud == nil {
			return flight.Fingerprint{}, errNoIdentity
		}

		id, err := b.options.Cloud.Fingerprint(ctx, a.who)
		if err != nil {
			return flight.Fingerprint{}, err //nolint:wrapcheck // it names the account
		}

		parts = append(parts, "identity", string(id[:]))
	}

	return flight.FingerprintOf(parts...), nil
}

// contentOf tells Secrets apart by what is in them. It is empty for none.
func contentOf(s *corev1.Secret) string {
	if s == nil {
		return ""
	}

	parts := make([]string, 0, 2*len(s.Data)) //nolint:mnd // each has a name and a value
	for _, name := range slices.Sorted(maps.Keys(s.Data)) {
		parts = append(parts, name, string(s.Data[name]))
	}

	f := flight.FingerprintOf(parts...)

	return string(f[:])
}

// identity tells whether the credentials are those of a ServiceAccount or of the process.
func (a *access) identity() bool { return a.secret == nil && a.who.Provider != meta.ProviderGeneric }

func fingerprint(t *secrets.TLS) string {
	f := t.Fingerprint()

	return string(f[:])
}

// transport returns the way to a server with the certificates.
func (b *Buckets) transport(a *access, t *secrets.TLS) (*http.Transport, error) {
	return b.options.Transports.To(ingest.Route{ID: fingerprint(t), TLS: t.Config, Proxy: a.proxy}) //nolint:wrapcheck // it names the key
}

// missing says that a Secret lacks what it is for: a misspelt key must not mean no credentials.
func missing(s *corev1.Secret, want string) error {
	return fmt.Errorf("invalid '%s/%s' secret data: required fields %s", s.Namespace, s.Name, want)
}
