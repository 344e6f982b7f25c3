package helmchart

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/Masterminds/semver/v3"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/charts"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/flight"
	"github.com/weir-dev/weir/reconcilers/ingest"
	"github.com/weir-dev/weir/reconcilers/registry"
	"github.com/weir-dev/weir/reconcilers/secrets"
)

// ociScheme begins the URLs of registries.
const ociScheme = "oci://"

// image is a chart in a registry.
type image struct {
	*reconciler

	obj        *sourcev1.HelmChart
	repo       *sourcev1.HelmRepository
	repository *registry.Repository
	since      time.Time // how old an answer of the registry may be

	tag      string         // set by find
	manifest *v1.Descriptor // set by resolve
}

// openImage finds the credentials for a registry.
func (r *reconciler) openImage(ctx context.Context, obj *sourcev1.HelmChart, repo *sourcev1.HelmRepository, since time.Time) (origin, error) {
	repository, err := r.openRegistry(ctx, repo, obj.Spec.Chart)

	switch {
	case errors.Is(err, errName):
		return refused{failed(sourcev1.InvalidChartReferenceReason, err)}, nil
	case errors.Is(err, errURL): // until it changes
		return nil, engine.Stall(sourcev1.URLInvalidReason, fmt.Errorf("invalid Helm repository URL: %w", err))
	case err != nil:
		return nil, err
	}

	return &image{reconciler: r, obj: obj, repo: repo, repository: repository, since: since}, nil
}

// refused is a chart that cannot be.
type refused struct{ err error }

// find implements origin.
func (r refused) find(context.Context) (found, error) { return found{}, r.err }

// build implements origin.
func (r refused) build(context.Context, found) (built, error) { return built{}, r.err }

// What may be wrong with the name of a repository in a registry.
var (
	errName = errors.New("no name of a chart")
	errURL  = fmt.Errorf("no URL of a registry, such as %s<host>/<path>", ociScheme)
)

// checkName refuses what is no name of a chart in a registry: it becomes a part of a repository's name, and must not lead to
// another one.
func checkName(chart string) error {
	for part := range strings.SplitSeq(strings.Trim(chart, "/"), "/") {
		if part == "" || part == "." || part == ".." || strings.ContainsAny(part, ":@") {
			return fmt.Errorf("'%s' is %w", chart, errName)
		}
	}

	return nil
}

// openRegistry opens what holds a chart in a registry.
func (r *reconciler) openRegistry(ctx context.Context, repo *sourcev1.HelmRepository, name string) (*registry.Repository, error) {
	name, err := imageName(repo.Spec.URL, name)
	if err != nil {
		return nil, err
	}

	a := registry.Access{
		Insecure: repo.Spec.Insecure, Provider: repo.Spec.Provider,
		Kind: sourcev1.HelmRepositoryKind, Namespace: repo.Namespace, Name: repo.Name,
	}

	if ref := repo.Spec.SecretRef; ref != nil {
		if a.Secret, err = secrets.Get(ctx, r.Secrets, repo.Namespace, ref.Name); err != nil {
			return nil, err //nolint:wrapcheck // it is the whole story
		}
	}

	if ref := repo.Spec.CertSecretRef; ref != nil {
		s, err := secrets.Get(ctx, r.Secrets, repo.Namespace, ref.Name)
		if err != nil {
			return nil, err //nolint:wrapcheck // it is the whole story
		}

		if a.TLS, err = secrets.ReadTLS(s, false); err != nil {
			return nil, fmt.Errorf("failed to configure authentication options: %w", err)
		}
	}

	repository, err := r.Registries.Open(ctx, name, a)
	if err != nil {
		return nil, fmt.Errorf("failed to configure authentication options: %w", err)
	}

	return repository, nil
}

// imageName returns the name of the repository of a chart in a registry. The error is errURL or errName.
func imageName(url, chart string) (string, error) {
	scheme, base, _ := strings.Cut(url, "://")
	base = strings.Trim(base, "/")

	// A host alone is a registry too. The words of the parser would hold all that people put into a URL.
	if _, err := registry.ParseName(base+"/x", true); err != nil || base == "" || !strings.EqualFold(scheme+"://", ociScheme) {
		return "", fmt.Errorf("'%s' is %w", ingest.Redact(url), errURL)
	}

	if err := checkName(chart); err != nil {
		return "", err
	}

	name := base + "/" + strings.Trim(chart, "/")
	if _, err := registry.ParseName(name, true); err != nil {
		return "", fmt.Errorf("'%s' is %w", chart, errName)
	}

	return name, nil
}

// find implements origin.
func (o *image) find(ctx context.Context) (f found, err error) {
	var version string

	err = o.lane.Bounded(ctx, o.obj.Namespace, o.repo.GetTimeout(), func(ctx context.Context) (err error) {
		version, o.tag, err = choose(ctx, o.repository, o.obj.GetVersion(), o.since)

		return err
	})

	f.name = strings.Trim(o.obj.Spec.Chart, "/")
	f.name = f.name[strings.LastIndex(f.name, "/")+1:]

	switch {
	case errors.Is(err, charts.ErrNoVersion): // one may be pushed at any time, and nothing would tell: so it is not for good
		return found{}, engine.Fail(sourcev1.InvalidChartReferenceReason, fmt.Errorf("%s: %w",
			describe(sourcev1.InvalidChartReferenceReason), errNoVersion(f.name, o.obj.GetVersion(), err)))
	case errors.Is(err, errRange):
		return found{}, failed(sourcev1.InvalidChartReferenceReason, errNoVersion("", "", err))
	case err != nil:
		return found{}, failed(sourcev1.ChartPullErrorReason, errNoVersion("", "", err))
	}

	f.version, err = withGeneration(o.obj, version, "")

	return f, err
}

// errRange says that something is no range of versions.
var errRange = errors.New("no range of versions")

// choose returns the version that is wanted, and its tag. One that is given exactly need not be looked for.
func choose(ctx context.Context, repository *registry.Repository, version string, since time.Time) (chosen, tag string, err error) {
	if exact(version) {
		return version, tagOf(version), nil
	}

	allowed, err := charts.Range(version)
	if err != nil {
		return "", "", fmt.Errorf("%w: %w", errRange, err)
	}

	tags, err := repository.Tags(ctx, since)
	if err != nil && !errors.Is(err, registry.ErrNotFound) {
		return "", "", fmt.Errorf("could not fetch tags for '%s': %w", repository.Name(), err)
	}

	if tag, err = highest(ctx, tags, allowed); err != nil {
		return "", "", err
	}

	if tag == "" {
		return "", "", charts.ErrNoVersion
	}

	return versionOf(tag), tag, nil
}

// exact tells whether a version is one, and no range. One with a v may mean a tag without.
func exact(version string) bool {
	_, err := semver.StrictNewVersion(version)

	return err == nil
}

// Tags hold no plus.
func tagOf(version string) string { return strings.ReplaceAll(version, "+", "_") }
func versionOf(tag string) string { return strings.ReplaceAll(tag, "_", "+") }

// highest returns the tag with the highest version that is allowed, or nothing.
func highest(ctx context.Context, tags []string, allowed *semver.Constraints) (string, error) {
	var (
		best  *semver.Version
		found string
	)

	for _, tag := range slices.Sorted(slices.Values(tags)) {
		if err := ctx.Err(); err != nil {
			return "", err //nolint:wrapcheck // it is whole
		}

		v, err := semver.NewVersion(versionOf(tag))
		if err == nil && allowed.Check(v) && (best == nil || !v.LessThan(best)) {
			best, found = v, tag
		}
	}

	return found, nil
}

// resolve finds out what the tag points at, and sticks to it: what is verified is what is pulled.
func (o *image) resolve(ctx context.Context) (v1.Descriptor, error) {
	if o.manifest != nil {
		return *o.manifest, nil
	}

	d, err := o.repository.Pull(ctx, o.tag, o.since)
	if err != nil {
		return v1.Descriptor{}, fmt.Errorf("failed to get '%s%s:%s': %w", ociScheme, o.repository.Name(), o.tag, err)
	}

	o.manifest = &d

	return d, nil
}

// build implements origin.
func (o *image) build(ctx context.Context, f found) (built, error) {
	b, err := bounded(ctx, o.reconciler, o.obj, o.repo.GetTimeout(), sourcev1.ChartPullErrorReason, func(ctx context.Context) (built, error) {
		c, err := o.download(ctx)
		if err != nil {
			return built{}, failed(sourcev1.ChartPullErrorReason, fmt.Errorf("failed to download chart for remote reference: %w", err))
		}

		return o.remade(ctx, o.obj, f, c)
	})

	// The next version may be right, and nothing would tell.
	if v, ok := errors.AsType[*engine.Verdict](err); ok && v.Outcome == engine.Stalled && !exact(o.obj.GetVersion()) {
		err = engine.Fail(v.Reason, v.Err)
	}

	return b, err
}

func (o *image) download(ctx context.Context) (content, error) {
	d, err := o.resolve(ctx)
	if err != nil {
		return content{}, err
	}

	who := o.repository.Key()
	key := flight.FingerprintOf("image", string(who[:]), d.Digest.String())

	return o.pull(ctx, key, time.Time{}, func(ctx context.Context) ([]byte, error) {
		return o.fetchImage(ctx, o.repository, d)
	})
}

// Media types of the layer that holds a chart. The second one is what Helm wrote before version 3.7.
const (
	chartLayer       = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
	legacyChartLayer = "application/tar+gzip"
)

// fetchImage returns the packaged chart in an image.
func (r *reconciler) fetchImage(ctx context.Context, repository *registry.Repository, d v1.Descriptor) ([]byte, error) {
	name := repository.Name().Digest(d.Digest.String())

	m, err := repository.Manifest(ctx, d.Digest)
	if err != nil {
		return nil, fmt.Errorf("failed to get '%s%s': %w", ociScheme, name, err)
	}

	i := slices.IndexFunc(m.Layers, func(l v1.Descriptor) bool { return l.MediaType == chartLayer || l.MediaType == legacyChartLayer })
	if i < 0 {
		return nil, fmt.Errorf("'%s%s' holds no layer with media type '%s'", ociScheme, name, chartLayer)
	}

	layer := m.Layers[i]
	if most := r.Limits.MaxBytes(); layer.Size > most {
		return nil, &ingest.LimitError{Max: most, Unit: "bytes per packaged chart"}
	}

	blob, err := repository.Blob(ctx, layer)
	if err != nil {
		return nil, fmt.Errorf("failed to get '%s%s': %w", ociScheme, name, err)
	}
	defer blob.Close()

	data, err := io.ReadAll(blob)
	if err != nil {
		return nil, fmt.Errorf("failed to get '%s%s': %w", ociScheme, name, err)
	}

	return data, nil
}
