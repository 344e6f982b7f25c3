package build

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/weir-dev/weir/api/meta"
)

// Defaults of Options.
const (
	DefaultCacheSize   = 16 << 20
	DefaultMaxFileSize = 16 << 20
	DefaultTimeout     = 5 * time.Minute
)

// Options of a Builder. The zero value of each field stands for its default.
type Options struct {
	// CacheSize is the number of bytes of built sets that are kept in memory. Negative keeps none.
	CacheSize int64
	// MaxFileSize is the number of bytes that a file of a build may have.
	MaxFileSize int64
	// Lenient makes variables that are not set, and have no default, empty. Otherwise they are an error.
	Lenient bool
	// Concurrency is how many builds may run the kustomize library at once, of which one owner gets half. The default is
	// twice the number of processors.
	Concurrency int
	// Timeout is after which time a build is given up.
	Timeout time.Duration
	// Fetcher gets remote resources, bases and components. Nil means that they are refused.
	Fetcher Fetcher
}

// Builder builds artifacts. It is safe for concurrent use.
type Builder struct {
	maxFile int64
	timeout time.Duration
	lenient bool
	fetcher Fetcher
	cache   *cache
	// gate leads to the kustomize library. Who changes its schema, a variable of its package, is alone inside.
	gate *gate
	// large is the gate that one large build passes at a time.
	large *gate
	// schema is done when the library has parsed its schema.
	schema sync.Once
}

// New returns a Builder.
func New(o Options) *Builder {
	room := cmp.Or(o.Concurrency, 2*runtime.GOMAXPROCS(0))

	return &Builder{
		maxFile: cmp.Or(o.MaxFileSize, DefaultMaxFileSize),
		timeout: cmp.Or(o.Timeout, DefaultTimeout),
		lenient: o.Lenient,
		fetcher: o.Fetcher,
		cache:   newCache(cmp.Or(o.CacheSize, DefaultCacheSize)),
		gate:    newGate(room, room/2, patience), //nolint:mnd // half of it
		large:   largeGate(),
	}
}

// patience is how long a build may run the library and not count as slow.
const patience = 10 * time.Second

// largeGate lets in one large build. Of one owner, few may wait for that, since each keeps a worker waiting.
func largeGate() *gate {
	const queue = 2

	g := newGate(1, 1, 0)
	g.queue = queue

	return g
}

// Request says what to build.
type Request struct {
	// Dir is the directory with the unpacked artifact: absolute, without symlinks, and unchanged during the build.
	Dir string
	// Digest identifies the content of Dir. If it is empty, the set is neither taken from the cache nor kept in it.
	Digest string
	// Path of the directory to build, relative to Dir. Empty stands for Dir itself.
	Path string
	// Owner is whom the build is for, such as a namespace. No owner takes the places of all others.
	Owner string
	// Spec is what is done to the objects.
	Spec Spec
	// Variables are substituted in the objects. Nil or empty ones are not, unless Always is set.
	Variables *Variables
	// Always substitutes even without variables, so that defaults are filled in.
	Always bool
	// Decrypter decrypts files before the build and objects after it. Nil leaves them as they are.
	Decrypter Decrypter

	mask *Mask // of what was decrypted; set by Build
}

// PathError says that the path to build is not in the artifact.
type PathError struct {
	// Path as it was asked for.
	Path string
	// Err is the reason.
	Err error
}

// Error implements error.
func (e *PathError) Error() string {
	if cause, ok := errors.AsType[*fs.PathError](e.Err); ok {
		return fmt.Sprintf("stat %s: %s", e.Path, cause.Err)
	}

	return fmt.Sprintf("stat %s: %s", e.Path, e.Err)
}

// Unwrap returns the reason.
func (e *PathError) Unwrap() error { return e.Err }

// Lookup returns the set of the request if it is in the cache, and nil otherwise. It needs no Dir.
func (b *Builder) Lookup(r Request) (*Set, error) {
	key, err := r.key()
	if err != nil || key == "" {
		return nil, err
	}

	if e := b.cache.get(key); e != nil {
		return e.set(nil)
	}

	return nil, nil
}

// Build returns the objects of the request. A path that is not in the artifact is a *PathError, something that no build
// does a *RefusedError; both may be wrapped. Errors name the file and the reason, and never a secret variable's value.
func (b *Builder) Build(ctx context.Context, r Request) (*Set, error) {
	if set, err := b.Lookup(r); set != nil || err != nil {
		return set, err
	}

	ctx, cancel := context.WithTimeoutCause(ctx, b.timeout, fmt.Errorf("the build takes longer than %s", b.timeout))
	defer cancel()

	r.mask = &Mask{}
	set, err := b.produce(ctx, &r)

	return set, r.mask.err(err)
}

// produce builds the request, and keeps the result.
func (b *Builder) produce(ctx context.Context, r *Request) (*Set, error) {
	objects, fetched, err := b.build(ctx, r)
	if err != nil {
		return nil, err
	}

	e, err := encode(objects)
	if err != nil {
		return nil, err
	}

	e.mask = r.mask

	if key, err := r.key(); err == nil && key != "" && !fetched {
		b.cache.put(key, e)
	}

	set, err := e.set(objects)
	if err == nil {
		set.Fetched = fetched
	}

	return set, err
}

// key identifies everything that the result depends on. It is empty if the request says not to cache it.
func (r *Request) key() (string, error) {
	if r.Digest == "" {
		return "", nil
	}

	spec, err := json.Marshal(r.Spec)
	if err != nil {
		return "", err
	}

	return strings.Join([]string{
		r.Digest, cleanPath(r.Path), digest(spec), r.Variables.Digest(), fmt.Sprint(r.Always), r.fingerprint(),
	}, "\n"), nil
}

// cleanPath returns the path relative to the artifact: ".", "a/b", or one that begins with "..".
func cleanPath(name string) string { return path.Clean(strings.TrimLeft(name, "/")) }

// build returns the objects, and tells whether anything was fetched for them.
func (b *Builder) build(ctx context.Context, r *Request) (objects []*unstructured.Unstructured, fetched bool, err error) {
	t, err := b.openTree(ctx, r.Dir, r.Owner)
	if err != nil {
		return nil, false, err
	}
	defer t.close()

	t.decrypter, t.mask = r.Decrypter, r.mask

	objects, err = b.complete(t, r)

	return objects, err == nil && t.mounts != nil && len(t.mounts.list) > 0, err
}

// complete builds the directory of the request, and does what the library does not.
func (b *Builder) complete(t *tree, r *Request) ([]*unstructured.Unstructured, error) {
	dir, err := t.directory(r.Path)
	if err != nil {
		return nil, &PathError{Path: r.Path, Err: err}
	}

	objects, err := b.objects(t, dir, &r.Spec)
	if err != nil {
		return nil, err
	}

	if err := t.decryptObjects(objects); err != nil {
		return nil, err
	}

	if r.Variables.Len() > 0 || r.Always {
		if err := substitute(t.ctx, objects, r.Variables, b.lenient); err != nil {
			return nil, r.mask.quiet(err)
		}
	}

	for _, u := range objects {
		if err := checkNamed(u); err != nil {
			return nil, err
		}
	}

	if err := addMetadata(objects, r.Spec.CommonMetadata); err != nil {
		return nil, err
	}

	return objects, nil
}

// directory returns the directory for the path, relative to the artifact and without symlinks.
func (t *tree) directory(name string) (string, error) {
	rel := cleanPath(name)
	if !filepath.IsLocal(rel) {
		return "", errors.New("path is outside of the artifact")
	}

	dir, base, err := t.CleanedAbs(absolute(rel))
	if err != nil {
		return "", err
	}

	if base != "" {
		return "", errors.New("not a directory")
	}

	return relative(dir.String())
}

// objects chooses between the direct path and the library.
func (b *Builder) objects(t *tree, dir string, spec *Spec) ([]*unstructured.Unstructured, error) {
	file := t.kustomizationFile(dir)
	if file != "" {
		return b.buildWithLibrary(t, dir, file, nil, spec)
	}

	found, err := t.scan(dir)
	if err != nil {
		return nil, err
	}

	if found.odd == "" && !spec.transforms() {
		return found.objects, nil
	}

	t.again() // the library reads it all once more

	return b.buildWithLibrary(t, dir, "", found, spec)
}

func checkNamed(u *unstructured.Unstructured) error {
	if u.GetAPIVersion() != "" && u.GetKind() != "" && u.GetName() != "" {
		return nil
	}

	return fmt.Errorf("failed to decode Kubernetes apiVersion, kind and name from: apiVersion %q, kind %q, name %q",
		u.GetAPIVersion(), u.GetKind(), u.GetName())
}

// addMetadata adds the labels and annotations to the objects, in place.
func addMetadata(objects []*unstructured.Unstructured, m *meta.CommonMetadata) error {
	if m == nil {
		return nil
	}

	for _, u := range objects {
		if err := merge(u, "labels", m.Labels); err != nil {
			return err
		}

		if err := merge(u, "annotations", m.Annotations); err != nil {
			return err
		}
	}

	return nil
}

func merge(u *unstructured.Unstructured, field string, add map[string]string) error {
	if len(add) == 0 {
		return nil
	}

	all, _, err := unstructured.NestedStringMap(u.Object, "metadata", field)
	if err != nil {
		return fmt.Errorf("%s %q: %w", u.GetKind(), u.GetName(), err)
	}

	if all == nil {
		all = map[string]string{}
	}

	maps.Copy(all, add)

	return unstructured.SetNestedStringMap(u.Object, all, "metadata", field)
}
