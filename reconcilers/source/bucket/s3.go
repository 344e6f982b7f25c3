package bucket

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/minio/minio-go/v7/pkg/s3utils"

	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/cloud"
	"github.com/weir-dev/weir/reconcilers/ingest"
	"github.com/weir-dev/weir/reconcilers/secrets"
)

// Keys of the Secret for S3.
const (
	accessKey = "accesskey"
	secretKey = "secretkey"
)

// s3Attempts is how often a request that fails is made.
const s3Attempts = 3

// s3 is a bucket of any S3 server.
type s3 struct {
	client *minio.Core
	bucket string

	// held are the keys of an identity, if the bucket is looked at as one, and where they come from.
	held *heldKeys
	from cloud.AWSOptions

	// ldap are the keys that a user name and a password give, if there are such.
	ldap *credentials.Credentials
}

// newS3 returns a bucket on an S3 server, be it AWS or not.
func (b *Buckets) newS3(a *access) (store, error) {
	t, err := b.transport(a, a.tls)
	if err != nil {
		return nil, err
	}

	s := &s3{bucket: a.spec.BucketName}

	creds, err := b.s3Credentials(a, s)
	if err != nil {
		return nil, err
	}

	content := func(req *http.Request) bool { return req.Method == http.MethodGet && req.URL.RawQuery == "" }

	client, err := minio.NewCore(a.spec.Endpoint, &minio.Options{
		Creds: creds, Secure: !a.spec.Insecure, Region: a.spec.Region, MaxRetries: s3Attempts,
		Transport: newClient(t, b.options.Limits.FileBytes, content).Transport,
	})
	if err != nil {
		return nil, fmt.Errorf("open bucket: %w", ingest.RedactError(err))
	}

	s.client = client

	return s, nil
}

// s3Credentials returns what requests are signed with: what a Secret holds, or else the keys of a user, of an identity, or none.
func (b *Buckets) s3Credentials(a *access, s *s3) (*credentials.Credentials, error) {
	sts := a.spec.STS

	switch {
	case a.secret != nil:
		access, secret := string(a.secret.Data[accessKey]), string(a.secret.Data[secretKey])
		if access == "" || secret == "" {
			return nil, missing(a.secret, fmt.Sprintf("'%s' and '%s'", accessKey, secretKey))
		}

		return credentials.NewStaticV4(access, secret, ""), nil
	case a.who.Provider == meta.ProviderAWS:
		return s.hold(a)
	case sts != nil && sts.Provider == sourcev1.STSProviderLDAP:
		var err error
		s.ldap, err = b.ldapKeys(a)

		return s.ldap, err
	default:
		return credentials.New(&credentials.Static{Value: credentials.Value{SignerType: credentials.SignatureAnonymous}}), nil
	}
}

// hold makes the bucket sign with the keys of an identity. They come with a token, and must not go to anybody but AWS.
func (s *s3) hold(a *access) (*credentials.Credentials, error) {
	if err := checkHost("https://"+a.spec.Endpoint, awsHosts()); err != nil || a.spec.Insecure {
		return nil, fmt.Errorf("provider %q does not fit the endpoint: %w", a.who.Provider, cmp.Or(err, errInsecure))
	}

	s.held, s.from = &heldKeys{}, cloud.AWSOptions{Region: a.spec.Region}

	if s.from.Region == "" {
		s.from.Region = s3utils.GetRegionFromURL(url.URL{Host: a.spec.Endpoint})
	}

	if a.spec.STS != nil {
		s.from.STSEndpoint = a.spec.STS.Endpoint
	}

	return credentials.New(s.held), nil
}

// ldapKeys are those that a service gives for a user name and a password.
func (b *Buckets) ldapKeys(a *access) (*credentials.Credentials, error) {
	if a.stsSecret == nil {
		return nil, errors.New("spec.sts.secretRef is required for the 'ldap' STS provider")
	}

	username, password, err := secrets.BasicAuth(a.stsSecret)
	if err != nil {
		return nil, err //nolint:wrapcheck // it names the secret
	}

	if username == "" {
		return nil, missing(a.stsSecret, fmt.Sprintf("'%s' and '%s'", secrets.Username, secrets.Password))
	}

	t, err := b.transport(a, a.stsTLS)
	if err != nil {
		return nil, err
	}

	return credentials.New(&credentials.LDAPIdentity{
		Client: newClient(t, 0, noContent), STSEndpoint: a.spec.STS.Endpoint, LDAPUsername: username, LDAPPassword: password,
	}), nil
}

// login gets temporary keys, unless those that are there are still good.
func (s *s3) login(ctx context.Context, c *cloud.Credentials, who cloud.Request) error {
	switch {
	case s.held != nil:
		keys, err := c.AWS(ctx, who, s.from)
		if err != nil {
			return err //nolint:wrapcheck // it says for whom
		}

		s.held.keys.Store(&keys)
	case s.ldap != nil:
		_, err := s.ldap.GetWithContext(&credentials.CredContext{Context: ctx})
		if err != nil {
			return fmt.Errorf("get keys from the STS endpoint: %w", s3Error(err))
		}
	}

	return nil
}

// heldKeys are the keys of an identity, as its last login got them.
type heldKeys struct{ keys atomic.Pointer[cloud.AWSKeys] }

// Retrieve implements credentials.Provider.
func (h *heldKeys) Retrieve() (credentials.Value, error) {
	k := h.keys.Load()
	if k == nil {
		return credentials.Value{}, errors.New("there are no keys")
	}

	return credentials.Value{
		AccessKeyID: k.AccessKeyID, SecretAccessKey: k.SecretAccessKey, SessionToken: k.SessionToken,
		SignerType: credentials.SignatureV4,
	}, nil
}

// RetrieveWithCredContext implements credentials.Provider.
func (h *heldKeys) RetrieveWithCredContext(*credentials.CredContext) (credentials.Value, error) {
	return h.Retrieve()
}

// IsExpired implements credentials.Provider: the keys are read each time.
func (h *heldKeys) IsExpired() bool { return true }

// list implements store.
func (s *s3) list(ctx context.Context, prefix string, visit func(object) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	for o := range s.client.ListObjectsIter(ctx, s.bucket, minio.ListObjectsOptions{
		Prefix: prefix, Recursive: true, MaxKeys: pageSize, UseV1: s3utils.IsGoogleEndpoint(*s.client.EndpointURL()),
	}) {
		if o.Err != nil {
			return s3Error(o.Err)
		}

		if err := visit(object{key: o.Key, etag: unquote(o.ETag), size: o.Size}); err != nil {
			return err
		}
	}

	return ctx.Err()
}

// open implements store.
func (s *s3) open(ctx context.Context, o object) (io.ReadCloser, string, error) {
	content, info, _, err := s.client.GetObject(ctx, s.bucket, o.key, minio.GetObjectOptions{})
	if err != nil {
		return nil, "", s3Error(err)
	}

	return content, unquote(info.ETag), nil
}

// s3Error returns what went wrong in words that are the same each time.
func s3Error(err error) error {
	if r, ok := errors.AsType[credentials.ErrorResponse](err); ok {
		return errors.New(cut(r.STSError.Code + ": " + r.STSError.Message))
	}

	r, ok := errors.AsType[minio.ErrorResponse](err)

	switch {
	case !ok:
		return ingest.RedactError(err)
	case r.Code == minio.NoSuchBucket:
		return errNoBucket
	case r.Code == minio.NoSuchKey:
		return errGone
	default:
		return errors.New(cut(r.Error()))
	}
}

// unquote returns an etag as listings give it. Who compresses on the way calls it a weak one.
func unquote(etag string) string { return strings.Trim(strings.TrimPrefix(etag, "W/"), `"`) }

// maxReason bounds what a storage says about a failure, in bytes.
const maxReason = 512

// cut returns the first line, or what of it is short enough.
func cut(s string) string {
	s, _, _ = strings.Cut(strings.TrimSpace(s), "\n")
	if len(s) > maxReason {
		s = strings.ToValidUTF8(s[:maxReason], "") + "…"
	}

	return s
}
