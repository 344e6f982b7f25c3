package charts

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/weir-dev/weir/reconcilers/flight"
	"github.com/weir-dev/weir/reconcilers/ingest"
)

// RepositoriesOptions are the parameters of Repositories. Transports is required.
type RepositoriesOptions struct {
	// Transports reach the servers.
	Transports *ingest.Transports

	// Dir is for temporary files without names. It has to be there. Empty means that of the machine.
	Dir string

	// Limits of an index.
	Limits IndexLimits

	// ChartBytes bounds the package of a chart. Zero means DefaultChartBytes.
	ChartBytes int64

	// Moment is for how long an answer of a server is news to those who merely look whether something happened. Zero means 2 s.
	Moment time.Duration

	// IndexAge and IndexBytes bound the indexes that nobody uses at the moment, in memory. Zero means 15 min and 64 MiB.
	IndexAge   time.Duration
	IndexBytes int64

	// ChartAge and IdleChartBytes bound the packages that were fetched a moment ago. Zero means 1 min and 16 MiB.
	ChartAge       time.Duration
	IdleChartBytes int64

	// Now is the clock. Nil means that of the machine.
	Now func() time.Time
}

// Repositories are the chart repositories of all objects. What one object asks of a server serves all that ask the same, with
// the same credentials, at the same time. It is safe for concurrent use.
type Repositories struct {
	options    RepositoriesOptions
	downloads  flight.Group[downloadKey, *Download]
	indexes    flight.Group[digest.Digest, *Index]
	charts     flight.Group[chartKey, []byte]
	validators flight.Memo[flight.Fingerprint, validator]
}

// maxValidators bounds what is remembered of the answers of servers.
const maxValidators = 4096

// NewRepositories returns repositories that nobody has looked at yet.
func NewRepositories(o RepositoriesOptions) *Repositories {
	o.Limits = o.Limits.orDefaults()
	o.ChartBytes = cmp.Or(o.ChartBytes, DefaultChartBytes)
	o.Moment = cmp.Or(o.Moment, 2*time.Second)
	o.IndexAge = cmp.Or(o.IndexAge, 15*time.Minute)
	o.IndexBytes = cmp.Or(o.IndexBytes, 64<<20)
	o.ChartAge = cmp.Or(o.ChartAge, time.Minute)
	o.IdleChartBytes = cmp.Or(o.IdleChartBytes, 16<<20)

	if o.Now == nil {
		o.Now = time.Now
	}

	return &Repositories{
		options: o,
		downloads: flight.Group[downloadKey, *Download]{
			Age: o.Moment, Room: maxIdleDownloads, Now: o.Now,
			Weigh: func(d *Download) int64 { return d.Size },
			Drop:  (*Download).close,
		},
		indexes: flight.Group[digest.Digest, *Index]{
			Age: o.IndexAge, Room: o.IndexBytes, Weigh: (*Index).Weight, Now: o.Now,
		},
		charts: flight.Group[chartKey, []byte]{
			Age: o.ChartAge, Room: o.IdleChartBytes, Now: o.Now,
			Weigh: func(b []byte) int64 { return int64(len(b)) },
		},
		validators: flight.Memo[flight.Fingerprint, validator]{Size: maxValidators},
	}
}

// Now is the clock of the repositories.
func (r *Repositories) Now() time.Time { return r.options.Now() }

// Moment is for how long an answer is news to those who merely look whether something happened.
func (r *Repositories) Moment() time.Duration { return r.options.Moment }

// Index returns the index in an artifact, which is read once for all who need it. The caller has the right to the artifact; the
// digest is that of its file. The index must not be used after release.
func (r *Repositories) Index(ctx context.Context, d digest.Digest, open func() (io.ReadCloser, error),
) (x *Index, release func(), err error) {
	return r.indexes.Join(ctx, d, time.Time{}, func(ctx context.Context) (*Index, error) {
		in, err := open()
		if err != nil {
			return nil, err
		}
		defer in.Close()

		// What was stored once was within the limits. As JSON, a character may take six.
		limits := r.options.Limits
		limits.Bytes *= 6
		limits.EntryBytes *= 6

		x, got, err := ReadIndex(ctx, in, limits)

		switch {
		case err != nil:
			return nil, err
		case d.Algorithm() == digest.SHA256 && got != d:
			return nil, fmt.Errorf("digest mismatch: computed %q, expected %q", got, d)
		}

		return x, nil
	})
}

// Normalize reads the index of a download with all that it says. It has to be closed.
func (r *Repositories) Normalize(ctx context.Context, d *Download) (*NormalIndex, error) {
	return NormalizeIndex(ctx, d.Reader(), r.options.Limits, r.options.Dir)
}

// Latest returns the index of a repository of which no artifact is stored. It must not be used after release.
func (r *Repositories) Latest(ctx context.Context, a RepositoryAccess, since time.Time) (x *Index, release func(), err error) {
	d, done, err := r.FetchIndex(ctx, a, "", since)
	if err != nil {
		return nil, nil, err
	}
	defer done()

	return r.Index(ctx, d.Digest, func() (io.ReadCloser, error) { return io.NopCloser(d.Reader()), nil })
}

// tempFile returns a temporary file without a name.
func (r *Repositories) tempFile() (*os.File, error) { return nameless(r.options.Dir) }
