package bucket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/option"
	"google.golang.org/api/storage/v1"

	"github.com/weir-dev/weir/reconcilers/cloud"
	"github.com/weir-dev/weir/reconcilers/ingest"
)

// serviceAccountKey is the key of the Secret for Google Cloud.
const serviceAccountKey = "serviceaccount"

// gcsAttempts is how often an object is asked for that changes meanwhile.
const gcsAttempts = 3

// gcs is a bucket of Google Cloud Storage.
type gcs struct {
	service *storage.Service
	bucket  string

	// key gets tokens for the key of a service account; nil if the bucket is looked at as an identity.
	key *jwtKey

	// token is the one that the last login got.
	token atomic.Pointer[oauth2.Token]
}

// newGCS returns a bucket of Google Cloud Storage.
func (b *Buckets) newGCS(a *access) (store, error) {
	endpoint := "https://" + a.spec.Endpoint
	if err := checkHost(endpoint, gcpHosts()); err != nil {
		return nil, fmt.Errorf("provider %q does not fit the endpoint: %w", a.who.Provider, err)
	}

	t, err := b.transport(a, nil)
	if err != nil {
		return nil, err
	}

	g := &gcs{bucket: a.spec.BucketName}

	if a.secret != nil {
		raw := a.secret.Data[serviceAccountKey]
		if len(raw) == 0 {
			return nil, missing(a.secret, fmt.Sprintf("'%s'", serviceAccountKey))
		}

		if len(raw) > maxKeyFile {
			return nil, tooLarge(a.secret, serviceAccountKey)
		}

		// Other kinds of credentials would name files of this machine, or programs.
		config, err := google.JWTConfigFromJSON(raw, storage.DevstorageReadOnlyScope)
		if err != nil { // its words may hold parts of the key
			return nil, fmt.Errorf("invalid '%s/%s' secret data: '%s' is no key of a service account",
				a.secret.Namespace, a.secret.Name, serviceAccountKey)
		}

		g.key = &jwtKey{config: config, client: newClient(t, 0, noContent)}
	}

	content := func(req *http.Request) bool { return req.URL.Query().Get("alt") == "media" }
	client := newClient(t, b.options.Limits.FileBytes, content)
	client.Transport = authorizing{RoundTripper: client.Transport, token: &g.token}

	g.service, err = storage.NewService(context.Background(),
		option.WithHTTPClient(client), option.WithEndpoint(endpoint+"/storage/v1/"))
	if err != nil {
		return nil, fmt.Errorf("open bucket: %w", err)
	}

	return g, nil
}

// authorizing adds the token that the last login got, for Google alone: a redirect passes here as well.
type authorizing struct {
	http.RoundTripper

	token *atomic.Pointer[oauth2.Token]
}

// RoundTrip implements http.RoundTripper.
func (a authorizing) RoundTrip(req *http.Request) (*http.Response, error) {
	token := a.token.Load()
	if token == nil {
		return nil, errors.New("there is no token")
	}

	req = req.Clone(req.Context())
	if checkHost(req.URL.String(), gcpHosts()) == nil {
		token.SetAuthHeader(req)
	}

	return a.RoundTripper.RoundTrip(req) //nolint:wrapcheck // http.Client adds the URL
}

// login gets a token, unless the one that is there is still good.
func (g *gcs) login(ctx context.Context, c *cloud.Credentials, who cloud.Request) error {
	if g.key != nil {
		if g.token.Load().Valid() {
			return nil
		}

		token, err := g.key.token(ctx)
		if err != nil {
			return err
		}

		g.token.Store(token)

		return nil
	}

	token, err := c.GCP(ctx, who)
	if err != nil {
		return err //nolint:wrapcheck // it says for whom
	}

	g.token.Store(token)

	return nil
}

// list implements store.
func (g *gcs) list(ctx context.Context, prefix string, visit func(object) error) error {
	call := g.service.Objects.List(g.bucket).Prefix(prefix).MaxResults(pageSize).
		Fields("nextPageToken", "items(name,etag,size,generation)").Context(ctx)

	for page := ""; ; {
		got, err := call.PageToken(page).Do()
		if err != nil {
			return gcsError(err, errNoBucket)
		}

		for _, o := range got.Items {
			if err := visit(objectOf(o)); err != nil {
				return err
			}
		}

		if page = got.NextPageToken; page == "" {
			return nil
		}
	}
}

func objectOf(o *storage.Object) object {
	return object{key: o.Name, etag: unquote(o.Etag), size: int64(min(o.Size, 1<<62)), version: o.Generation} //nolint:gosec // bounded
}

// open implements store. What is asked for is the content that was listed: if it is not there any more, the one that is.
func (g *gcs) open(ctx context.Context, o object) (io.ReadCloser, string, error) {
	for range gcsAttempts {
		if o.version != 0 {
			resp, err := g.service.Objects.Get(g.bucket, o.key).Context(ctx).Generation(o.version).Download()
			if err == nil {
				return resp.Body, o.etag, nil
			}

			if err := gcsError(err, errGone); !errors.Is(err, errGone) {
				return nil, "", err
			}
		}

		now, err := g.service.Objects.Get(g.bucket, o.key).Fields("name", "etag", "size", "generation").Context(ctx).Do()
		if err != nil {
			return nil, "", gcsError(err, errGone)
		}

		o = objectOf(now)
	}

	return nil, "", fmt.Errorf("object %q changes all the time", o.key)
}

// gcsError returns what went wrong in words that are the same each time.
func gcsError(err, notFound error) error {
	e, ok := errors.AsType[*googleapi.Error](err)

	switch {
	case !ok:
		return ingest.RedactError(err)
	case e.Code == http.StatusNotFound:
		return notFound
	default:
		return errors.New(cut(fmt.Sprintf("%d %s: %s", e.Code, http.StatusText(e.Code), e.Message)))
	}
}
