package verify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/sigstore/sigstore-go/pkg/tuf"
	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/config"
	"github.com/theupdateframework/go-tuf/v2/metadata/updater"

	"github.com/weir-dev/weir/reconcilers/flight"
	"github.com/weir-dev/weir/reconcilers/ingest"
)

// PublicGoodOptions say where the trusted root of the public Sigstore comes from.
type PublicGoodOptions struct {
	// Client fetches it. It is required.
	Client *http.Client

	// Now is the clock that says how old it is. It is required.
	Now func() time.Time

	// URL is the TUF repository. Empty means the one of the public Sigstore.
	URL string

	// Root is the root of trust of the repository, a root.json. Empty means the one of the public Sigstore, as this program
	// was built with; newer ones are fetched.
	Root []byte
}

// Times of the trusted root. Its keys change a few times a year; what was fetched stays good for a while when the repository
// cannot be reached.
const (
	refreshRoot = 24 * time.Hour
	expireRoot  = 7 * 24 * time.Hour
	retryRoot   = time.Minute
	fetchRoot   = time.Minute // the longest that all requests together may take
)

// PublicGood fetches the trusted root of the public Sigstore when it is first asked for it, by TUF, and keeps it in memory. It
// is safe for concurrent use.
type PublicGood struct {
	o       PublicGoodOptions
	fetches flight.Group[struct{}, []byte]

	mu     sync.Mutex
	root   []byte
	got    time.Time // when root was fetched
	failed time.Time // when it could not be
}

// NewPublicGood returns a PublicGood, which has fetched nothing.
func NewPublicGood(o PublicGoodOptions) *PublicGood {
	if o.URL == "" {
		o.URL = tuf.DefaultMirror
	}

	if len(o.Root) == 0 {
		o.Root = tuf.DefaultRoot()
	}

	return &PublicGood{o: o, fetches: flight.Group[struct{}, []byte]{Now: o.Now}}
}

// TrustedRoot returns a trusted_root.json, fit for CosignOptions.Roots. It is fetched once a day at most, for all who ask. When
// that fails, the one before is good for a week.
func (p *PublicGood) TrustedRoot(ctx context.Context) ([]byte, error) {
	have, fresh := p.have()
	if fresh {
		return have, nil
	}

	root, release, err := p.fetches.Join(ctx, struct{}{}, time.Time{}, p.fetch)
	if err == nil {
		release()

		return root, nil
	}

	if ctx.Err() == nil && have != nil {
		return have, nil
	}

	return nil, err //nolint:wrapcheck // it is ours
}

// have returns the root if it is good, and tells whether there is no need to fetch another one.
func (p *PublicGood) have() (root []byte, fresh bool) {
	p.mu.Lock()
	defer p.mu.Unlock()

	now := p.o.Now()
	if p.root == nil || now.Sub(p.got) >= expireRoot {
		return nil, false
	}

	return p.root, now.Sub(p.got) < refreshRoot || now.Sub(p.failed) < retryRoot
}

// fetch fetches the root and keeps it.
func (p *PublicGood) fetch(ctx context.Context) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchRoot)
	defer cancel()

	root, err := p.download(ctx)

	p.mu.Lock()
	defer p.mu.Unlock()

	if err != nil {
		p.failed = p.o.Now()

		return nil, fmt.Errorf("fetch from %q: %w", ingest.Redact(p.o.URL), err)
	}

	p.root, p.got = root, p.o.Now()

	return root, nil
}

// download goes the way of TUF: newer roots, timestamp, snapshot, targets, and the target at last. Nothing is read from or
// written to the disk.
func (p *PublicGood) download(ctx context.Context) ([]byte, error) {
	c, err := config.New(p.o.URL, p.o.Root)
	if err != nil {
		return nil, fmt.Errorf("prepare: %w", err)
	}

	c.DisableLocalCache = true
	c.LocalMetadataDir = nowhere
	c.Fetcher = &fetcher{ctx: ctx, client: p.o.Client}

	u, err := updater.New(c)
	if err != nil {
		return nil, fmt.Errorf("read the root of trust: %w", err)
	}

	u.UnsafeSetRefTime(p.o.Now())

	if err := u.Refresh(); err != nil {
		return nil, fmt.Errorf("refresh: %w", err)
	}

	target, err := u.GetTargetInfo(TrustedRootEntry)
	if err != nil {
		return nil, fmt.Errorf("find %q: %w", TrustedRootEntry, err)
	}

	if target.Length > maxBlob {
		return nil, fmt.Errorf("%q has more than %d bytes", TrustedRootEntry, maxBlob)
	}

	_, b, err := u.DownloadTarget(target, TrustedRootEntry, "")
	if err != nil {
		return nil, fmt.Errorf("get %q: %w", TrustedRootEntry, err)
	}

	return b, nil
}

// nowhere is a folder that cannot exist: the library looks there for what it is told not to keep.
const nowhere = "\x00"

// fetcher gets files for the TUF library.
type fetcher struct {
	ctx    context.Context //nolint:containedctx // the library has no place for it
	client *http.Client
}

// DownloadFile implements fetcher.Fetcher of the TUF library. The time is not used by it.
func (f *fetcher) DownloadFile(url string, most int64, _ time.Duration) ([]byte, error) {
	req, err := http.NewRequestWithContext(f.ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, ingest.RedactError(err)
	}

	resp, err := f.client.Do(req)
	if err != nil {
		return nil, ingest.RedactError(err)
	}

	b, err := io.ReadAll(io.LimitReader(resp.Body, most+1))

	switch err = errors.Join(err, resp.Body.Close()); {
	case resp.StatusCode != http.StatusOK: // TUF tries newer roots until there is none
		return nil, &metadata.ErrDownloadHTTP{StatusCode: resp.StatusCode, URL: ingest.Redact(url)}
	case err != nil:
		return nil, ingest.RedactError(err)
	case int64(len(b)) > most:
		return nil, &metadata.ErrDownloadLengthMismatch{Msg: fmt.Sprintf("%q has more than %d bytes", ingest.Redact(url), most)}
	}

	return b, nil
}
