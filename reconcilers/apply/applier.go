package apply

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/clock"

	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/health"
)

// Owner is who applies a set, and how its objects show that.
type Owner struct {
	// ID of the object that owns the set, such as a Kustomization.
	access.ID
	// Prefix of the labels <prefix>/name and <prefix>/namespace that each object of the set gets, and of the markers
	// <prefix>/reconcile, /ssa, /force and /prune with which users steer single objects.
	Prefix string
	// Manager is the field manager.
	Manager string
}

// Takeover names field managers whose fields the owner takes over, so that what they set and the set does not have is
// removed. Those of kubectl and of earlier generations of the owner are always taken over.
type Takeover struct {
	// Manager is the name, or its beginning if Prefix is set.
	Manager string
	Prefix  bool
}

// Options of one Apply.
type Options struct {
	// Digest identifies the set and the options, for Clean. It may be empty.
	Digest string
	// Force deletes and creates objects anew whose change is refused because a field is immutable.
	Force bool
	// Labels and Annotations are set on every object, over those that it has.
	Labels, Annotations map[string]string
	// Stages are kinds that are applied, and waited for, in a stage of their own before all others.
	Stages []schema.GroupKind
	// Takeovers beyond those that are always done.
	Takeovers []Takeover
	// DropLabels and DropAnnotations are removed from the live objects: keys of tools that the owner replaces.
	DropLabels, DropAnnotations []string
	// Timeout of the wait for one stage. Zero stands for a minute.
	Timeout time.Duration
	// Concurrency is the number of requests in parallel. Zero stands for 8.
	Concurrency int
	// Strict makes duplicate fields an error, too; unknown fields always are.
	Strict bool
}

// Action is what was done to an object.
type Action string

// Actions, as change logs name them.
const (
	Created    Action = "created"
	Configured Action = "configured"
	Deleted    Action = "deleted"
	Unchanged  Action = "unchanged"
	Skipped    Action = "skipped"
)

// Change is what was done to one object.
type Change struct {
	access.Ref
	Action Action
}

// String returns "Kind/namespace/name action".
func (c Change) String() string { return c.Ref.String() + " " + string(c.Action) }

// Changes are in the order in which they were decided, not in that in which they happened to finish.
type Changes []Change

// Fight is an object that somebody else keeps changing back.
type Fight struct {
	access.ID
	// Manager is the field manager of the other side, or empty if it deletes the object.
	Manager string
	// Corrections within the last minutes.
	Corrections int
	// Until is when the next correction is due.
	Until time.Time
}

// Result of an Apply. After an error it tells how far it came.
type Result struct {
	// Changes has an entry for each object of the set. After an error, those that were not reached are left out.
	Changes Changes
	// Fights that are slowed down, by identity.
	Fights []Fight
}

// ApplierOptions are the dependencies of an Applier.
type ApplierOptions struct {
	// Wake is called when something that the owner applied is no longer as it was applied. It must not block.
	Wake func(owner access.ID, cause health.Cause)
	// Clock is for the pace of fights. Nil stands for the machine's.
	Clock clock.WithDelayedExecution
}

// Applier applies sets to one cluster and remembers how. Its methods may be called concurrently; calls for the same
// owner wait for each other.
type Applier struct{}

// New makes an applier over the hub of its cluster.
func New(hub *health.Hub, o ApplierOptions) *Applier { return nil }

// Apply makes the cluster have the objects. The set is not changed. Before anything is written, everything that is about
// to change is tried, and all that is refused is returned as one Errors; only what depends on a definition or a namespace
// of the same set is tried after these. The objects are tracked in the hub, with those of earlier sets until Prune.
func (a *Applier) Apply(ctx context.Context, c *access.Client, owner Owner, set []*unstructured.Unstructured, o Options) (*Result, error) {
	return nil, nil
}

// Clean tells, from memory, whether the last Apply of the owner succeeded with this digest, and everything is still as
// it was applied. An Apply would then do nothing.
func (a *Applier) Clean(owner access.ID, digest string) bool { return false }

// PruneOptions of one Prune.
type PruneOptions struct {
	// Concurrency is the number of requests in parallel. Zero stands for 8.
	Concurrency int
}

// Pruned is what became of the objects that left a set.
type Pruned struct {
	// Changes has an entry for each object: deleted, or skipped because it is somebody else's or excluded by a marker.
	Changes Changes
	// Survivors could not be deleted and stay in the inventory.
	Survivors []access.Ref
}

// Prune deletes the objects, last applied first, that carry the owner's labels and no marker against it. An object
// that is gone counts as deleted. Dependents are deleted in the background. Errors are collected.
func (a *Applier) Prune(ctx context.Context, c *access.Client, owner Owner, stale []access.Ref, o PruneOptions) (*Pruned, error) {
	return nil, nil
}

// Adopt makes the objects of an inventory known without applying anything, so that they can be pruned, reported on and
// waited for: on deletion, or after a restart.
func (a *Applier) Adopt(owner Owner, inventory []access.Ref) {}

// Orphans returns the objects that carry the owner's labels, but are in no inventory: applied, and then forgotten by
// a crash. Only kinds that are watched count.
func (a *Applier) Orphans(owner Owner, inventory []access.Ref) []access.Ref { return nil }

// Forget drops all that is known about the owner, and the hub's interest in it. It deletes nothing.
func (a *Applier) Forget(owner access.ID) {}

// Inventory returns the references to all objects of the changes, sorted, for a status.
func (c Changes) Inventory() *meta.ResourceInventory { return nil }

// Log returns one line for each object that was created, configured or deleted.
func (c Changes) Log() string { return "" }

// Applied returns the identities of all objects that were not skipped: those whose health matters.
func (c Changes) Applied() []access.ID { return nil }

// Labels returns the labels that objects of the owner carry.
func (o Owner) Labels() map[string]string { return nil }
