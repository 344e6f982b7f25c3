package charts

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/weir-dev/weir/reconcilers/flight"
	"github.com/weir-dev/weir/reconcilers/ingest"
)

// ErrDigest says that a chart is not the one that the index means.
var ErrDigest = errors.New("digest mismatch")

// chartKey is a package as somebody sees it.
type chartKey struct {
	access flight.Fingerprint
	url    string
	digest digest.Digest
	limit  int64
}

// FetchChart returns the package of a version in the index of the repository. It is shared and must not be changed. If the
// index gives a digest, it is checked. Zero limit means that of the options, in bytes.
func (r *Repositories) FetchChart(ctx context.Context, a RepositoryAccess, e Entry, limit int64) ([]byte, error) {
	raw, err := a.ChartURL(e)
	if err != nil {
		return nil, err
	}

	want, err := parseDigest(e.Digest)
	if err != nil {
		return nil, err
	}

	if limit == 0 {
		limit = r.options.ChartBytes
	}

	since := r.options.Now()
	if want != "" {
		since = time.Time{} // it does not change
	}

	key := chartKey{access: a.fingerprint(), url: raw, digest: want, limit: limit}

	chart, release, err := r.charts.Join(ctx, key, since, func(ctx context.Context) ([]byte, error) {
		return r.fetchChart(ctx, a, raw, want, limit)
	})
	if err != nil {
		return nil, err
	}

	release() // it stays in memory as long as the caller needs it

	return chart, nil
}

func (r *Repositories) fetchChart(ctx context.Context, a RepositoryAccess, raw string, want digest.Digest, limit int64,
) ([]byte, error) {
	shown := ingest.Redact(raw)

	u, err := parseHTTP(raw)
	if err != nil {
		return nil, fmt.Errorf("chart URL '%s': %w", shown, err)
	}

	req, err := a.request(ctx, u)
	if err != nil {
		return nil, err
	}

	req.Header.Set("Accept-Encoding", "identity") // the digest is that of the file

	resp, err := r.do(a, req, limit)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()

	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("failed to fetch %s : %s", shown, ingest.Status(resp))
	}

	if resp.ContentLength > limit {
		return nil, fmt.Errorf("failed to fetch %s : %w", shown, &ingest.LimitError{Max: limit, Unit: "bytes per chart"})
	}

	chart, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("failed to fetch %s : %w", shown, ingest.RedactError(err))
	}

	if want != "" && want.Algorithm().FromBytes(chart) != want {
		return nil, fmt.Errorf("failed to fetch %s : %w: computed %q, the index says %q", shown, ErrDigest,
			want.Algorithm().FromBytes(chart), want)
	}

	return chart, nil
}

// parseDigest returns the digest that an index means: hexadecimal digits, with or without the name of the algorithm.
func parseDigest(s string) (digest.Digest, error) {
	if s == "" {
		return "", nil
	}

	d := digest.Digest(strings.ToLower(s))

	if !strings.Contains(s, ":") {
		algorithm := digest.SHA256
		for _, other := range []digest.Algorithm{digest.SHA384, digest.SHA512} {
			if len(s) == 2*other.Size() {
				algorithm = other
			}
		}

		d = digest.NewDigestFromEncoded(algorithm, string(d))
	}

	if err := d.Validate(); err != nil {
		return "", fmt.Errorf("the index has a digest that cannot be checked: %w", err)
	}

	return d, nil
}
