package resourceset

import (
	"cmp"
	"context"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/apply"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/expression"
	"github.com/weir-dev/weir/reconcilers/health"
	"github.com/weir-dev/weir/reconcilers/resourceset/template"
)

// Manager is the field manager of the applied objects, the owner of the status and the source of the events.
const Manager = "flux-operator"

// Providers finds providers of inputs, in a cache. What it returns is not changed.
type Providers interface {
	// Provider returns one by its name. One that does not exist is an IsNotFound error.
	Provider(ctx context.Context, key types.NamespacedName) (*fluxv1.ResourceSetInputProvider, error)

	// Providers returns those of a namespace that the selector selects, in any order.
	Providers(ctx context.Context, namespace string, selector labels.Selector) ([]fluxv1.ResourceSetInputProvider, error)
}

// Deps are what the kind needs. All are required unless they say otherwise.
type Deps struct {
	Providers Providers

	// Access makes the clients of the cluster, and Applier and Hub work in it. Who made them sees to it that a ResourceSet runs when
	// they wake its Owner.
	Access  *access.Factory
	Applier *apply.Applier
	Hub     *health.Hub

	// Expressions compiles the expressions of dependencies.
	Expressions *expression.Compiler

	// Wake is called when a dependency that is waited for has changed. It must not block. Nil leaves that to RequeueDependency.
	Wake func(types.NamespacedName)

	// Links optionally knows which ConfigMaps and Secrets are used, for who watches them.
	Links *Links

	// DefaultServiceAccount is impersonated by ResourceSets that name no service account. Empty means that they act as the process.
	DefaultServiceAccount string

	// NoCrossNamespaceRefs forbids dependencies in other namespaces; and to copy from there, unless a service account is
	// impersonated, whose rights then decide.
	NoCrossNamespaceRefs bool

	// RequeueDependency is when to look again for what is missing, if nothing wakes the object before. Zero means 5 s.
	RequeueDependency time.Duration

	// Concurrency is the number of requests of one apply in parallel. Zero leaves it to package apply.
	Concurrency int

	// Takeovers are field managers whose fields are taken over, beyond those of Flux, Helm and kubectl.
	Takeovers []apply.Takeover

	// Recheck is the time between two checks of everything against the API server, whatever was seen in between; give or
	// take a fifth. Zero means 6 h.
	Recheck time.Duration

	// Blink is how long a run may wait itself, which saves a status that is outdated at once. Zero means 300 ms.
	Blink time.Duration

	// Now is the clock. Nil means the machine's.
	Now func() time.Time
}

// Owner returns who applies the objects of the ResourceSet: the key under which the applier and the hub know it.
func Owner(key types.NamespacedName) apply.Owner {
	return apply.Owner{
		ID: access.ID{
			Group: fluxv1.GroupVersion.Group, Kind: fluxv1.ResourceSetKind, Namespace: key.Namespace, Name: key.Name,
		},
		Prefix:  "resourceset." + fluxv1.GroupVersion.Group,
		Markers: fluxv1.GroupVersion.Group,
		Manager: Manager,
	}
}

func ownerOf(obj *fluxv1.ResourceSet) apply.Owner { return Owner(client.ObjectKeyFromObject(obj)) }

// scope is what the steps of one run hand to each other.
type scope struct {
	obj      *fluxv1.ResourceSet // set by open, for close
	memo     *memo               // what is known from earlier runs; set by open
	previous []access.Ref        // the inventory before the run; set by open

	client    *access.Client      // acts as the service account; set by identify
	providers []template.Provider // set by collect
	versions  string              // which versions of which providers they are; set by collect
	base      string              // everything that what is applied depends on, but for what it refers to; set by decide
	key       string              // with that; set by decide, and by build
	decision  decision            // set by decide
	inputs    int                 // how many there are; set by build
	set       *set                // set by build, if there is work
	release   func()              // of the permit to have a heavy set; set by build

	applied []step        // what was done, by step; set by deploy
	pruned  apply.Changes // set by prune
	done    time.Duration // how long the attempt took, if it came to a success that is worth an event; set by complete
}

// step is what was done to the objects of a step.
type step struct {
	index   int
	changes apply.Changes
}

// reconciler holds what the steps share beyond one run.
type reconciler struct {
	Deps
	memory memory
	heavy  chan struct{} // holds a token for each heavy set
}

// Kind declares how a ResourceSet is reconciled.
func Kind(d Deps) engine.Kind[*fluxv1.ResourceSet, scope] {
	if d.Now == nil {
		d.Now = time.Now
	}
	if d.Links == nil {
		d.Links = &Links{}
	}
	d.RequeueDependency = cmp.Or(d.RequeueDependency, 5*time.Second)
	d.Recheck = cmp.Or(d.Recheck, 6*time.Hour)
	d.Blink = cmp.Or(d.Blink, 300*time.Millisecond)
	r := &reconciler{Deps: d, heavy: make(chan struct{}, maxHeavy)}
	return engine.Kind[*fluxv1.ResourceSet, scope]{
		Name:       fluxv1.ResourceSetKind,
		Controller: Manager,
		New:        func() *fluxv1.ResourceSet { return &fluxv1.ResourceSet{} },
		Finalizer:  fluxv1.Finalizer,
		Interval:   func(obj *fluxv1.ResourceSet) time.Duration { return obj.GetInterval() },
		Ready:      engine.FromVerdict(success),
		Open:       r.open,
		Close:      closeRun,
		Steps: engine.Steps[*fluxv1.ResourceSet, scope]{
			{Name: "depend", Reason: meta.DependencyNotReadyReason, Run: r.depend},
			{Name: "identify", Reason: meta.ReconciliationFailedReason, Run: r.identify},
			{Name: "collect", Reason: meta.BuildFailedReason, Run: r.collect},
			{Name: "decide", Reason: meta.ReconciliationFailedReason, Run: r.decide},
			{Name: "build", Reason: meta.BuildFailedReason, Run: r.build},
			{Name: "deploy", Reason: meta.ReconciliationFailedReason, Run: r.deploy},
			{Name: "prune", Reason: meta.ReconciliationFailedReason, Run: r.prune},
			{Name: "complete", Reason: meta.ReconciliationFailedReason, Run: r.complete},
		},
		Delete: engine.Steps[*fluxv1.ResourceSet, scope]{
			{Name: "remove", Reason: meta.ReconciliationFailedReason, Run: r.remove},
		},
		Events:  events,
		Failure: failure,
		Forget:  r.forget,
		Suspend: suspend,
	}
}

func (r *reconciler) open(_ context.Context, obj *fluxv1.ResourceSet, s *scope) error {
	s.obj = obj
	s.previous = references(obj.Status.Inventory)
	s.memo = r.memory.of(obj)
	if s.memo.ran && !slices.Equal(entries(obj.Status.Inventory), s.memo.left) {
		s.memo.adopted = false // the status of the last run was not written
	}
	return nil
}

// closeRun notes what the status is going to have, unless it cannot be written.
func closeRun(s *scope) {
	if s.memo != nil {
		s.memo.ran, s.memo.left = true, entries(s.obj.Status.Inventory)
		s.drop()
	}
}

// success is what Ready says of a run that came to its end. A run that only confirms what is known changes no words.
func success(obj *fluxv1.ResourceSet, s *scope) (reason, message string) {
	if c := engine.Condition(obj, meta.ReadyCondition); s.done == 0 && c != nil {
		return c.Reason, c.Message
	}
	return meta.ReconciliationSucceededReason, "Reconciliation finished in " + short(s.done)
}

// short leaves out the digits that nobody reads.
func short(d time.Duration) string {
	if d >= time.Second {
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Millisecond).String()
}

// suspend tells of a ResourceSet that was created suspended that this is as it should be, and of another one that nothing is done.
func suspend(obj *fluxv1.ResourceSet) []engine.Event {
	if engine.Condition(obj, meta.ReadyCondition) == nil {
		engine.Set(obj, meta.ReadyCondition, metav1.ConditionTrue, meta.ReconciliationDisabledReason, "Initialized with reconciliation suspended")
		return nil
	}
	return []engine.Event{{Type: corev1.EventTypeWarning, Reason: meta.ReconciliationDisabledReason, Message: "Reconciliation is disabled"}}
}

// forget drops what is known of a ResourceSet that is gone.
func (r *reconciler) forget(key types.NamespacedName) {
	r.Applier.Forget(Owner(key).ID)
	r.Hub.Untrack(follower(key))
	r.Links.set(key, nil)
	r.memory.drop(key)
}
