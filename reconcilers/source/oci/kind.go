package oci

import (
	"context"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/artifact"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/ingest"
	"github.com/weir-dev/weir/reconcilers/registry"
	"github.com/weir-dev/weir/reconcilers/secrets"
	"github.com/weir-dev/weir/reconcilers/source"
)

// Deps are what the kind needs. All are required unless they say otherwise.
type Deps struct {
	// Store keeps the artifacts.
	Store *artifact.Store

	// Secrets reads credentials, certificates and keys.
	Secrets secrets.Reader

	// ServiceAccounts reads those that objects name, for their image pull secrets.
	ServiceAccounts ServiceAccounts

	// Registries are where artifacts are pulled from.
	Registries *registry.Registries

	// Verifiers verify signatures. Nil refuses objects that want them verified.
	Verifiers Verifiers

	// Limits of one artifact. Zero fields take their defaults.
	Limits ingest.Limits

	// Dir is where layers are unpacked, for as long as it takes. It has to be there. Empty means the directory for temporary
	// files.
	Dir string

	// Workers is how many objects run at a time: servers that do not answer hold four of five at most, those of one namespace
	// half of them. Zero means 10. Patience is how long one may wait before it counts as such; zero means 10 s.
	Workers  int
	Patience time.Duration

	// Now is the clock. Nil means that of the machine.
	Now func() time.Time
}

// ServiceAccounts reads ServiceAccounts. One that does not exist is an IsNotFound error.
type ServiceAccounts interface {
	ServiceAccount(ctx context.Context, namespace, name string) (*corev1.ServiceAccount, error)
}

// ServiceAccountsFunc is a function as ServiceAccounts.
type ServiceAccountsFunc func(ctx context.Context, namespace, name string) (*corev1.ServiceAccount, error)

// ServiceAccount implements ServiceAccounts.
func (f ServiceAccountsFunc) ServiceAccount(ctx context.Context, namespace, name string) (*corev1.ServiceAccount, error) {
	return f(ctx, namespace, name)
}

// scope is what the steps of one run hand to each other.
type scope struct {
	started time.Time // set by open

	name       string               // of the repository, as <host>/<path>; set by validate
	repository *registry.Repository // set by connect

	digest   v1.Hash // of what is asked for, which may be an index; set by resolve
	revision string  // set by resolve

	manifest *registry.Manifest // set by fetch
	release  func()             // gives the content back; set by fetch
	stored   *meta.Artifact     // set by fetch if the content was there, else by store
	content  content            // set by fetch
	failed   error              // of what belongs to store; set by fetch
}

// reconciler holds what the steps share beyond one run.
type reconciler struct {
	Deps
	storage    source.Storage
	contents   *contents
	signatures *signatures
	lane       *source.Lane
}

// Kind declares how an OCIRepository is reconciled.
func Kind(d Deps) engine.Kind[*sourcev1.OCIRepository, scope] {
	if d.Now == nil {
		d.Now = time.Now
	}

	storage := source.Storage{Store: d.Store, Kind: sourcev1.OCIRepositoryKind}
	r := &reconciler{
		Deps: d, storage: storage, contents: newContents(d), signatures: newSignatures(d),
		lane: source.NewLane(d.Workers, d.Patience),
	}

	return engine.Kind[*sourcev1.OCIRepository, scope]{
		Name:       sourcev1.OCIRepositoryKind,
		Controller: source.Controller,
		New:        func() *sourcev1.OCIRepository { return &sourcev1.OCIRepository{} },
		Finalizer:  meta.Finalizer,
		Interval:   func(obj *sourcev1.OCIRepository) time.Duration { return obj.Spec.Interval.Duration },
		Ready:      source.Ready[*sourcev1.OCIRepository, scope](),
		Open:       r.open,
		Close:      closeScope,
		Steps: engine.Steps[*sourcev1.OCIRepository, scope]{
			{Name: "validate", Reason: sourcev1.URLInvalidReason, Condition: meta.FetchFailedCondition, Run: r.validate},
			source.CheckStep[*sourcev1.OCIRepository, scope](storage),
			{
				Name: "connect", Reason: meta.AuthenticationFailedReason,
				Condition: meta.FetchFailedCondition, Run: r.connect,
			},
			{Name: "resolve", Reason: sourcev1.OCIPullFailedReason, Condition: meta.FetchFailedCondition, Run: r.resolve},
			{Name: "verify", Reason: sourcev1.VerificationErrorReason, Run: r.verify},
			{Name: "fetch", Reason: sourcev1.OCIPullFailedReason, Condition: meta.FetchFailedCondition, Run: r.fetch},
			{
				Name: "store", Reason: sourcev1.ArchiveOperationFailedReason,
				Condition: meta.StorageOperationFailedCondition, Run: r.store,
			},
			{Name: "complete", Reason: meta.FailedReason, Run: r.complete},
		},
		Delete: engine.Steps[*sourcev1.OCIRepository, scope]{
			source.RemoveStep[*sourcev1.OCIRepository, scope](storage),
		},
		Events: events,
	}
}

func (r *reconciler) open(_ context.Context, _ *sourcev1.OCIRepository, s *scope) error {
	s.started = r.Now()

	return nil
}

func closeScope(s *scope) {
	if s.release != nil {
		s.release()
	}
}

// settled tells whether the artifact in the status is what the spec asks for, as far as that does not depend on the revision.
func settled(obj *sourcev1.OCIRepository) bool {
	st := &obj.Status

	return source.Settled(obj) && equal(st.ObservedIgnore, obj.Spec.Ignore) &&
		equal(st.ObservedLayerSelector, obj.Spec.LayerSelector)
}

func equal[T comparable](a, b *T) bool {
	if a == nil || b == nil {
		return a == b
	}

	return *a == *b
}
