package drift

import (
	"context"
	"fmt"
	"hash/fnv"
	"io"
	"strings"
	"time"

	helmkube "helm.sh/helm/v3/pkg/kube"
	"helm.sh/helm/v3/pkg/release"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/apply"
)

const (
	// concurrency is the number of requests in parallel.
	concurrency = 8

	// recheck is about how often everything is compared, should ever an event be missed.
	recheck = 6 * time.Hour
)

// Builder reads objects, and finds out where they are served. kube.Client is one.
type Builder interface {
	Build(reader io.Reader, validate bool) (helmkube.ResourceList, error)
}

// Detector compares one release with the cluster.
type Detector struct {
	// Client acts as the identity of the release, and Applier works in its cluster.
	Client  *access.Client
	Applier *apply.Applier
	// Owner is the HelmRelease.
	Owner apply.Owner
	// Builder puts objects without a namespace into that of the release.
	Builder Builder
	// Release that is deployed, with its manifest.
	Release *release.Release
	// Digest identifies the release, the rules, and as whom it is compared.
	Digest string
	// Ignore are the rules that leave out fields or whole objects.
	Ignore []meta.IgnoreRule
}

// Detect tells how the objects differ. Full compares all of them, whatever is known, as is done now and then in any case. With an error,
// the rest may have been compared.
func (d *Detector) Detect(ctx context.Context, now time.Time, full bool) (*apply.Deviations, error) {
	if checked := d.Applier.Checked(d.Owner.ID); !checked.IsZero() && now.Sub(checked) > spread(d.Owner.String()) {
		full = true
	}

	if !full {
		if found, ok := d.Applier.Deviations(d.Owner.ID, d.Digest); ok {
			return found, nil
		}
	}

	objects, err := Objects(d.Release, d.Builder)
	if err != nil {
		return &apply.Deviations{}, err
	}

	return d.Applier.Check(ctx, d.Client, d.Owner, objects, d.options(full)) //nolint:wrapcheck // it says what it is about
}

// Correct puts right what Detect has found last. With an error, the result has what was put right all the same.
func (d *Detector) Correct(ctx context.Context) (apply.Changes, error) {
	objects, err := Objects(d.Release, d.Builder)
	if err != nil {
		return nil, err
	}

	result, err := d.Applier.Correct(ctx, d.Client, d.Owner, objects, d.options(false))

	return result.Changes, err //nolint:wrapcheck // it says what it is about
}

// spread returns about how long nothing but events may tell of drift: always the same for the same name, so that what is due for many is
// not due for all of them at once.
func spread(name string) time.Duration {
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(name))

	return recheck*4/5 + recheck*2/5*time.Duration(hash.Sum32()%1024)/1024
}

func (d *Detector) options(full bool) apply.Options {
	return apply.Options{Digest: d.Digest, Ignore: d.Ignore, Full: full, Concurrency: concurrency}
}

// Objects returns what a release consists of, as Helm applies it.
func Objects(r *release.Release, b Builder) ([]*unstructured.Unstructured, error) {
	resources, err := b.Build(strings.NewReader(r.Manifest), false)
	if err != nil {
		return nil, fmt.Errorf("read manifest of release '%s/%s.v%d': %w", r.Namespace, r.Name, r.Version, err)
	}

	objects := make([]*unstructured.Unstructured, 0, len(resources))

	for _, info := range resources {
		obj, ok := info.Object.(*unstructured.Unstructured)
		if !ok {
			return nil, fmt.Errorf("read manifest of release '%s/%s.v%d': %q was not read as it is", r.Namespace, r.Name, r.Version, info.Name)
		}

		mark(obj, r)
		objects = append(objects, obj)
	}

	return objects, nil
}

// mark adds what Helm adds to each object of a release.
func mark(obj *unstructured.Unstructured, r *release.Release) {
	labels, annotations := obj.GetLabels(), obj.GetAnnotations()
	if labels == nil {
		labels = map[string]string{}
	}

	if annotations == nil {
		annotations = map[string]string{}
	}

	labels["app.kubernetes.io/managed-by"] = "Helm"
	annotations["meta.helm.sh/release-name"], annotations["meta.helm.sh/release-namespace"] = r.Name, r.Namespace
	obj.SetLabels(labels)
	obj.SetAnnotations(annotations)
}

// Summary says in a line for each object how it differs, and which ones nobody looks at.
func Summary(found *apply.Deviations) string {
	lines := make([]string, 0, len(found.All)+len(found.Excluded))

	for _, d := range found.All {
		lines = append(lines, d.String())
	}

	for _, ref := range found.Excluded {
		lines = append(lines, ref.ID.String()+" excluded")
	}

	return strings.Join(lines, "\n")
}
