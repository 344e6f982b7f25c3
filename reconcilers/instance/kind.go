package instance

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/apply"
	"github.com/weir-dev/weir/reconcilers/approval"
	"github.com/weir-dev/weir/reconcilers/distribution"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/release"
	"github.com/weir-dev/weir/reconcilers/remote"
)

// Manager is the field manager of the objects of an instance, the owner of its status and the source of its events.
const Manager = "flux-operator"

// Builder makes the objects of an instance. *distribution.Distribution is one. Its errors are due to the spec.
type Builder interface {
	Build(instance *fluxv1.FluxInstance, o distribution.Options) (*distribution.Set, error)
}

// Releases bring what instances want from registries. *release.Releases is one.
type Releases interface {
	Fetch(ctx context.Context, obj *fluxv1.FluxInstance) (*release.Release, error)
}

// Deps are what the kind needs.
type Deps struct {
	// Builder makes the objects.
	Builder Builder

	// Releases optionally fetches and verifies what an instance wants from a registry. Nil refuses such instances.
	Releases Releases

	// Image of the operator itself, which the components run too.
	Image distribution.Image

	// Home is the cluster that the operator runs in.
	Home Place

	// Namespace of the operator. Elsewhere, instances without a kubeconfig are ignored.
	Namespace string

	// Remote are the clusters of kubeconfigs. They wake as Home's Applier and Hub do. Nil refuses such instances.
	Remote *remote.Clusters

	// Operator is the Deployment that runs this process, which follows the releases of the instance at home. Nil leaves it alone.
	Operator Operator

	// Wake is called when what an instance names to get at registries and clusters has changed. It must not block. Nil leaves that to the
	// interval.
	Wake func(instance types.NamespacedName)

	// PlanKey returns the secret of the process that makes the digests of plans. Nil refuses plans.
	PlanKey approval.Source

	// Takeovers are field managers whose fields are taken over, beyond those of Flux, Helm and kubectl.
	Takeovers []apply.Takeover

	// MigrateShare is the number of objects that one run migrates. Zero stands for 2000.
	MigrateShare int

	// Now is the clock. Nil means the machine's.
	Now func() time.Time

	// Uptime is the time since some moment in the life of this process, and goes on evenly when the clock is set. Nil means that of the
	// machine.
	Uptime func() time.Duration
}

// Owner returns who applies the objects of the instance: the key under which the applier and the hub know it.
func Owner(obj *fluxv1.FluxInstance) apply.Owner {
	return apply.Owner{
		ID:      identity(client.ObjectKeyFromObject(obj)),
		Prefix:  fluxv1.GroupVersion.Group,
		Manager: Manager,
	}
}

func identity(key types.NamespacedName) access.ID {
	return access.ID{
		Group: fluxv1.GroupVersion.Group, Kind: fluxv1.FluxInstanceKind, Namespace: key.Namespace, Name: key.Name,
	}
}

// scope is what the steps of one run hand to each other.
type scope struct {
	Place // set by open and locate

	visiting *remote.Visit // of the remote cluster of the run; begun by the first step that goes there

	memory      *memory           // set by open
	started     time.Time         // set by open
	credentials string            // which versions of its Secrets the run uses; set by open
	previous    []access.Ref      // the inventory before the run; set by open
	release     *release.Release  // set by fetch; nil for what the operator carries
	outage      string            // why the release could not be looked for, if that is news; set by fetch
	away        bool              // nobody could tell what the release is; set by fetch
	unavailable error             // why there is nothing to build, or to apply; set by fetch and build
	built       *distribution.Set // what spec and release make now; set by build, nil if unavailable
	claimed     bool              // it was found earlier that the target is nobody else's; set by claim
	attempt     string            // what an upgrade to that would be begun with; set by choose
	way         way               // where the run goes; set by choose, and by hold
	set         *distribution.Set // the target, which is applied: what was built, or the last good one; set by choose, and by hold
	wake        time.Duration     // until the next maintenance window opens, if the run waits for one; set by gate
	waiting     bool              // another release than that of the target waits for a window; set by gate
	began       bool              // an upgrade is about to be; set by begin
	keeping     *keeping          // why the target is the last good one; set by choose, and by hold
	full        bool              // whether all is checked, whatever was seen; set by apply
	changes     apply.Changes     // of this run; set by apply
	pruned      apply.Changes     // set by prune
	finished    *outcome          // set by complete
	failure     string            // what keeps the instance from being ready, if that is news; set by wait
	undone      string            // why an upgrade is taken back, if that is news; set by giveUp
}

// outcome is what a transaction came to: one or more runs, from the first apply to health.
type outcome struct {
	took time.Duration
	log  string // what changed, or empty
}

// Kind declares how a FluxInstance is reconciled.
func Kind(d Deps) engine.Kind[*fluxv1.FluxInstance, scope] {
	if d.Now == nil {
		d.Now = time.Now
	}
	if d.MigrateShare <= 0 {
		d.MigrateShare = migrateShare
	}
	if d.Uptime == nil {
		begin := time.Now()
		d.Uptime = func() time.Duration { return time.Since(begin) }
	}
	r := &reconciler{Deps: d}
	r.credentials.hub, r.credentials.wake = d.Home.Hub, d.Wake
	kind := engine.Kind[*fluxv1.FluxInstance, scope]{
		Name:       fluxv1.FluxInstanceKind,
		Controller: Manager,
		New:        func() *fluxv1.FluxInstance { return &fluxv1.FluxInstance{} },
		Finalizer:  fluxv1.Finalizer,
		Interval:   pace(look),
		Retry:      r.retry,
		Ready:      engine.FromVerdict(success),
		Open:       r.open,
		Close:      (*scope).leave,
		Ignore:     r.ignore,
		Steps: engine.Steps[*fluxv1.FluxInstance, scope]{
			{Name: "fetch", Reason: meta.ArtifactFailedReason, Run: r.fetch},
			{Name: "build", Reason: meta.BuildFailedReason, Run: r.build},
			{Name: "choose", Reason: meta.ReconciliationFailedReason, Run: r.choose},
			{Name: "claim", Reason: meta.ReconciliationFailedReason, Run: r.claim},
			{Name: "check", Reason: meta.ReconciliationFailedReason, Run: r.check},
			{Name: "gate", Reason: meta.ReconciliationFailedReason, Run: r.gate},
			{Name: "prepare", Reason: meta.ReconciliationFailedReason, Run: r.prepare},
			{Name: "begin", Reason: meta.ReconciliationFailedReason, Run: r.begin},
			{Name: "retire", Reason: meta.ReconciliationFailedReason, Run: r.retire},
			{Name: "apply", Reason: meta.ReconciliationFailedReason, Run: r.apply},
			{Name: "wait", Reason: meta.ReconciliationFailedReason, Run: r.wait},
			{Name: "soak", Reason: meta.ReconciliationFailedReason, Run: r.soak},
			{Name: "prune", Reason: meta.ReconciliationFailedReason, Run: r.prune},
			{Name: "migrate", Reason: meta.ReconciliationFailedReason, Run: r.migrate},
			{Name: "oversee", Reason: meta.ReconciliationFailedReason, Run: r.oversee},
			{Name: "complete", Reason: meta.ReconciliationFailedReason, Run: r.complete},
			{Name: "operator", Reason: meta.ReconciliationFailedReason, Run: r.operator},
			{Name: "again", Reason: meta.ReconciliationFailedReason, Run: r.again},
		},
		Delete: engine.Steps[*fluxv1.FluxInstance, scope]{
			{Name: "keep", Reason: meta.ReconciliationFailedReason, Run: r.keep},
			{Name: "stop", Reason: meta.ReconciliationFailedReason, Run: r.stop},
			{Name: "release", Reason: meta.ReconciliationFailedReason, Run: r.release},
			{Name: "remove", Reason: meta.ReconciliationFailedReason, Run: r.remove},
			{Name: "forget", Reason: meta.ReconciliationFailedReason, Run: r.forget},
		},
		Events:  events,
		Forget:  r.gone,
		Suspend: r.suspend,
	}
	for _, steps := range []engine.Steps[*fluxv1.FluxInstance, scope]{kind.Steps[2:], kind.Delete} { // registries are not in the cluster
		for i := range steps {
			steps[i].Run = r.there(steps[i].Run)
		}
	}
	return kind
}

// success is what Ready says of a run that came to its end.
func success(_ *fluxv1.FluxInstance, s *scope) (reason, message string) {
	var took time.Duration
	if s.finished != nil {
		took = s.finished.took
	}
	return meta.ReconciliationSucceededReason, "Reconciliation finished in " + short(took)
}

// short leaves out the digits that nobody reads.
func short(d time.Duration) string {
	if d >= time.Second {
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Millisecond).String()
}

// suspend tells of an instance that was created suspended that this is as it should be, and of another one that nothing is done.
func (r *reconciler) suspend(obj *fluxv1.FluxInstance) []engine.Event {
	r.memories.get(obj).arrived = false
	if engine.Condition(obj, meta.ReadyCondition) == nil {
		engine.Set(obj, meta.ReadyCondition, metav1.ConditionTrue, meta.ReconciliationDisabledReason, "Initialized with reconciliation suspended")
		return nil
	}
	return []engine.Event{{Type: corev1.EventTypeWarning, Reason: meta.ReconciliationDisabledReason, Message: "Reconciliation is disabled"}}
}
