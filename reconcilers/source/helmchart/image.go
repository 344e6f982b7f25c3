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
	if err := checkName(obj.Spec.Chart); err != nil {
		return nil, failed(sourcev1.InvalidChartReferenceReason, err)
	}

	repository, err := r.openRegistry(ctx, repo, obj.Spec.Chart)
	if err != nil {
		return nil, err
	}

	return &image{reconciler: r, obj: obj, repo: repo, repository: repository, since: since}, nil
}

// checkName refuses what is no name of a chart in a registry: it becomes a part of a repository's name, and must not lead to
// another one.
func checkName(chart string) error {
	for part := range strings.SplitSeq(strings.Trim(chart, "/"), "/") {
		if part == "" || part == "." || part == ".." || strings.ContainsAny(part, ":@") {
			return fmt.Errorf("'%s' is no name of a chart", chart)
		}
	}

	return nil
}

// openRegistry opens what holds a chart in a registry.
func (r *reconciler) openRegistry(ctx context.Context, repo *sourcev1.HelmRepository, name string) (*registry.Repository, error) {
	a := registry.Access{
		Insecure: repo.Spec.Insecure, Provider: repo.Spec.Provider,
		Kind: sourcev1.HelmRepositoryKind, Namespace: repo.Namespace, Name: repo.Name,
	}

	if ref := repo.Spec.SecretRef; ref != nil {
		var err error
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

	repository, err := r.Registries.Open(ctx, imageName(repo.Spec.URL, name), a)
	if err != nil {
		return nil, fmt.Errorf("failed to configure authentication options: %w", err)
	}

	return repository, nil
}

// imageName returns the name of the repository of a chart in a registry.
func imageName(url, chart string) string {
	return strings.Trim(strings.TrimPrefix(url, ociScheme), "/") + "/" + strings.Trim(chart, "/")
}

// find implements origin.
func (o *image) find(ctx context.Context) (found, error) {
	version, tag, err := o.choose(ctx, o.repository, o.repo, o.obj.GetVersion(), o.since)
	if err != nil {
		return found{}, err
	}

	o.tag = tag
	version, err = withGeneration(o.obj, version, "")
	name := o.obj.Spec.Chart

	return found{name: name[strings.LastIndex(name, "/")+1:], version: version}, err
}

// choose returns the version that is wanted, and its tag. One that is given exactly need not be looked for.
func (r *reconciler) choose(ctx context.Context, repository *registry.Repository, repo *sourcev1.HelmRepository, version string, since time.Time,
) (chosen, tag string, err error) {
	if exact(version) {
		return version, tagOf(version), nil
	}

	allowed, err := semver.NewConstraint(version)
	if err != nil {
		return "", "", failed(sourcev1.InvalidChartReferenceReason, errNoVersion("", "", fmt.Errorf("version '%s': %w", version, err)))
	}

	tags, err := bounded(ctx, repo.GetTimeout(), sourcev1.ChartPullErrorReason, func(ctx context.Context) ([]string, error) {
		tags, err := repository.Tags(ctx, since)
		if err != nil && !errors.Is(err, registry.ErrNotFound) {
			return nil, failed(sourcev1.ChartPullErrorReason,
				fmt.Errorf("failed to get chart version for remote reference: could not fetch tags for '%s': %w", repository.Name(), err))
		}

		return tags, nil
	})
	if err != nil {
		return "", "", err
	}

	if tag = highest(tags, allowed); tag == "" {
		name := repository.Name().String()

		// A version may be pushed at any time, and nothing would tell: so it is not for good.
		return "", "", engine.Fail(sourcev1.InvalidChartReferenceReason, fmt.Errorf("%s: %w", describe(sourcev1.InvalidChartReferenceReason),
			errNoVersion(name[strings.LastIndex(name, "/")+1:], version, charts.ErrNoVersion)))
	}

	return versionOf(tag), tag, nil
}

// exact tells whether a version is one, and no range.
func exact(version string) bool {
	_, err := semver.StrictNewVersion(strings.TrimPrefix(version, "v"))

	return err == nil
}

// Tags hold no plus.
func tagOf(version string) string { return strings.ReplaceAll(version, "+", "_") }
func versionOf(tag string) string { return strings.ReplaceAll(tag, "_", "+") }

// highest returns the tag with the highest version that is allowed, or nothing.
func highest(tags []string, allowed *semver.Constraints) string {
	var (
		best  *semver.Version
		found string
	)

	for _, tag := range slices.Sorted(slices.Values(tags)) {
		v, err := semver.NewVersion(versionOf(tag))
		if err == nil && allowed.Check(v) && (best == nil || !v.LessThan(best)) {
			best, found = v, tag
		}
	}

	return found
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
	return bounded(ctx, o.repo.GetTimeout(), sourcev1.ChartPullErrorReason, func(ctx context.Context) (built, error) {
		c, err := o.download(ctx)
		if err != nil {
			return built{}, failed(sourcev1.ChartPullErrorReason, fmt.Errorf("failed to download chart for remote reference: %w", err))
		}

		return o.remade(ctx, o.obj, f, c)
	})
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
