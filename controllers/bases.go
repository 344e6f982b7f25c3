package controllers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/weir-dev/weir/reconcilers/build"
	"github.com/weir-dev/weir/reconcilers/decryption/kms"
	"github.com/weir-dev/weir/reconcilers/ingest"
	"github.com/weir-dev/weir/reconcilers/source/git"
)

// bases gets the remote bases of kustomizations: over guarded connections, and without credentials.
type bases struct {
	client  *http.Client
	remotes *git.Remotes
}

// sharedBuilder returns what runs kustomize in the process, and makes it if it is not there.
func (p *Process) sharedBuilder() (*build.Builder, error) {
	if p.builder != nil {
		return p.builder, nil
	}

	fetcher, err := p.remoteBases()
	if err != nil {
		return nil, err
	}

	p.builder = build.New(build.Options{Lenient: p.Kustomizations.Lenient, Fetcher: fetcher})

	return p.builder, nil
}

// remoteBases returns what fetches remote bases, or nil if none are to be fetched.
func (p *Process) remoteBases() (build.Fetcher, error) {
	if !p.Kustomizations.RemoteBases {
		return nil, nil //nolint:nilnil // Without a fetcher, builds refuse them.
	}

	// Files say where their bases are, which must not be this machine: what listens there trusts who asks.
	return newBases(&ingest.Transports{Proxy: http.ProxyFromEnvironment, Allow: kms.RefuseLocal}, ingest.Route{})
}

// Limits of a repository that is a base. It is cloned without history.
const (
	maxBasePack     = 256 << 20
	maxBaseInflated = 1 << 30
	maxBaseObjects  = 300_000
	maxBaseFile     = 64 << 20
	maxBaseEntries  = 50_000
	maxBaseIdle     = 64 << 20
)

// newBases gets files by the route, and repositories from servers that the machine trusts.
func newBases(t *ingest.Transports, files ingest.Route) (*bases, error) {
	plain, err := t.To(files)
	if err != nil {
		return nil, fmt.Errorf("make transport: %w", err)
	}

	return &bases{
		client: ingest.NewClient(plain, func(*http.Response) int64 { return build.DefaultMaxFileSize }),
		remotes: git.NewRemotes(git.RemotesOptions{
			Transports: t, IdleBytes: maxBaseIdle,
			Limits: ingest.PackLimits{
				Bytes: maxBasePack, Inflated: maxBaseInflated, Objects: maxBaseObjects, FileBytes: maxBaseFile,
			},
		}),
	}, nil
}

// File implements build.Fetcher.
func (b *bases) File(ctx context.Context, url string, maxBytes int64) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, ingest.RedactError(err)
	}

	resp, err := b.client.Do(req)
	if err != nil {
		return nil, ingest.RedactError(err)
	}
	defer resp.Body.Close() //nolint:errcheck // it was only read

	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the server answers %q", ingest.Status(resp))
	}

	data, err := io.ReadAll(io.LimitReader(resp.Body, maxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read answer: %w", ingest.RedactError(err))
	}

	if int64(len(data)) > maxBytes {
		return nil, fmt.Errorf("the file has more than %d bytes", maxBytes)
	}

	return data, nil
}

// Repository implements build.Fetcher.
func (b *bases) Repository(ctx context.Context, url, version string) (build.Files, error) {
	files, err := b.remotes.Anonymous(ctx, url, version, ingest.Limits{Entries: maxBaseEntries, Bytes: maxBaseInflated})
	if err != nil {
		if over, ok := errors.AsType[*ingest.LimitError](err); ok {
			return nil, fmt.Errorf("the repository is too large for a base: %w", over)
		}

		return nil, err //nolint:wrapcheck // it names the repository
	}

	return files, nil
}
