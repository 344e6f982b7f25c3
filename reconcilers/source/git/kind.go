package git

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/artifact"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/ingest"
	"github.com/weir-dev/weir/reconcilers/secrets"
	"github.com/weir-dev/weir/reconcilers/source"
)

// Deps are what the kind needs. All are required unless they say otherwise.
type Deps struct {
	// Store keeps the artifacts.
	Store *artifact.Store

	// Secrets reads credentials.
	Secrets secrets.Reader

	// Remotes are the repositories. Nil means such with default options.
	Remotes *Remotes

	// Limits of one artifact. Zero fields take their defaults.
	Limits ingest.Limits
}

// scope is what the steps of one run hand to each other.
type scope struct {
	started time.Time // set by open

	remote  *remote  // set by connect
	listing *listing // set by resolve
	targets []target // what may be meant; set by resolve

	target  target         // set by resolve, or by fetch if there are several targets
	facts   facts          // of the commit; set by fetch
	clone   func()         // gives the clone back; set by fetch
	digest  digest.Digest  // of an archive that was made before, if there is one; set by fetch
	release func()         // gives the content of the archive back; set by archive
	stored  *meta.Artifact // set by archive
}

// reconciler holds what the steps share beyond one run.
type reconciler struct {
	Deps
	storage  source.Storage
	archives *archives
}

// Kind declares how a GitRepository is reconciled.
func Kind(d Deps) engine.Kind[*sourcev1.GitRepository, scope] {
	if d.Remotes == nil {
		d.Remotes = NewRemotes(RemotesOptions{})
	}

	storage := source.Storage{Store: d.Store, Kind: sourcev1.GitRepositoryKind}
	r := &reconciler{Deps: d, storage: storage, archives: newArchives(d.Store, d.Limits, d.Remotes.options.Now)}

	return engine.Kind[*sourcev1.GitRepository, scope]{
		Name:       sourcev1.GitRepositoryKind,
		Controller: source.Controller,
		New:        func() *sourcev1.GitRepository { return &sourcev1.GitRepository{} },
		Finalizer:  meta.Finalizer,
		Interval:   func(obj *sourcev1.GitRepository) time.Duration { return obj.Spec.Interval.Duration },
		Ready:      source.Ready[*sourcev1.GitRepository, scope](),
		Open:       r.open,
		Close:      closeScope,
		Steps: engine.Steps[*sourcev1.GitRepository, scope]{
			{Name: "validate", Reason: sourcev1.URLInvalidReason, Condition: meta.FetchFailedCondition, Run: r.validate},
			source.CheckStep[*sourcev1.GitRepository, scope](storage),
			{
				Name: "connect", Reason: meta.AuthenticationFailedReason,
				Condition: meta.FetchFailedCondition, Run: r.connect,
			},
			{
				Name: "resolve", Reason: meta.GitOperationFailedReason,
				Condition: meta.FetchFailedCondition, Run: r.resolve,
			},
			{Name: "fetch", Reason: meta.GitOperationFailedReason, Condition: meta.FetchFailedCondition, Run: r.fetch},
			{
				Name: "archive", Reason: sourcev1.ArchiveOperationFailedReason,
				Condition: meta.StorageOperationFailedCondition, Run: r.archive,
			},
			{Name: "complete", Reason: meta.FailedReason, Run: r.complete},
		},
		Delete: engine.Steps[*sourcev1.GitRepository, scope]{
			source.RemoveStep[*sourcev1.GitRepository, scope](storage),
		},
		Events: events,
	}
}

func (r *reconciler) open(_ context.Context, _ *sourcev1.GitRepository, s *scope) error {
	s.started = r.Remotes.options.Now()

	return nil
}

func closeScope(s *scope) {
	for _, release := range []func(){s.clone, s.release} {
		if release != nil {
			release()
		}
	}
}

// recipeOf returns which files the object wants.
func recipeOf(obj *sourcev1.GitRepository) recipe {
	r := recipe{under: strings.Join(sparse(obj), "\n")}
	if obj.Spec.Ignore != nil {
		r.ignore, r.ruled = *obj.Spec.Ignore, true
	}

	return r
}

// sparse returns the directories that are wanted, without the "./" that people put before them.
func sparse(obj *sourcev1.GitRepository) []string {
	dirs := make([]string, 0, len(obj.Spec.SparseCheckout))
	for _, d := range obj.Spec.SparseCheckout {
		dirs = append(dirs, cmp.Or(strings.TrimPrefix(d, "./"), "."))
	}

	return dirs
}

// settled tells whether the artifact in the status is what the spec asks for, as far as that does not depend on the revision.
func settled(obj *sourcev1.GitRepository) bool {
	st := &obj.Status

	return source.Settled(obj) &&
		equal(st.ObservedIgnore, obj.Spec.Ignore) && slices.Equal(st.ObservedSparseCheckout, obj.Spec.SparseCheckout) &&
		len(st.ObservedInclude) == 0 && !st.ObservedRecurseSubmodules
}

func equal(a, b *string) bool {
	if a == nil || b == nil {
		return a == b
	}

	return *a == *b
}
