package helmrepository

import (
	"context"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/artifact"
	"github.com/weir-dev/weir/reconcilers/charts"
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

	// Repositories fetch the indexes.
	Repositories *charts.Repositories

	// Workers is how many HelmRepositories run at a time: see source.Lane. Zero means 10.
	Workers int

	// Patience is how long a server may take and not count as slow. Zero means 10 s.
	Patience time.Duration
}

// scope is what the steps of one run hand to each other.
type scope struct {
	started  time.Time               // set by open
	access   charts.RepositoryAccess // set by connect
	download *charts.Download        // set by fetch, with what gives it back
	done     func()
	same     bool          // it is what is stored; set by fetch
	content  digest.Digest // of the artifact; set by index, with what gives it back
	release  func()
	failed   error          // of the storage; set by index
	stored   *meta.Artifact // set by archive
}

// reconciler holds what the steps share beyond one run.
type reconciler struct {
	Deps
	storage source.Storage
	indexes *indexes
	lane    *source.Lane
}

// Kind declares how a HelmRepository is reconciled.
func Kind(d Deps) engine.Kind[*sourcev1.HelmRepository, scope] {
	storage := source.Storage{Store: d.Store, Kind: sourcev1.HelmRepositoryKind}
	r := &reconciler{Deps: d, storage: storage, indexes: newIndexes(d), lane: source.NewLane(d.Workers, d.Patience)}

	return engine.Kind[*sourcev1.HelmRepository, scope]{
		Name:       sourcev1.HelmRepositoryKind,
		Controller: source.Controller,
		New:        func() *sourcev1.HelmRepository { return &sourcev1.HelmRepository{} },
		Finalizer:  meta.Finalizer,
		Interval:   (*sourcev1.HelmRepository).GetInterval,
		Static:     (*sourcev1.HelmRepository).IsOCI,
		Ready:      source.Ready[*sourcev1.HelmRepository, scope](),
		Open:       r.open,
		Close:      closeScope,
		Steps: engine.Steps[*sourcev1.HelmRepository, scope]{
			{Name: "validate", Reason: sourcev1.URLInvalidReason, Condition: meta.FetchFailedCondition, Run: r.validate},
			source.CheckStep[*sourcev1.HelmRepository, scope](storage),
			{
				Name: "connect", Reason: meta.AuthenticationFailedReason,
				Condition: meta.FetchFailedCondition, Run: r.connect,
			},
			{Name: "fetch", Reason: meta.FailedReason, Condition: meta.FetchFailedCondition, Run: r.fetch},
			{
				Name: "index", Reason: sourcev1.IndexationFailedReason,
				Condition: meta.FetchFailedCondition, Run: r.index,
			},
			{
				Name: "archive", Reason: sourcev1.ArchiveOperationFailedReason,
				Condition: meta.StorageOperationFailedCondition, Run: r.archive,
			},
			{Name: "complete", Reason: meta.FailedReason, Run: r.complete},
		},
		Delete: engine.Steps[*sourcev1.HelmRepository, scope]{
			source.RemoveStep[*sourcev1.HelmRepository, scope](storage),
		},
		Events: events,
	}
}

func (r *reconciler) open(_ context.Context, _ *sourcev1.HelmRepository, s *scope) error {
	s.started = r.Repositories.Now()

	return nil
}

func closeScope(s *scope) {
	for _, release := range []func(){s.done, s.release} {
		if release != nil {
			release()
		}
	}
}
