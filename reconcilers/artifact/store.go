package artifact

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weir-dev/weir/api/meta"
)

// StoreOptions are the parameters of a Store.
type StoreOptions struct {
	// Root directory. It belongs to this store alone.
	Root string

	// Address at which consumers reach the Handler, such as source-controller.flux-system.svc.cluster.local. A scheme is
	// kept; without one it is http.
	Address string

	// Algorithm of the digests. Empty means sha256. It has to be registered with go-digest.
	Algorithm digest.Algorithm

	// RetentionTTL is how long a superseded artifact stays at least, as long as it is not one too many. Zero means 1 min.
	RetentionTTL time.Duration

	// RetentionRecords is how many artifacts of an object are kept at most, the current one included. Zero means 2.
	RetentionRecords int

	// Now is the clock. Nil means that of the machine.
	Now func() time.Time
}

// Names of the store's own directories. Paths of the layout never begin with a dot.
const (
	blobsDir = ".blobs"
	tempDir  = ".tmp"
)

// Store keeps artifacts on disk. Equal content is stored once, by its digest, and linked under every path that it has. It is
// safe for concurrent use. What it knows beyond the files is not needed after a restart.
type Store struct {
	options StoreOptions
	base    string    // of URLs, with a slash at the end
	zips    sync.Pool // of *gzip.Writer

	write sync.Mutex            // is held while names appear and disappear
	pins  map[digest.Digest]int // contents that are about to get a path; guarded by write

	mu     sync.RWMutex
	checks map[stamp]digest.Digest // files that were hashed, as they were then
	links  map[string]link         // by path
}

// link is a path that this process has written or checked.
type link struct {
	digest digest.Digest
	made   time.Time
}

// NewStore returns a store in the directory, which is made if it is not there. What a process that died left unfinished is
// removed.
func NewStore(o StoreOptions) (*Store, error) {
	o = o.withDefaults()
	if !o.Algorithm.Available() {
		return nil, fmt.Errorf("digest algorithm %q is not available", o.Algorithm)
	}

	root, err := filepath.Abs(o.Root)
	if err != nil {
		return nil, fmt.Errorf("find root: %w", err)
	}

	o.Root = root

	if err := os.RemoveAll(filepath.Join(root, tempDir)); err != nil {
		return nil, fmt.Errorf("remove unfinished files: %w", err)
	}

	for _, dir := range []string{tempDir, blobsDir} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o700); err != nil {
			return nil, fmt.Errorf("make directory: %w", err)
		}
	}

	s := &Store{
		options: o, base: baseURL(o.Address),
		pins: map[digest.Digest]int{}, checks: map[stamp]digest.Digest{}, links: map[string]link{},
	}

	return s, s.sweep()
}

func (o StoreOptions) withDefaults() StoreOptions {
	if o.Algorithm == "" {
		o.Algorithm = digest.SHA256
	}

	if o.RetentionTTL == 0 {
		o.RetentionTTL = time.Minute
	}

	if o.RetentionRecords == 0 {
		o.RetentionRecords = 2
	}

	if o.Now == nil {
		o.Now = time.Now
	}

	return o
}

func baseURL(address string) string {
	address = strings.TrimRight(address, "/")
	if !strings.HasPrefix(address, "http://") && !strings.HasPrefix(address, "https://") {
		address = "http://" + address
	}

	return address + "/"
}

// URL returns the URL of a path of the layout.
func (s *Store) URL(p string) string { return s.base + p }

// Put stores what content writes and returns the artifact at the location. The file appears there at once and whole, or not
// at all; one that is there already is replaced.
func (s *Store) Put(ctx context.Context, at Location, revision string, content Content) (*meta.Artifact, error) {
	if err := at.validate(); err != nil {
		return nil, err
	}

	d, release, err := s.Add(ctx, content)
	if err != nil {
		return nil, err
	}
	defer release()

	return s.Link(at, revision, d)
}

// Link returns an artifact at the location of content that is stored already, without reading or writing any. It fails with
// ErrNotFound if the content is not there any more.
func (s *Store) Link(at Location, revision string, d digest.Digest) (*meta.Artifact, error) {
	if err := at.validate(); err != nil {
		return nil, err
	}

	if err := d.Validate(); err != nil {
		return nil, fmt.Errorf("digest %q: %w", d, err)
	}

	s.write.Lock()
	defer s.write.Unlock()

	if err := s.check(s.blob(d), d); err != nil {
		return nil, err
	}

	return s.link(at, revision, d)
}

// link makes the content of the digest appear at the location. The caller holds the write lock.
func (s *Store) link(at Location, revision string, d digest.Digest) (*meta.Artifact, error) {
	target := s.file(at.Path())
	if err := os.MkdirAll(filepath.Dir(target), 0o700); err != nil {
		return nil, fmt.Errorf("make directory: %w", err)
	}

	info, err := os.Stat(s.blob(d))
	if err != nil {
		return nil, fmt.Errorf("store content: %w", err)
	}

	if err := s.replace(s.blob(d), info, target); err != nil {
		return nil, err
	}

	now := s.options.Now()
	s.remember(at, link{digest: d, made: now})

	return &meta.Artifact{
		Path: at.Path(), URL: s.URL(at.Path()), Revision: revision, Digest: d.String(), Size: new(info.Size()),
		LastUpdateTime: metav1.NewTime(now.UTC().Truncate(time.Second)),
	}, nil
}

// replace makes the target a second name of the blob, at once. File systems that cannot do that get a copy.
func (s *Store) replace(blob string, info fs.FileInfo, target string) error {
	if have, err := os.Lstat(target); err == nil && os.SameFile(info, have) {
		return nil
	}

	// The name is free: the caller holds the write lock.
	temp := filepath.Join(s.options.Root, tempDir, "link")
	_ = os.Remove(temp)

	if err := os.MkdirAll(filepath.Dir(temp), 0o700); err != nil {
		return fmt.Errorf("make directory: %w", err)
	}

	if err := os.Link(blob, temp); err != nil {
		if err := copyFile(blob, temp); err != nil {
			return fmt.Errorf("copy content: %w", err)
		}
	}

	defer os.Remove(temp) //nolint:errcheck // it is usually gone

	if err := os.Rename(temp, target); err != nil {
		return fmt.Errorf("link content: %w", err)
	}

	return nil
}

func copyFile(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close() //nolint:errcheck // it was only read

	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}

	_, err = io.Copy(out, in)

	return errors.Join(err, out.Close())
}

// Verify checks that the file of the artifact is there and has its digest. It reads the file only if it changed since it was
// written or verified by this process. It returns ErrNotFound or ErrDigestMismatch if something is wrong with the file.
func (s *Store) Verify(a *meta.Artifact) error {
	at, err := parsePath(a.Path)
	if err != nil {
		return err
	}

	d, err := digest.Parse(a.Digest)
	if err != nil {
		return fmt.Errorf("%w: digest %q: %w", ErrDigestMismatch, a.Digest, err)
	}

	if err := s.check(s.file(at.Path()), d); err != nil {
		return err
	}

	s.mu.RLock()
	_, known := s.links[at.Path()]
	s.mu.RUnlock()

	if !known { // an earlier process has stored it
		s.remember(at, link{digest: d, made: a.LastUpdateTime.Time})
		s.index(at, d)
	}

	return nil
}

func (s *Store) remember(at Location, l link) {
	s.mu.Lock()
	defer s.mu.Unlock()

	s.links[at.Path()] = l
}

// Relocate gives the artifact the URL under which it is served now. It tells whether that changed anything.
func (s *Store) Relocate(a *meta.Artifact) bool {
	url := s.URL(a.Path)
	changed := a.URL != url
	a.URL = url

	return changed
}

func (s *Store) file(p string) string { return filepath.Join(s.options.Root, filepath.FromSlash(p)) }

func (s *Store) blob(d digest.Digest) string {
	return s.file(path.Join(blobsDir, d.Algorithm().String(), d.Encoded()))
}
