package bucket

import (
	"context"
	"time"

	"github.com/opencontainers/go-digest"
	"k8s.io/apimachinery/pkg/types"

	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/artifact"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/secrets"
	"github.com/weir-dev/weir/reconcilers/source"
)

// Deps are what the kind needs. All are required unless they say otherwise.
type Deps struct {
	// Store keeps the artifacts.
	Store *artifact.Store

	// Secrets reads credentials.
	Secrets secrets.Reader

	// Buckets are the buckets of all objects.
	Buckets *Buckets

	// Workers is how many objects run at a time: servers that do not answer hold four of five at most, those of one namespace
	// half of them. Zero means 10. Patience is how long one may wait before it counts as such; zero means 10 s.
	Workers  int
	Patience time.Duration
}

// scope is what the steps of one run hand to each other.
type scope struct {
	started time.Time // set by open

	bucket   *bucket        // set by connect
	objects  []object       // that are wanted; set by list
	revision digest.Digest  // of the objects; set by list, and by fetch if they changed meanwhile
	files    int            // how many there are
	digest   digest.Digest  // of the archive; set by fetch
	release  func()         // gives the archive back; set by fetch
	unstored error          // why the archive could not be made; set by fetch
	stored   *meta.Artifact // set by archive
	url      string         // of the artifact that is always the latest; set by archive
}

// reconciler holds what the steps share beyond one run.
type reconciler struct {
	Deps
	storage  source.Storage
	archives *archives
	lane     *source.Lane
}

// Kind declares how a Bucket is reconciled.
func Kind(d Deps) engine.Kind[*sourcev1.Bucket, scope] {
	storage := source.Storage{Store: d.Store, Kind: sourcev1.BucketKind}
	r := &reconciler{
		Deps: d, storage: storage, archives: newArchives(d.Store, d.Buckets.options.Now), lane: source.NewLane(d.Workers, d.Patience),
	}

	return engine.Kind[*sourcev1.Bucket, scope]{
		Name:       sourcev1.BucketKind,
		Controller: source.Controller,
		New:        func() *sourcev1.Bucket { return &sourcev1.Bucket{} },
		Finalizer:  meta.Finalizer,
		Interval:   func(obj *sourcev1.Bucket) time.Duration { return obj.Spec.Interval.Duration },
		Ready:      source.Ready[*sourcev1.Bucket, scope](),
		Open:       r.open,
		Close:      closeScope,
		Steps: engine.Steps[*sourcev1.Bucket, scope]{
			{Name: "validate", Reason: sourcev1.URLInvalidReason, Condition: meta.FetchFailedCondition, Run: r.validate},
			source.CheckStep[*sourcev1.Bucket, scope](storage),
			{
				Name: "connect", Reason: meta.AuthenticationFailedReason,
				Condition: meta.FetchFailedCondition, Run: r.connect,
			},
			{
				Name: "list", Reason: sourcev1.BucketOperationFailedReason,
				Condition: meta.FetchFailedCondition, Run: r.list,
			},
			{
				Name: "fetch", Reason: sourcev1.BucketOperationFailedReason,
				Condition: meta.FetchFailedCondition, Run: r.fetch,
			},
			{
				Name: "archive", Reason: sourcev1.ArchiveOperationFailedReason,
				Condition: meta.StorageOperationFailedCondition, Run: r.archive,
			},
			{Name: "complete", Reason: meta.FailedReason, Run: r.complete},
		},
		Delete: engine.Steps[*sourcev1.Bucket, scope]{
			source.RemoveStep[*sourcev1.Bucket, scope](storage),
		},
		Events: events,
		Forget: r.forget,
	}
}

func (r *reconciler) open(_ context.Context, _ *sourcev1.Bucket, s *scope) error {
	s.started = r.Buckets.options.Now()

	return nil
}

func closeScope(s *scope) {
	if s.release != nil {
		s.release()
	}
}

func (r *reconciler) forget(key types.NamespacedName) {
	if c := r.Buckets.options.Cloud; c != nil {
		c.Forget(sourcev1.BucketKind, key.Namespace, key.Name)
	}
}
