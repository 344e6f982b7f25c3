package generator

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/api/sourceextensions/v1beta1"
	"github.com/weir-dev/weir/reconcilers/artifact"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/ingest"
)

// Controller is the source of the events, and the owner of the status, the finalizer and the ExternalArtifacts.
const Controller = "source-watcher"

// Source is an object whose artifact can be used.
type Source interface {
	client.Object
	GetArtifact() *meta.Artifact
}

// Sources finds sources. Those that are not there are errors for which apierrors.IsNotFound holds.
type Sources interface {
	Source(ctx context.Context, kind string, key types.NamespacedName) (Source, error)
}

// SourceFunc is a function that finds sources.
type SourceFunc func(ctx context.Context, kind string, key types.NamespacedName) (Source, error)

// Source implements Sources.
func (f SourceFunc) Source(ctx context.Context, kind string, key types.NamespacedName) (Source, error) {
	return f(ctx, kind, key)
}

// Client reads and writes ExternalArtifacts, and reads ArtifactGenerators. Reads may come from a cache that shows the client's
// own writes.
type Client interface {
	client.Reader
	client.Writer
	client.StatusClient
}

// Deps are what the kind needs. All are required unless they say otherwise.
type Deps struct {
	// Store keeps the artifacts.
	Store *artifact.Store

	// Trees unpacks the artifacts of the sources.
	Trees *artifact.Trees

	// Sources finds the sources.
	Sources Sources

	// Client writes the ExternalArtifacts.
	Client Client

	// Dir is a directory for what is merged or extracted on its way into an artifact.
	Dir string

	// Limits of one artifact. Zero fields take their defaults. Each tarball that is extracted is bound by them, too.
	Limits ingest.Limits

	// NoCrossNamespaceRefs forbids sources in other namespaces.
	NoCrossNamespaceRefs bool

	// RequeueDependency is when to look again for a source that has no artifact. Zero means 5 s.
	RequeueDependency time.Duration

	// Timeout of a run. Zero means 10 min.
	Timeout time.Duration

	// Now is the clock. Nil means that of the machine.
	Now func() time.Time
}

// scope is what the steps of one run hand to each other.
type scope struct {
	ctx    context.Context //nolint:containedctx // it bounds all steps of the run together; set by open
	cancel func()          // set by open

	recipe  *recipe             // set by validate
	sources map[string]observed // by alias; set by observe
	digest  string              // of the sources; set by observe
	live    published           // set by check
	lost    map[string]bool     // names of artifacts whose file was gone or wrong; set by check

	trees []*artifact.Tree    // set by fetch
	roots map[string]*os.Root // by alias; set by fetch

	wanted    map[string]bool                     // names; set by generate
	inventory []v1beta1.ExternalArtifactReference // set by generate
	changed   []string                            // what is new, for people; set by generate
	failures  []error                             // set by generate
}

// reconciler holds what the steps share.
type reconciler struct{ Deps }

// Kind declares how an ArtifactGenerator is reconciled.
func Kind(d Deps) engine.Kind[*v1beta1.ArtifactGenerator, scope] {
	d.RequeueDependency = cmp.Or(d.RequeueDependency, 5*time.Second)
	d.Timeout = cmp.Or(d.Timeout, 10*time.Minute)

	if d.Now == nil {
		d.Now = time.Now
	}

	r := &reconciler{Deps: d}

	return engine.Kind[*v1beta1.ArtifactGenerator, scope]{
		Name:       v1beta1.ArtifactGeneratorKind,
		Controller: Controller,
		New:        func() *v1beta1.ArtifactGenerator { return &v1beta1.ArtifactGenerator{} },
		Finalizer:  v1beta1.Finalizer,
		Interval:   func(*v1beta1.ArtifactGenerator) time.Duration { return v1beta1.DefaultInterval },
		Ready:      engine.FromVerdict(success),
		Open:       r.open,
		Close:      closeScope,
		Steps: engine.Steps[*v1beta1.ArtifactGenerator, scope]{
			{Name: "validate", Reason: meta.ValidationFailedReason, Run: r.validate},
			{Name: "observe", Reason: v1beta1.SourceFetchFailedReason, Run: bounded(r.observe)},
			{Name: "check", Reason: meta.ReconciliationFailedReason, Run: bounded(r.check)},
			{Name: "fetch", Reason: v1beta1.SourceFetchFailedReason, Run: bounded(r.fetch)},
			{Name: "generate", Reason: meta.BuildFailedReason, Run: bounded(r.generate)},
			{Name: "prune", Reason: meta.ReconciliationFailedReason, Run: r.prune},
			{Name: "complete", Reason: meta.FailedReason, Run: r.complete},
		},
		Delete: engine.Steps[*v1beta1.ArtifactGenerator, scope]{
			{Name: "find", Reason: meta.ReconciliationFailedReason, Run: r.find},
			{Name: "remove", Reason: meta.ReconciliationFailedReason, Run: r.prune},
		},
		Events: events,
	}
}

// SourceKey returns where a source of the generator is.
func SourceKey(obj *v1beta1.ArtifactGenerator, s v1beta1.SourceReference) types.NamespacedName {
	return types.NamespacedName{Namespace: cmp.Or(s.Namespace, obj.Namespace), Name: s.Name}
}

// MakerKey returns the generator that an ExternalArtifact names as its source, if it names one. Generators make them in their
// own namespaces: one of another namespace did not make it, and whoever writes its name there has no say over it.
func MakerKey(ea *sourcev1.ExternalArtifact) (types.NamespacedName, bool) {
	ref := ea.Spec.SourceRef
	if ref == nil || ref.Kind != v1beta1.ArtifactGeneratorKind || groupOf(ref.APIVersion) != v1beta1.Group {
		return types.NamespacedName{}, false
	}

	if ref.Namespace != "" && ref.Namespace != ea.Namespace {
		return types.NamespacedName{}, false
	}

	return types.NamespacedName{Namespace: ea.Namespace, Name: ref.Name}, true
}

// success is the Ready condition of a run that went well.
func success(obj *v1beta1.ArtifactGenerator, _ *scope) (reason, message string) {
	return meta.SucceededReason, fmt.Sprintf("reconciliation succeeded, generated %d artifact(s)", len(obj.Status.Inventory))
}

// open begins the time of a run.
func (r *reconciler) open(ctx context.Context, _ *v1beta1.ArtifactGenerator, s *scope) error {
	s.ctx, s.cancel = context.WithTimeoutCause(ctx, r.Timeout, &lateError{after: r.Timeout})

	return nil
}

// lateError says that a run took too long.
type lateError struct{ after time.Duration }

// Error implements error.
func (e *lateError) Error() string { return fmt.Sprintf("timed out after %s", e.after) }

// bounded makes a step fail when the time of the run is over.
func bounded(
	run func(ctx context.Context, obj *v1beta1.ArtifactGenerator, s *scope) error,
) func(ctx context.Context, obj *v1beta1.ArtifactGenerator, s *scope) error {
	return func(ctx context.Context, obj *v1beta1.ArtifactGenerator, s *scope) error {
		err := run(s.ctx, obj, s)
		if err != nil && ctx.Err() == nil && s.ctx.Err() != nil {
			return context.Cause(s.ctx)
		}

		return err
	}
}

func closeScope(s *scope) {
	for _, root := range s.roots {
		_ = root.Close()
	}

	for _, tree := range s.trees {
		tree.Close()
	}

	if s.cancel != nil {
		s.cancel()
	}
}
