// Package release brings the distributions of FluxInstances from registries, and sees to it that they and the images of their
// components are signed by whom the instance trusts.
//
// It decides which bytes may be used. What is built of them is up to package distribution, and what a refusal means for an
// instance to package instance. It writes nothing, neither to the cluster nor to a registry.
package release

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/reconcilers/distribution"
	"github.com/weir-dev/weir/reconcilers/flight"
	"github.com/weir-dev/weir/reconcilers/registry"
	"github.com/weir-dev/weir/reconcilers/secrets"
)

// Options are the parameters of Releases.
type Options struct {
	// Registries hold the artifacts and images. It is required.
	Registries *registry.Registries

	// Secrets are those that instances name. It is required.
	Secrets secrets.Reader

	// Embedded is the distribution that the operator carries. It is required.
	Embedded *distribution.Distribution

	// Image is the operator's own.
	Image distribution.Image

	// Timeout bounds what is done with one registry at a time. Zero means 30 s.
	Timeout time.Duration

	// Now is the clock. Nil means that of the machine.
	Now func() time.Time
}

// Releases are the distributions of instances. It is safe for concurrent use.
type Releases struct {
	options Options

	mu       sync.Mutex
	contents flight.Memo[string, *content] // by digest
}

// keptContents is how many artifacts are kept: that of an instance, and the one before or after.
const keptContents = 2

// New returns releases of which none was fetched.
func New(o Options) *Releases {
	o.Timeout = cmp.Or(o.Timeout, 30*time.Second)
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Releases{options: o, contents: flight.Memo[string, *content]{Size: keptContents}}
}

// Release is a distribution that an instance may run.
type Release struct {
	// Artifact that it came from. Nil means that it is the one that the operator carries.
	Artifact *fluxv1.DistributionArtifact

	// Images are how many were verified.
	Images int

	// Signers say who signed, each once. Nil means that nothing was verified.
	Signers []string

	distribution *distribution.Distribution
	digests      map[string]string // of images, by reference
	verified     map[string]bool   // image references with digests; nil if no verification was asked for
}

// Remote tells whether the instance needs anything from a registry.
func Remote(obj *fluxv1.FluxInstance) bool {
	return obj.Spec.Distribution.Artifact != "" || obj.Spec.Distribution.Verify != nil
}

// RefusedError says that something is there and must not be used: it is not signed by whom it has to be, or it is older than
// what was accepted before; or that the keys to find that out are missing.
type RefusedError struct{ Err error }

// Error implements error.
func (e *RefusedError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *RefusedError) Unwrap() error { return e.Err }

func refuse(format string, args ...any) error { return &RefusedError{Err: fmt.Errorf(format, args...)} }

// InvalidError says that the instance cannot be built of the artifact: neither of them will do before it changes.
type InvalidError struct{ Err error }

// Error implements error.
func (e *InvalidError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *InvalidError) Unwrap() error { return e.Err }

// Fetch returns what the instance is to run, with all its signatures verified now. What it asks of registries may be a moment
// old. Its errors are a *RefusedError, an *InvalidError, or say what could not be reached.
func (r *Releases) Fetch(ctx context.Context, obj *fluxv1.FluxInstance) (*Release, error) {
	t, err := r.trust(ctx, obj)
	if err != nil {
		return nil, err
	}
	rel := &Release{distribution: r.options.Embedded}
	if obj.Spec.Distribution.Artifact != "" {
		if err := r.fetchArtifact(ctx, obj, t, rel); err != nil {
			return nil, err
		}
	}
	if t == nil {
		return rel, nil
	}
	return rel, r.verifyImages(ctx, obj, t, rel)
}

// fetchArtifact verifies and reads the artifact, in this order.
func (r *Releases) fetchArtifact(ctx context.Context, obj *fluxv1.FluxInstance, t *trust, rel *Release) error {
	url := obj.Spec.Distribution.Artifact
	ref, err := name.ParseReference(strings.TrimPrefix(url, "oci://"))
	if err != nil {
		return &InvalidError{Err: fmt.Errorf("spec.distribution.artifact %q is no reference of an artifact", url)}
	}
	a, err := r.access(ctx, obj, obj.Spec.Distribution.ArtifactPullSecret)
	if err != nil {
		return err
	}
	found, err := r.find(ctx, obj, ref, a)
	if err != nil {
		return err
	}
	if t != nil {
		if err := r.verify(ctx, t, found, "artifact", rel); err != nil {
			return err
		}
	}
	c, err := r.content(ctx, found)
	if err != nil {
		return err
	}
	rel.Artifact = &fluxv1.DistributionArtifact{
		URL: url, Digest: found.digest.String(), Version: c.releases.Newest(),
	}
	if !c.created.IsZero() {
		rel.Artifact.Created = &metav1.Time{Time: c.created}
	}
	if t != nil && rel.Artifact.Digest != obj.Status.LastArtifactRevision { // what runs may come back after what was not good
		if err := checkAge(obj.Status.Artifact, rel.Artifact); err != nil {
			return &RefusedError{Err: err}
		}
	}
	rel.distribution, err = c.releases.Select(obj.Spec.Distribution.Version, distribution.Variant(obj), url, r.options.Embedded)
	if err != nil {
		return &InvalidError{Err: err}
	}
	return nil
}

// Key tells releases apart that are not built alike.
func (r *Release) Key() string {
	key := []string{r.distribution.Version()}
	if r.Artifact != nil {
		key = append(key, r.Artifact.Digest)
	}
	for _, image := range slices.Sorted(maps.Keys(r.digests)) {
		key = append(key, image+"@"+r.digests[image])
	}
	return strings.Join(key, "\n")
}

// Build makes the objects of the instance that it was fetched for. If verification was asked for, they run verified images
// only, by digest.
func (r *Release) Build(instance *fluxv1.FluxInstance, o distribution.Options) (*distribution.Set, error) {
	o.Digests = r.digests
	set, err := r.distribution.Build(instance, o)
	if err != nil || r.verified == nil {
		return set, err
	}
	for _, image := range imagesOf(set) {
		if !r.verified[image] {
			return nil, fmt.Errorf("image %q was not verified", image)
		}
	}
	return set, nil
}

// Latest returns the highest stable version of the same major version in the artifact, and nothing without an artifact.
func (r *Release) Latest() string { return r.distribution.Latest() }

// Beyond returns the version that would run if the operator could run it, and nothing if there is none.
func (r *Release) Beyond() string { return r.distribution.Beyond() }

// Operator returns the definitions of the operator's own kinds that belong to the release. They must not be changed.
func (r *Release) Operator() []*unstructured.Unstructured { return r.distribution.Operator() }

// Verified says in words what was verified.
func (r *Release) Verified() string {
	what := fmt.Sprintf("%d images", r.Images)
	if r.Images == 1 {
		what = "1 image"
	}
	if r.Artifact != nil {
		what = "artifact " + r.Artifact.Digest + " and " + what
	}
	return "verified signatures of " + what + " by " + strings.Join(r.Signers, ", ")
}

// errTimeout says whose fault it is that the time was up.
var errTimeout = errors.New("the registry took too long")

// bounded runs do with the time that it may take.
func (r *Releases) bounded(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, r.options.Timeout, errTimeout)
	defer cancel()
	err := do(ctx)
	if err != nil && errors.Is(context.Cause(ctx), errTimeout) {
		return fmt.Errorf("%w: %w", errTimeout, err)
	}
	return err
}
