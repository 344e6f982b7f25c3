package bucket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/weir-dev/weir/reconcilers/cloud"
	"github.com/weir-dev/weir/reconcilers/ingest"
)

// azureScope is what a token for Azure Blob Storage is good for.
const azureScope = "https://storage.azure.com/.default"

// azureAttempts is how often a request that failed is made again.
const azureAttempts = 2

// azureBucket is a container of Azure Blob Storage.
type azureBucket struct {
	client *container.Client

	// held is the token that the last login got, if tokens are needed.
	held *heldToken

	// get gets a token, if a Secret says how; else it is the one of an identity.
	get getToken
}

// newAzure returns a container of Azure Blob Storage.
func (b *Buckets) newAzure(a *access) (store, error) {
	t, err := b.transport(a, nil)
	if err != nil {
		return nil, err
	}

	u, err := url.Parse(a.spec.Endpoint)
	if err != nil {
		return nil, fmt.Errorf("parse endpoint: %w", ingest.RedactError(err))
	}

	u = u.JoinPath(a.spec.BucketName)
	content := func(req *http.Request) bool { return req.Method == http.MethodGet && !req.URL.Query().Has("comp") }
	o := &container.ClientOptions{ClientOptions: azcore.ClientOptions{
		Transport: newClient(t, b.options.Limits.FileBytes, content),
		Retry:     policy.RetryOptions{MaxRetries: azureAttempts},
		Telemetry: policy.TelemetryOptions{Disabled: true},
	}}

	k, err := readAzureSecret(a.secret)
	if err != nil {
		return nil, err
	}

	s := &azureBucket{}

	switch {
	case k.sas != "":
		u.RawQuery = strings.TrimPrefix(k.sas, "?")
		s.client, err = container.NewClientWithNoCredential(u.String(), o)
	case k.account != "":
		s.client, err = sharedKey(u, k.account, o)
	default:
		if s.get, err = b.azureToken(a, k); err != nil {
			return nil, err
		}

		s.held = &heldToken{}
		s.client, err = container.NewClient(u.String(), s.held, o)
	}

	if err != nil {
		return nil, fmt.Errorf("open container: %w", ingest.RedactError(err))
	}

	return s, nil
}

// sharedKey returns a client that signs with the key of the account.
func sharedKey(u *url.URL, key string, o *container.ClientOptions) (*container.Client, error) {
	cred, err := container.NewSharedKeyCredential(accountOf(u), key)
	if err != nil { // its words hold parts of the key
		return nil, fmt.Errorf("'%s' is no key of an account", azureAccountKey)
	}

	return container.NewClientWithSharedKeyCredential(u.String(), cred, o)
}

// accountOf returns the name of the account: the first part of the host, or of the path where the host has no name.
func accountOf(u *url.URL) string {
	host := u.Hostname()
	if net.ParseIP(host) == nil && strings.Contains(host, ".") {
		account, _, _ := strings.Cut(host, ".")

		return account
	}

	account, _, _ := strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")

	return account
}

// heldToken is the token that the last login got.
type heldToken struct {
	token atomic.Pointer[azcore.AccessToken]
}

// GetToken implements azcore.TokenCredential.
func (h *heldToken) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	if t := h.token.Load(); t != nil {
		return *t, nil
	}

	return azcore.AccessToken{}, errors.New("there is no token")
}

// login gets a token, if one is needed.
func (s *azureBucket) login(ctx context.Context, c *cloud.Credentials, who cloud.Request) error {
	if s.held == nil {
		return nil
	}

	token, err := s.get(ctx, c, who)
	if err != nil {
		return err
	}

	s.held.token.Store(&token)

	return nil
}

// list implements store.
func (s *azureBucket) list(ctx context.Context, prefix string, visit func(object) error) error {
	o := &container.ListBlobsFlatOptions{MaxResults: new(int32(pageSize))}
	if prefix != "" {
		o.Prefix = &prefix
	}

	for pages := s.client.NewListBlobsFlatPager(o); pages.More(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return azureError(err)
		}

		if page.Segment == nil {
			continue
		}

		if err := visitBlobs(page.Segment.BlobItems, visit); err != nil {
			return err
		}
	}

	return nil
}

func visitBlobs(items []*container.BlobItem, visit func(object) error) error {
	for _, blob := range items {
		if blob == nil || blob.Name == nil || blob.Properties == nil || blob.Properties.ETag == nil {
			continue
		}

		found := object{key: *blob.Name, etag: unquote(string(*blob.Properties.ETag))}
		if size := blob.Properties.ContentLength; size != nil {
			found.size = *size
		}

		if err := visit(found); err != nil {
			return err
		}
	}

	return nil
}

// open implements store.
func (s *azureBucket) open(ctx context.Context, o object) (io.ReadCloser, string, error) {
	resp, err := s.client.NewBlobClient(o.key).DownloadStream(ctx, nil)
	if err != nil {
		return nil, "", azureError(err)
	}

	etag := ""
	if resp.ETag != nil {
		etag = unquote(string(*resp.ETag))
	}

	return resp.Body, etag, nil
}

// azureError returns what went wrong in words that are the same each time.
func azureError(err error) error {
	e, ok := errors.AsType[*azcore.ResponseError](err)

	switch {
	case bloberror.HasCode(err, bloberror.ContainerNotFound, bloberror.ContainerBeingDeleted):
		return errNoBucket
	case bloberror.HasCode(err, bloberror.BlobNotFound, bloberror.ResourceNotFound):
		return errGone
	case !ok:
		return ingest.RedactError(err)
	case e.RawResponse == nil:
		return errors.New(cut(e.ErrorCode))
	default:
		return errors.New(cut(strings.TrimPrefix(e.ErrorCode+": "+ingest.Status(e.RawResponse), ": ")))
	}
}
