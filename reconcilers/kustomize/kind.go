package kustomize

import (
	"cmp"
	"context"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/apply"
	"github.com/weir-dev/weir/reconcilers/approval"
	"github.com/weir-dev/weir/reconcilers/artifact"
	"github.com/weir-dev/weir/reconcilers/build"
	"github.com/weir-dev/weir/reconcilers/decryption"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/expression"
	"github.com/weir-dev/weir/reconcilers/health"
	"github.com/weir-dev/weir/reconcilers/remote"
)

const (
	// Controller is the source of the events and the field manager of the applied objects.
	Controller = "kustomize-controller"

	// FieldOwner owns the status and the finalizer of a Kustomization.
	FieldOwner = "gotk-kustomize-controller"
)

// Source is an object with an artifact.
type Source interface {
	client.Object

	// GetArtifact returns the artifact, or nil as long as there is none.
	GetArtifact() *meta.Artifact
}

// Sources finds sources, in a cache. Kind is GitRepository, OCIRepository, Bucket or ExternalArtifact. A source that does
// not exist is an IsNotFound error.
type Sources interface {
	Source(ctx context.Context, kind string, key types.NamespacedName) (Source, error)
}

// SourceFunc is a function as Sources.
type SourceFunc func(ctx context.Context, kind string, key types.NamespacedName) (Source, error)

// Source implements Sources.
func (f SourceFunc) Source(ctx context.Context, kind string, key types.NamespacedName) (Source, error) {
	return f(ctx, kind, key)
}

// Dependencies finds Kustomizations that others depend on, in a cache. One that does not exist is an IsNotFound error.
type Dependencies interface {
	Kustomization(ctx context.Context, key types.NamespacedName) (*kustomizev1.Kustomization, error)
}

// DependencyFunc is a function as Dependencies.
type DependencyFunc func(ctx context.Context, key types.NamespacedName) (*kustomizev1.Kustomization, error)

// Kustomization implements Dependencies.
func (f DependencyFunc) Kustomization(ctx context.Context, key types.NamespacedName) (*kustomizev1.Kustomization, error) {
	return f(ctx, key)
}

// Configs reads the objects with variables. They are read at every run, so that an implementation that can tell an unchanged
// object saves requests. One that does not exist is an IsNotFound error.
type Configs interface {
	ConfigMap(ctx context.Context, namespace, name string) (*corev1.ConfigMap, error)
	Secret(ctx context.Context, namespace, name string) (*corev1.Secret, error)
}

// Trees unpacks artifacts. *artifact.Trees is one.
type Trees interface {
	Open(ctx context.Context, a *meta.Artifact) (*artifact.Tree, error)
}

// Deps are what the kind needs. All are required unless they say otherwise.
type Deps struct {
	Sources      Sources
	Dependencies Dependencies
	Configs      Configs
	Trees        Trees
	Builder      *build.Builder

	// Access makes the clients of the cluster, and Applier and Hub work in it. Who made them sees to it that a Kustomization
	// runs when they wake its Owner.
	Access  *access.Factory
	Applier *apply.Applier
	Hub     *health.Hub

	// Remote are the clusters of kubeconfigs. They wake as Access's Applier and Hub do.
	Remote *remote.Clusters

	// Decryption decrypts what is built.
	Decryption *decryption.Decryption

	// Expressions compiles the expressions of health checks and dependencies.
	Expressions *expression.Compiler

	// PlanKey returns the secret of the process that makes the digests of plans. Nil refuses plans.
	PlanKey approval.Source

	// AdditiveReadyExpr makes a dependency with an expression meet what one without has to meet, too (feature gate
	// AdditiveCELDependencyCheck). Otherwise the expression alone decides.
	AdditiveReadyExpr bool

	// Family knows those that objects may move to, and those that depend on one that is deleted. Nil waits for nobody.
	Family *Family

	// NoCrossNamespaceRefs forbids sources and dependencies in other namespaces.
	NoCrossNamespaceRefs bool

	// DefaultServiceAccount is impersonated by Kustomizations that name no service account. Empty means that they act as
	// the process.
	DefaultServiceAccount string

	// NoExternalArtifacts forbids sources of the kind ExternalArtifact (feature gate ExternalArtifact, switched off).
	NoExternalArtifacts bool

	// NoFailFast makes a health check wait for all objects, though some have failed (feature gate DisableFailFastBehavior).
	NoFailFast bool

	// NoCommitStatus leaves out the event that only sets the status of a commit (feature gate DisableCommitStatusEvent).
	NoCommitStatus bool

	// RequeueDependency is when to look again for what is missing, if nothing wakes the object before. Zero means 30 s.
	RequeueDependency time.Duration

	// Concurrency is the number of requests of one apply in parallel. Zero leaves it to package apply.
	Concurrency int

	// Stages are kinds that are applied, and waited for, before the others.
	Stages []schema.GroupKind

	// Takeovers are field managers whose fields are taken over, beyond those of kubectl.
	Takeovers []apply.Takeover

	// Recheck is the time between two checks of everything against the API server, whatever was seen in between; give or
	// take a fifth. Zero means 6 h.
	Recheck time.Duration

	// Blink is how long a run may wait for health itself, which saves a status that is outdated at once. Zero means 300 ms.
	Blink time.Duration

	// Now is the clock. Nil means the machine's.
	Now func() time.Time
}

// Owner returns who applies the objects of the Kustomization: the key under which the applier and the hub know it.
func Owner(key types.NamespacedName) apply.Owner {
	return apply.Owner{
		ID: access.ID{
			Group: kustomizev1.Group, Kind: kustomizev1.KustomizationKind, Namespace: key.Namespace, Name: key.Name,
		},
		Prefix:  kustomizev1.Group,
		Manager: Controller,
	}
}

func ownerOf(obj *kustomizev1.Kustomization) apply.Owner {
	return Owner(client.ObjectKeyFromObject(obj))
}

// scope is what the steps of one run hand to each other.
type scope struct {
	obj      *kustomizev1.Kustomization // set by open, for close
	started  time.Time                  // set by open
	previous []access.Ref               // the inventory before the run; set by open
	memo     *memo                      // what is known from earlier runs; set by open

	rules map[schema.GroupKind]health.Rule // how healthy custom objects are; set by compile

	sourceKind string           // set by resolve
	source     Source           // set by resolve
	artifact   *meta.Artifact   // set by resolve
	variables  *build.Variables // set by load

	silent bool // it waits for dependencies, and nobody has asked what it wants; set by depend

	session *decryption.Session // decrypts, if anything is to be; set by unlock

	site  *reconciler   // works in the remote cluster, if there is one; set by connect and reach
	visit *remote.Visit // of the remote cluster, from the first step that may take long there

	client   *access.Client // acts as the service account; set by plan
	attempt  *attempt       // set by plan
	inputs   string         // everything that what is applied depends on; set by plan
	decision decision       // set by plan

	set *build.Set // set by build, if there is work

	unplanned []access.Ref // were forgotten, and are in no plan that was approved; set by apply

	applied apply.Changes // set by apply
	pruned  apply.Changes // set by prune
	passed  time.Duration // how long health took, if a health check was passed that is worth an event; set by wait
	done    time.Duration // how long the attempt took, if it came to a success that is worth an event; set by complete
}

// related names the source in events.
func (s *scope) related() *corev1.ObjectReference {
	if s.source == nil {
		return nil
	}

	return &corev1.ObjectReference{
		APIVersion: sourcev1.GroupVersion.String(), Kind: s.sourceKind,
		Namespace: s.source.GetNamespace(), Name: s.source.GetName(),
		UID: s.source.GetUID(), ResourceVersion: s.source.GetResourceVersion(),
	}
}

// reconciler holds what the steps share beyond one run. That of a remote cluster has the same memory, but the Access, Applier
// and Hub of that cluster.
type reconciler struct {
	Deps
	memory *memory
	home   *access.Factory // the cluster with the Kustomizations and their service accounts
}

// Kind declares how a Kustomization is reconciled.
func Kind(d Deps) engine.Kind[*kustomizev1.Kustomization, scope] {
	if d.Now == nil {
		d.Now = time.Now
	}

	d.RequeueDependency = cmp.Or(d.RequeueDependency, 30*time.Second)
	d.Recheck = cmp.Or(d.Recheck, 6*time.Hour)
	d.Blink = cmp.Or(d.Blink, 300*time.Millisecond)

	if d.Family == nil {
		d.Family = NewFamily(nobody{}, func(types.NamespacedName) {})
	}

	r := &reconciler{Deps: d, memory: &memory{}, home: d.Access}

	kind := engine.Kind[*kustomizev1.Kustomization, scope]{
		Name:       kustomizev1.KustomizationKind,
		Controller: Controller,
		FieldOwner: FieldOwner,
		New:        func() *kustomizev1.Kustomization { return &kustomizev1.Kustomization{} },
		Finalizer:  meta.Finalizer,
		Interval: func(obj *kustomizev1.Kustomization) time.Duration {
			return r.atTheLatest(obj, obj.Spec.Interval.Duration)
		},
		Retry: func(obj *kustomizev1.Kustomization) time.Duration {
			return r.atTheLatest(obj, obj.GetRetryInterval())
		},
		Ready: engine.FromVerdict(success),
		Open:  r.open,
		Close: closeRun,
		Steps: engine.Steps[*kustomizev1.Kustomization, scope]{
			{Name: "compile", Reason: meta.InvalidCELExpressionReason, Run: r.compile},
			{Name: "resolve", Reason: meta.ArtifactFailedReason, Run: r.resolve},
			{Name: "depend", Reason: meta.DependencyNotReadyReason, Run: r.depend},
			{Name: "load", Reason: meta.BuildFailedReason, Run: r.load},
			{Name: "unlock", Reason: meta.BuildFailedReason, Run: r.unlock},
			{Name: "connect", Reason: meta.ReconciliationFailedReason, Run: r.connect},
			{Name: "plan", Reason: meta.ReconciliationFailedReason, Run: r.there((*reconciler).plan)},
			{Name: "build", Reason: meta.BuildFailedReason, Run: r.build},
			{Name: "approve", Reason: meta.ReconciliationFailedReason, Run: r.there((*reconciler).approve)},
			{Name: "apply", Reason: meta.ReconciliationFailedReason, Run: r.there((*reconciler).apply)},
			{Name: "prune", Reason: meta.PruneFailedReason, Run: r.there((*reconciler).prune)},
			{Name: "wait", Reason: meta.HealthCheckFailedReason, Run: r.there((*reconciler).wait)},
			{Name: "complete", Reason: meta.ReconciliationFailedReason, Run: r.complete},
		},
		Delete: engine.Steps[*kustomizev1.Kustomization, scope]{
			{Name: "reach", Reason: meta.PruneFailedReason, Run: r.reach},
			{Name: "remove", Reason: meta.PruneFailedReason, Run: r.there((*reconciler).remove)},
		},
		Events:  r.events,
		Failure: failure,
		Forget:  r.forget,
	}

	for i := range kind.Steps {
		kind.Steps[i].Run = r.telling(kind.Steps[i].Run)
	}

	return kind
}

// success is what Ready says of a run that came to its end.
func success(obj *kustomizev1.Kustomization, _ *scope) (reason, message string) {
	return meta.ReconciliationSucceededReason, "Applied revision: " + obj.Status.LastAppliedRevision
}

func (r *reconciler) open(_ context.Context, obj *kustomizev1.Kustomization, s *scope) error {
	s.obj = obj
	s.started = r.Now()
	s.previous = references(obj.Status.Inventory)
	s.memo = r.memory.of(obj)

	if s.memo.ran && !slices.Equal(entries(obj.Status.Inventory), s.memo.left) {
		s.memo.adopted, s.memo.unwritten = false, true
	}

	return nil
}

// closeRun notes what the status is going to have, unless it cannot be written.
func closeRun(s *scope) {
	if s.visit != nil {
		s.visit.Leave()
	}

	if s.memo != nil {
		s.memo.ran, s.memo.left = true, entries(s.obj.Status.Inventory)
	}
}

// atTheLatest returns when to run again: after the given time, or before, if something is held back no longer, or rights have to
// be looked at.
func (r *reconciler) atTheLatest(obj *kustomizev1.Kustomization, d time.Duration) time.Duration {
	memo := r.memory.of(obj)
	for _, due := range []time.Time{memo.due, memo.review} {
		if left := due.Sub(r.Now()); d > 0 && left > 0 {
			d = min(d, max(left, time.Second))
		}
	}

	return d
}

// forget drops what is known of a Kustomization that is gone.
func (r *reconciler) forget(key types.NamespacedName) {
	r.Applier.Forget(Owner(key).ID)
	r.Remote.Release(Owner(key).ID)
	r.memory.drop(key)
	r.Family.forget(context.Background(), key) // what is woken does not depend on who ends
}
