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

	// Algorithm of the digests: sha256, sha384 or sha512. Empty means sha256.
	Algorithm digest.Algorithm

	// RetentionTTL is how long a superseded artifact stays at least, as long as it is not one too many. Zero means 1 min.
	RetentionTTL time.Duration

	// RetentionRecords is how many artifacts of an object are kept at most, the current one included. Zero means 2.
	RetentionRecords int

	// Now is the clock. Nil means that of the machine.
	Now func() time.Time

	// Lost is told of an owner, its kind in lower case, when a file of its artifacts turns out to be gone or wrong, on a
	// request or in an Audit. The file is not served any more; the owner has to Verify its artifact, and to store it again.
	// It is called without a lock, from a goroutine of its own. Nil means nobody is told.
	Lost func(Owner)
}

// Names of the store's own directories. Paths of the layout never begin with a dot.
const (
	blobsDir = ".blobs"
	tempDir  = ".tmp"
)

// Store keeps artifacts on disk. Equal content is stored once, by its digest, and linked under every path that it has. It is
// safe for concurrent use.
//
// Nothing is forced out of the caches of the machine when it is written: a content counts for what its digest says only as long
// as the process knows that it wrote or read it. After a restart it is read again before it is used or served.
type Store struct {
	options StoreOptions
	base    string    // of URLs, with a slash at the end
	zips    sync.Pool // of *gzip.Writer
	began   time.Time

	write   sync.Mutex                  // is held while names appear and disappear
	pins    map[digest.Digest]int       // contents that are about to get a path; guarded by write
	orphans map[digest.Digest]time.Time // contents whose paths were lost, and when; guarded by write

	mu     sync.RWMutex
	checks map[stamp]digest.Digest // files that were hashed, as they were then
	links  map[string]link         // by path
	lost   map[string]time.Time    // update time of lost artifacts, by path of the owner
	sums   map[sumKey]*sum         // that are being computed

	reading chan struct{} // has room for those who may compute one
}

// link is a path that this process has written or checked, or has found with the content of a digest.
type link struct {
	digest   digest.Digest
	verified bool // else it was found

	made    time.Time // the name
	updated time.Time // the artifact, as its consumers know it
	trouble bool      // it cannot be read or removed, and its owner was told
	wrong   stamp     // of a file that does not have the digest and cannot be removed
}

// NewStore returns a store in the directory, which is made if it is not there. What a process that died left unfinished is
// removed.
func NewStore(o StoreOptions) (*Store, error) {
	o = o.withDefaults()
	if !o.Algorithm.Available() {
		return nil, fmt.Errorf("digest algorithm %q is not supported: it is one of sha256, sha384 and sha512", o.Algorithm)
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
		options: o, base: baseURL(o.Address), began: o.Now(),
		pins: map[digest.Digest]int{}, orphans: map[digest.Digest]time.Time{},
		checks: map[stamp]digest.Digest{}, links: map[string]link{}, lost: map[string]time.Time{},
		sums: map[sumKey]*sum{}, reading: make(chan struct{}, maxReading),
	}

	return s, s.scan()
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

	_ = s.check(s.blob(d), d) // what has to be read is read without the lock

	s.write.Lock()
	defer s.write.Unlock()

	if err := s.sound(d); err != nil {
		return nil, err
	}

	info, updated, err := s.link(at, d)
	if err != nil {
		return nil, err
	}

	return &meta.Artifact{
		Path: at.Path(), URL: s.URL(at.Path()), Revision: revision, Digest: d.String(), Size: new(info.Size()),
		LastUpdateTime: metav1.NewTime(updated),
	}, nil
}

// sound checks the content of a digest. What is wrong is cleared away, so that it can be stored again. The caller holds the
// write lock.
func (s *Store) sound(d digest.Digest) error {
	blob := s.blob(d)

	err := s.check(blob, d)
	if !errors.Is(err, ErrDigestMismatch) {
		return err
	}

	if info, e := os.Lstat(blob); e == nil {
		s.tell(s.spoil(d, info))
	}

	return fmt.Errorf("%w in storage: %w", ErrNotFound, err)
}

// link makes the content of the digest appear at the location. It returns its file, and the time that tells the artifact from
// earlier ones. The caller holds the write lock.
func (s *Store) link(at Location, d digest.Digest) (fs.FileInfo, time.Time, error) {
	target := s.file(at.Path())
	if err := os.MkdirAll(filepath.Dir(target), 0o700); err != nil {
		return nil, time.Time{}, fmt.Errorf("make directory: %w", err)
	}

	info, err := os.Stat(s.blob(d))
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("store content: %w", err)
	}

	if err := s.replace(s.blob(d), info, target); err != nil {
		return nil, time.Time{}, err
	}

	now := s.options.Now()
	updated := s.renewed(at.Owner, now)
	before, replaced := s.known(at.Path())

	s.remember(at, link{digest: d, verified: true, made: now, updated: updated})
	delete(s.orphans, d)

	if replaced && before.digest != d {
		s.reap(before.digest) // this may have been its last path
	}

	return info, updated, nil
}

// replace makes the target a second name of the blob, at once. File systems that cannot do that get a copy.
func (s *Store) replace(blob string, info fs.FileInfo, target string) error {
	have, err := os.Lstat(target)

	switch {
	case err != nil:
	case os.SameFile(info, have):
		return nil
	case have.IsDir(): // a file does not take the place of one
		if err := os.RemoveAll(target); err != nil {
			return fmt.Errorf("remove directory: %w", err)
		}
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

func (s *Store) remember(at Location, l link) {
	s.mu.Lock()
	defer s.mu.Unlock()

	s.links[at.Path()] = l
}

// known returns what is known of a path.
func (s *Store) known(p string) (link, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()

	l, ok := s.links[p]

	return l, ok
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
