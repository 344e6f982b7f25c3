package helm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/Masterminds/semver/v3"
	"helm.sh/helm/v3/pkg/chart"
	"k8s.io/apimachinery/pkg/types"

	v2 "github.com/weir-dev/weir/api/helm/v2"
	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/artifact"
	"github.com/weir-dev/weir/reconcilers/charts"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/helm/values"
)

// revisionDigits is how much of the digest of a chart gets into its version.
const revisionDigits = 12

// SourceKey returns which object has the chart: the one that chartRef names, or the HelmChart that is made.
func SourceKey(obj *v2.HelmRelease) (kind string, key types.NamespacedName) {
	if ref := obj.Spec.ChartRef; ref != nil {
		return ref.Kind, types.NamespacedName{Namespace: ref.GetNamespace(obj.Namespace), Name: ref.Name}
	}

	return sourcev1.HelmChartKind, chartKey(obj)
}

// resolve finds the artifact.
func (r *reconciler) resolve(ctx context.Context, obj *v2.HelmRelease, s *scope) error {
	kind, key := SourceKey(obj)
	if err := r.mayRefer(obj, kind, key); err != nil {
		return err
	}

	found, err := r.Sources.Source(ctx, kind, key)
	if err != nil {
		return fmt.Errorf("could not get Source object: %w", err)
	}

	source, ok := found.(interface{ GetArtifact() *meta.Artifact })
	if !ok {
		return fmt.Errorf("could not get Source object: %s has no artifact", kind)
	}

	s.artifact = source.GetArtifact()
	if why := unready(kind, found, s.artifact); why != "" {
		return engine.Wait(v2.SourceNotReadyReason, r.RequeueDependency, fmt.Errorf("%s '%s' is not ready: %s", kind, key, why))
	}

	return nil
}

// unready says why a source cannot be used. One that has failed can, as long as it has an artifact for what it is told now.
func unready(kind string, found any, a *meta.Artifact) string {
	obj, ok := found.(engine.Object)
	if ok && kind != sourcev1.ExternalArtifactKind {
		if fields := obj.StatusFields(); fields.ObservedGeneration != nil && *fields.ObservedGeneration != obj.GetGeneration() {
			return "latest generation of object has not been reconciled"
		}

		if c := engine.Condition(obj, meta.StalledCondition); c != nil && engine.IsTrue(obj, meta.StalledCondition) {
			return c.Message
		}
	}

	if a != nil {
		return ""
	}

	if ok {
		if c := engine.Condition(obj, meta.ReadyCondition); c != nil && c.Message != "" {
			return c.Message
		}
	}

	return "does not have an artifact"
}

// mayRefer stalls references that are forbidden.
func (r *reconciler) mayRefer(obj *v2.HelmRelease, kind string, key types.NamespacedName) error {
	if r.NoCrossNamespaceRefs && key.Namespace != obj.Namespace {
		return engine.Stall(meta.AccessDeniedReason,
			fmt.Errorf("can't access '%s/%s', cross-namespace references have been blocked", kind, key))
	}

	if r.NoExternalArtifacts && kind == sourcev1.ExternalArtifactKind {
		return engine.Stall(meta.AccessDeniedReason,
			fmt.Errorf("can't access '%s/%s', ExternalArtifact feature gate is disabled", kind, key))
	}

	return nil
}

// fetch unpacks the artifact, and reads what the chart in it says of itself.
func (r *reconciler) fetch(ctx context.Context, obj *v2.HelmRelease, s *scope) error {
	var err error
	if s.tree, err = r.Trees.Open(ctx, s.artifact); err != nil {
		if errors.Is(err, artifact.ErrNotFound) {
			return engine.Wait(meta.ArtifactFailedReason, r.RequeueDependency,
				fmt.Errorf("Source not ready: artifact not found. Retrying in %s", r.RequeueDependency))
		}

		return fmt.Errorf("Could not load chart: %w", err) //nolint:staticcheck // known words
	}

	if s.files, err = charts.OpenSource(s.tree.Dir, r.ChartLimits); err != nil {
		return fmt.Errorf("Could not load chart: %w", err) //nolint:staticcheck // known words
	}

	if s.path, s.metadata, err = find(s.files, s.tree.Dir); err != nil {
		return fmt.Errorf("Could not load chart: %w", err) //nolint:staticcheck // known words
	}

	if kind, _ := SourceKey(obj); kind == sourcev1.HelmChartKind {
		return nil
	}

	return r.track(s)
}

// find returns where the chart is in an unpacked package: in its only directory, or right there.
func find(files *charts.Source, dir string) (string, *chart.Metadata, error) {
	if m, err := files.Metadata("."); err == nil {
		return ".", m, nil
	}

	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", nil, fmt.Errorf("list the files of the artifact: %w", err)
	}

	missing := errors.New("there is no Chart.yaml")

	for _, e := range entries {
		if !e.IsDir() {
			continue
		}

		m, err := files.Metadata(e.Name())
		if err == nil {
			return e.Name(), m, nil
		}

		missing = err
	}

	return "", nil, missing
}

// track makes the digest of a chart from a registry a part of its version, so that another chart under the same version is released.
func (r *reconciler) track(s *scope) error {
	tag, d, ok := strings.Cut(s.artifact.Revision, "@")
	if !ok {
		tag, d = "", s.artifact.Revision
	}

	_, hex, ok := strings.Cut(d, ":")
	if !ok {
		return nil
	}

	if v, err := semver.NewVersion(strings.ReplaceAll(tag, "_", "+")); tag != "" && err == nil && v.String() != s.metadata.Version &&
		v.Original() != s.metadata.Version {
		return engine.Fail(v2.ChartMutateErrorReason,
			fmt.Errorf("artifact revision %s does not match chart version %s", tag, s.metadata.Version))
	}

	s.ociDigest = d
	if r.NoChartDigest {
		return nil
	}

	version, err := charts.WithMetadata(s.metadata.Version, hex[:min(revisionDigits, len(hex))])
	if err != nil {
		return engine.Fail(v2.ChartMutateErrorReason, err)
	}

	changed := *s.metadata
	changed.Version = version
	s.metadata = &changed

	return nil
}

// load composes the values.
func (r *reconciler) load(ctx context.Context, obj *v2.HelmRelease, s *scope) error {
	var err error
	if s.values, err = values.Compose(ctx, r.Configs, obj.Namespace, obj.Spec.ValuesFrom, obj.Spec.Values); err != nil {
		return engine.Fail(v2.ValuesErrorReason, err)
	}

	return nil
}
