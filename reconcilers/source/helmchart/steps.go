package helmchart

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/artifact"
	"github.com/weir-dev/weir/reconcilers/charts"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/source"
)

// latest is the second name of the artifact.
const latest = "latest.tar.gz"

// find finds the source, and ends the run if it still is the one that the artifact was made of.
func (r *reconciler) find(ctx context.Context, obj *sourcev1.HelmChart, s *scope) error {
	kind, key := SourceKey(obj)

	if obj.Spec.Verify == nil { // whatever else fails
		engine.Unset(obj, meta.SourceVerifiedCondition)
	}

	switch kind {
	case sourcev1.HelmRepositoryKind, sourcev1.GitRepositoryKind, sourcev1.BucketKind:
	default:
		return engine.Stall(sourcev1.UnsupportedSourceKindReason,
			fmt.Errorf("failed to get source: unsupported source kind '%s'", kind))
	}

	var err error
	if s.source, err = r.Sources.Source(ctx, kind, key); err != nil {
		return fmt.Errorf("failed to get source: %w", err)
	}

	if registered(s.source) {
		return nil // there is nothing in the cluster that tells what it holds
	}

	a := s.source.GetArtifact()
	if a == nil {
		return r.noArtifact(obj)
	}

	if obj.Spec.Verify == nil && obj.Status.ObservedSourceArtifactRevision == a.Revision && settled(obj) {
		return r.same(obj)
	}

	return nil
}

// registered tells whether a source is a registry.
func registered(src source.Object) bool {
	repo, ok := src.(*sourcev1.HelmRepository)

	return ok && repo.IsOCI()
}

// settled tells whether the artifact in the status is what the spec asks for, as far as that does not depend on the source. The
// generation that was observed does not tell: it may have stalled.
func settled(obj *sourcev1.HelmChart) bool {
	stored := engine.Condition(obj, meta.ArtifactInStorageCondition)

	return source.Settled(obj) && stored.ObservedGeneration == obj.Generation &&
		(obj.Spec.IgnoreMissingValuesFiles || slices.Equal(obj.Status.ObservedValuesFiles, obj.Spec.ValuesFiles))
}

// since returns how old an answer of a server may be.
func (r *reconciler) since(obj *sourcev1.HelmChart, s *scope) time.Time {
	if source.Asked(obj) {
		return s.started
	}

	return s.started.Add(-r.Registries.Moment())
}

// same ends a run that found what is stored.
func (r *reconciler) same(obj *sourcev1.HelmChart) error {
	source.Current(obj)

	if err := r.alias(obj, path.Base(obj.Status.Artifact.Path)); err != nil {
		return err
	}

	return engine.Done()
}

// open gets at what the chart comes from.
func (r *reconciler) open(ctx context.Context, obj *sourcev1.HelmChart, s *scope) (err error) {
	switch src := s.source.(type) {
	case *sourcev1.HelmRepository:
		if src.IsOCI() {
			s.origin, err = r.openImage(ctx, obj, src, r.since(obj, s))
		} else {
			s.origin, err = r.openIndex(ctx, obj, src, s)
		}
	default:
		s.origin, err = r.openTree(ctx, obj, src, s)
	}

	return err
}

// resolve finds out which chart is meant.
func (r *reconciler) resolve(ctx context.Context, obj *sourcev1.HelmChart, s *scope) (err error) {
	if s.chart, err = s.origin.find(ctx); err != nil {
		return err
	}

	if err := s.chart.check(); err != nil {
		return failed(sourcev1.InvalidChartReferenceReason, err)
	}

	if obj.Status.ObservedChartName != s.chart.name || !obj.Status.Artifact.HasRevision(s.chart.version) {
		r.outdated(ctx, obj, s)
	}

	return nil
}

// outdated says that the artifact is not the one that is wanted any more.
func (r *reconciler) outdated(ctx context.Context, obj *sourcev1.HelmChart, s *scope) {
	text := summary(s.chart, s.built)
	source.Outdated(ctx, obj, sourcev1.NewChartReason, text)
	engine.Progress(ctx, "building artifact: "+text)
}

// build makes the chart, unless it is the one that is stored.
func (r *reconciler) build(ctx context.Context, obj *sourcev1.HelmChart, s *scope) error {
	if r.unchanged(obj, s) {
		r.observe(obj, s)

		return r.same(obj)
	}

	b, err := s.origin.build(ctx, s.chart)
	if err != nil {
		return err
	}

	s.built = b
	s.later(b.content.release)

	if b.dependencies > 0 {
		engine.Emit(ctx, engine.Event{
			Severity: meta.EventSeverityTrace, Reason: sourcev1.ResolvedDependenciesReason,
			Message: fmt.Sprintf("resolved %d chart dependencies", b.dependencies),
		})
	}

	return nil
}

// unchanged tells whether the chart is the one that is stored. What has to be signed has to have been made of what was verified.
func (r *reconciler) unchanged(obj *sourcev1.HelmChart, s *scope) bool {
	return settled(obj) && obj.Status.ObservedChartName == s.chart.name && obj.Status.Artifact.HasRevision(s.chart.version) &&
		(obj.Spec.Verify == nil || r.madeOf(obj.Status.Artifact.Digest, s.origin))
}

// store puts the chart at the place of the object.
func (r *reconciler) store(ctx context.Context, obj *sourcev1.HelmChart, s *scope) error {
	if !obj.Status.Artifact.HasRevision(s.chart.version) {
		r.outdated(ctx, obj, s)
	}

	file := s.chart.file()

	a, err := r.Store.Link(r.storage.At(obj, file), s.chart.version, s.built.content.digest)
	if err != nil {
		return fmt.Errorf("failed to store artifact: %w", err)
	}

	if old := obj.Status.Artifact; old.HasDigest(a.Digest) && old.HasRevision(a.Revision) && old.Path == a.Path {
		a = old // it is no news to anybody
	}

	if err := r.alias(obj, file); err != nil {
		return err
	}

	r.remember(a.Digest, s.origin)
	r.observe(obj, s)
	obj.Status.ObservedChartName = s.chart.name
	obj.Status.ObservedValuesFiles = s.built.values

	reason := sourcev1.ChartPullSucceededReason
	if s.built.packaged {
		reason = sourcev1.ChartPackageSucceededReason
	}

	source.Stored(obj, a, reason, summary(s.chart, s.built))

	return nil
}

// observe writes down what the chart was found in.
func (r *reconciler) observe(obj *sourcev1.HelmChart, s *scope) {
	obj.Status.ObservedSourceArtifactRevision = ""
	if a := s.source.GetArtifact(); a != nil && !registered(s.source) {
		obj.Status.ObservedSourceArtifactRevision = a.Revision
	}
}

// alias gives the artifact its second name.
func (r *reconciler) alias(obj *sourcev1.HelmChart, file string) error {
	url, err := r.Store.Alias(r.storage.At(obj, file), latest)
	if err != nil {
		return engine.Fail(sourcev1.SymlinkUpdateFailedReason, fmt.Errorf("failed to update status URL: %w", err))
	}

	obj.Status.URL = url

	return nil
}

// verify sees to it that somebody has signed the chart who may.
func (r *reconciler) verify(ctx context.Context, obj *sourcev1.HelmChart, s *scope) error {
	if obj.Spec.Verify == nil {
		return nil
	}

	by, err := r.check(ctx, obj, s.origin)

	switch {
	case err != nil:
		err = failed(sourcev1.ChartVerificationErrorReason, err)
		engine.Set(obj, meta.SourceVerifiedCondition, metav1.ConditionFalse, sourcev1.ChartVerificationErrorReason, err.Error())

		return err
	case by.skipped:
		engine.Unset(obj, meta.SourceVerifiedCondition)
	default:
		engine.Set(obj, meta.SourceVerifiedCondition, metav1.ConditionTrue, meta.SucceededReason,
			fmt.Sprintf("verified signature of version %s", s.chart.version))
	}

	return nil
}

// withGeneration returns the version of a chart whose values files are merged: consumers have to see that it is another one.
func withGeneration(obj *sourcev1.HelmChart, version, metadata string) (string, error) {
	if len(obj.Spec.ValuesFiles) > 0 {
		if metadata != "" {
			metadata += "."
		}

		metadata += strconv.FormatInt(obj.Generation, 10)
	}

	if metadata == "" {
		return version, nil
	}

	version, err := charts.WithMetadata(version, metadata)
	if err != nil {
		return "", failed(sourcev1.MetadataPatchErrorReason, err)
	}

	return version, nil
}

// gone tells whether an artifact is not where it should be, so that another one is to be expected.
func gone(err error) bool { return errors.Is(err, artifact.ErrNotFound) }
