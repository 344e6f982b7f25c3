package git

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/artifact"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/flight"
	"github.com/weir-dev/weir/reconcilers/ingest"
	"github.com/weir-dev/weir/reconcilers/secrets"
	"github.com/weir-dev/weir/reconcilers/source"
	"github.com/weir-dev/weir/reconcilers/verify"
)

// defaultRequeueDependency is when something that was missing is looked for again.
const defaultRequeueDependency = 30 * time.Second

// Deps are what the kind needs. All are required unless they say otherwise.
type Deps struct {
	// Store keeps the artifacts.
	Store *artifact.Store

	// Secrets reads credentials.
	Secrets secrets.Reader

	// Repositories finds the GitRepositories that others include.
	Repositories Repositories

	// Trees unpacks their artifacts.
	Trees Trees

	// Cloud gets credentials from the providers azure and aws. Nil means that there are none.
	Cloud Cloud

	// Remotes are the repositories. Nil means such with default options.
	Remotes *Remotes

	// Limits of one artifact. Zero fields take their defaults.
	Limits ingest.Limits

	// RequeueDependency is when an object is tried again that includes something that is not there. Zero means 30 s.
	RequeueDependency time.Duration

	// Workers is how many objects run at a time: servers that do not answer hold four of five at most, those of one namespace
	// half of them. Zero means 10. Patience is how long one may wait before it counts as such; zero means 10 s.
	Workers  int
	Patience time.Duration
}

// scope is what the steps of one run hand to each other.
type scope struct {
	started time.Time // set by open
	closers []func()  // for the end of the run; steps add to them

	includes []include       // set by layout, and completed by include
	keyring  *verify.Keyring // set by trust, if signatures are verified
	denied   func()          // what to forget if the server denies access; may be set by connect
	remote   *remote         // set by connect
	listing  *listing        // set by resolve
	targets  []target        // what may be meant; set by resolve

	target target         // set by resolve, or by look if there are several
	facts  facts          // of the commit; set by look or fetch
	stored *meta.Artifact // set by archive, or by fetch if there is an archive that was made before
}

// reconciler holds what the steps share beyond one run.
type reconciler struct {
	Deps
	storage  source.Storage
	archives *archives
	keyrings flight.Memo[flight.Fingerprint, *verify.Keyring]
	lane     *source.Lane
}

// Kind declares how a GitRepository is reconciled.
func Kind(d Deps) engine.Kind[*sourcev1.GitRepository, scope] {
	if d.Remotes == nil {
		d.Remotes = NewRemotes(RemotesOptions{})
	}

	d.RequeueDependency = cmp.Or(d.RequeueDependency, defaultRequeueDependency)

	storage := source.Storage{Store: d.Store, Kind: sourcev1.GitRepositoryKind}
	r := &reconciler{
		Deps: d, storage: storage, archives: newArchives(d), lane: source.NewLane(d.Workers, d.Patience),
		keyrings: flight.Memo[flight.Fingerprint, *verify.Keyring]{Size: maxKeyrings},
	}

	return engine.Kind[*sourcev1.GitRepository, scope]{
		Name:       sourcev1.GitRepositoryKind,
		Controller: source.Controller,
		New:        func() *sourcev1.GitRepository { return &sourcev1.GitRepository{} },
		Finalizer:  meta.Finalizer,
		Interval:   func(obj *sourcev1.GitRepository) time.Duration { return obj.Spec.Interval.Duration },
		Ready:      source.Ready[*sourcev1.GitRepository, scope](),
		Open:       r.open,
		Close:      closeScope,
		Steps:      r.steps(),
		Delete: engine.Steps[*sourcev1.GitRepository, scope]{
			source.RemoveStep[*sourcev1.GitRepository, scope](storage),
		},
		Events: events,
	}
}

// steps are the steps of a run.
func (r *reconciler) steps() engine.Steps[*sourcev1.GitRepository, scope] {
	return engine.Steps[*sourcev1.GitRepository, scope]{
		source.CheckStep[*sourcev1.GitRepository, scope](r.storage),
		{
			Name: "layout", Reason: sourcev1.IllegalPathReason,
			Condition: meta.StorageOperationFailedCondition, Run: r.layout,
		},
		{
			Name: "include", Reason: sourcev1.NotFoundReason,
			Condition: meta.IncludeUnavailableCondition, Run: r.include,
		},
		{Name: "trust", Reason: sourcev1.VerificationErrorReason, Run: r.trust},
		{
			Name: "connect", Reason: meta.AuthenticationFailedReason,
			Condition: meta.FetchFailedCondition, Run: r.connect,
		},
		{Name: "resolve", Reason: meta.GitOperationFailedReason, Condition: meta.FetchFailedCondition, Run: r.resolve},
		{Name: "look", Reason: meta.GitOperationFailedReason, Condition: meta.FetchFailedCondition, Run: r.look},
		{Name: "verify", Reason: sourcev1.VerificationErrorReason, Run: r.verify},
		{Name: "fetch", Reason: meta.GitOperationFailedReason, Condition: meta.FetchFailedCondition, Run: r.fetch},
		{
			Name: "archive", Reason: sourcev1.ArchiveOperationFailedReason,
			Condition: meta.StorageOperationFailedCondition, Run: r.archive,
		},
		{Name: "complete", Reason: meta.FailedReason, Run: r.complete},
	}
}

// bounded runs what waits for servers: not longer than the object says, and beside those who need not wait.
func (r *reconciler) bounded(ctx context.Context, obj *sourcev1.GitRepository, wait func(context.Context) error) error {
	return r.lane.Bounded(ctx, obj.Namespace, obj.GetTimeout(), wait) //nolint:wrapcheck // it is the error of wait
}

func (r *reconciler) open(_ context.Context, _ *sourcev1.GitRepository, s *scope) error {
	s.started = r.Remotes.options.Now()

	return nil
}

func closeScope(s *scope) {
	for _, release := range s.closers {
		release()
	}
}

// stored tells whether the target is what the artifact in the status was made of, in the way that the spec asks for.
func stored(obj *sourcev1.GitRepository, s *scope) bool {
	st := &obj.Status

	return source.Settled(obj) && st.Artifact.HasRevision(s.target.revision()) && sameIncludes(obj, s) &&
		equal(st.ObservedIgnore, obj.Spec.Ignore) && slices.Equal(st.ObservedSparseCheckout, obj.Spec.SparseCheckout) &&
		slices.Equal(st.ObservedInclude, obj.Spec.Include) && st.ObservedRecurseSubmodules == obj.Spec.RecurseSubmodules
}

func equal(a, b *string) bool {
	if a == nil || b == nil {
		return a == b
	}

	return *a == *b
}
