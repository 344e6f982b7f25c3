package charts

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/weir-dev/weir/reconcilers/flight"
	"github.com/weir-dev/weir/reconcilers/ingest"
)

// maxIdleDownloads bounds the files of indexes that were fetched a moment ago, in bytes: the disk may be memory, and nobody
// looks for them until the next one is fetched.
const maxIdleDownloads = 16 << 20

// Download is the file of an index, as a server has it now. It is shared and must not be used after its release.
type Download struct {
	// Digest of the file.
	Digest digest.Digest

	// Size of the file in bytes. It is zero for one that is NotModified.
	Size int64

	// NotModified tells that the server says that the index is the one that was there before. There is nothing to read then.
	NotModified bool

	file *os.File
}

// Reader reads the file from its beginning. Several may do so at a time.
func (d *Download) Reader() io.Reader {
	if d.file == nil {
		return http.NoBody
	}

	return io.NewSectionReader(d.file, 0, d.Size)
}

func (d *Download) close() {
	if d.file != nil {
		_ = d.file.Close()
	}
}

// downloadKey is an index as somebody sees it, who has some index already.
type downloadKey struct {
	access flight.Fingerprint
	have   digest.Digest
}

// validator is by what a server tells whether an index has changed.
type validator struct {
	digest        digest.Digest
	tag, modified string
}

// FetchIndex returns the index file that the server had at the time given or later. Who has one already names its digest: then
// the server is asked for another one only, if it can be asked that. It must not be used after release.
func (r *Repositories) FetchIndex(ctx context.Context, a RepositoryAccess, have digest.Digest, since time.Time,
) (d *Download, release func(), err error) {
	u, err := a.indexURL()
	if err != nil {
		return nil, nil, err
	}

	key := downloadKey{access: a.fingerprint(), have: have}

	return r.downloads.Join(ctx, key, since, func(ctx context.Context) (*Download, error) {
		req, err := a.request(ctx, u)
		if err != nil {
			return nil, err
		}

		known, _ := r.validators.Get(key.access)
		asked := known.digest == have && known.ask(req)

		resp, err := r.do(a, req, r.options.Limits.Bytes)
		if err != nil {
			return nil, err
		}
		defer resp.Body.Close()

		if resp.StatusCode == http.StatusNotModified && asked {
			return &Download{Digest: have, NotModified: true}, nil
		}

		if resp.StatusCode != http.StatusOK {
			return nil, fmt.Errorf("failed to fetch %s : %s", ingest.Redact(u.String()), ingest.Status(resp))
		}

		d, err := r.spool(ctx, resp)
		if err != nil {
			return nil, fmt.Errorf("failed to fetch %s : %w", ingest.Redact(u.String()), err)
		}

		r.validators.Put(key.access, validator{
			digest: d.Digest, tag: resp.Header.Get("ETag"), modified: resp.Header.Get("Last-Modified"),
		})

		return d, nil
	})
}

// ask makes the request one for something else. It tells whether it could.
func (v validator) ask(req *http.Request) bool {
	if v.digest == "" || v.tag == "" && v.modified == "" {
		return false
	}

	if v.tag != "" {
		req.Header.Set("If-None-Match", v.tag)
	}

	if v.modified != "" {
		req.Header.Set("If-Modified-Since", v.modified)
	}

	return true
}

// spool writes an answer to a file.
func (r *Repositories) spool(ctx context.Context, resp *http.Response) (*Download, error) {
	if limit := r.options.Limits.Bytes; resp.ContentLength > limit {
		return nil, &ingest.LimitError{Max: limit, Unit: "bytes per index"}
	}

	file, err := r.tempFile()
	if err != nil {
		return nil, err
	}

	sum := digest.SHA256.Digester()

	n, err := io.Copy(io.MultiWriter(file, sum.Hash()), resp.Body)
	if err == nil {
		err = ctx.Err()
	}

	if err == nil && resp.ContentLength >= 0 && n != resp.ContentLength {
		err = io.ErrUnexpectedEOF
	}

	if err != nil {
		_ = file.Close()

		return nil, ingest.RedactError(err)
	}

	return &Download{Digest: sum.Digest(), Size: n, file: file}, nil
}

// do sends a request with the credentials that it is to have.
func (r *Repositories) do(a RepositoryAccess, req *http.Request, limit int64) (*http.Response, error) {
	t, err := a.transport(r.options.Transports)
	if err != nil {
		return nil, err
	}

	client := ingest.NewClient(t, func(*http.Response) int64 { return limit })

	resp, err := client.Do(req)
	if err != nil {
		if cause := context.Cause(req.Context()); cause != nil {
			return nil, cause
		}

		return nil, fmt.Errorf("failed to fetch %s : %w", ingest.Redact(req.URL.String()), ingest.RedactError(err))
	}

	return resp, nil
}
