package engine

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/api/meta"
)

// Object is what the runner needs to know of a custom resource. All kinds in package api with a status implement it.
type Object interface {
	client.Object

	// StatusFields points at the parts of the status that every kind has.
	StatusFields() meta.StatusFields

	// Suspended tells whether the user has switched reconciliation off.
	Suspended() bool
}

// Step is one act of a reconcile.
type Step[O Object, S any] struct {
	// Name is for logs and traces; it never appears in a condition.
	Name string

	// Reason is the condition reason of an error that carries none of its own.
	Reason string

	// Condition optionally names an abnormal-true condition type, such as FetchFailed: it is set to True with the
	// reason and message of the error when the step fails, stalls or waits, and removed when the step succeeds.
	Condition string

	// Run does the act. It may change the status of the object and the scope, in memory. Its error is its verdict: nil,
	// or one made by Done, Wait, Await, Stall or Fail; any other error is Fail with the Reason of the step.
	Run func(ctx context.Context, obj O, s *S) error
}

// Steps run in order, until one returns an error.
type Steps[O Object, S any] []Step[O, S]

// Kind declares how objects of type O are reconciled. S is the scope: what the steps of one run hand to each other.
type Kind[O Object, S any] struct {
	// Name of the kind, such as GitRepository.
	Name string

	// Controller is the name of the controller in events, such as source-controller.
	Controller string

	// FieldOwner owns the finalizer and the status in managedFields. Empty means Controller.
	FieldOwner string

	// New returns an empty object.
	New func() O

	// Finalizer is added before the first step runs, and removed after the last Delete step. Empty means none.
	Finalizer string

	// Interval returns the time between two runs of an unchanged object, before jitter. Zero means that nothing runs
	// until something changes.
	Interval func(obj O) time.Duration

	// Retry returns the time to the next attempt after a failure. Nil means exponential back-off.
	Retry func(obj O) time.Duration

	// Ready makes the Ready condition from the verdict.
	Ready Summary[O, S]

	// Open optionally fills the scope before the first step. Its error counts as that of a step without a reason.
	Open func(ctx context.Context, obj O, s *S) error

	// Close optionally releases what the scope holds. It runs after every run, whatever happened.
	Close func(s *S)

	// Steps bring the object to its desired state.
	Steps Steps[O, S]

	// Delete undoes what the Steps did, before the finalizer goes.
	Delete Steps[O, S]

	// Events says what a run means to people, from the object before and after it. It has to be pure. Failures need no
	// event of its making: the runner records them.
	Events func(before, after O, s *S) []Event

	// Failure optionally completes the event of a failure, such as with metadata that says which revision failed. A failure
	// that differs from the one before in nothing but its metadata is told, too.
	Failure func(obj O, s *S, e Event) Event

	// Forget optionally drops what the kind remembers of an object. It is called when the object is gone, whether the
	// Delete steps have seen it go or somebody took the finalizer away.
	Forget func(key types.NamespacedName)

	// Static optionally tells that there is nothing to reconcile in an object, and others only read its spec. It gets no
	// finalizer and no status; what it has of them from before is taken back, after the Delete steps.
	Static func(obj O) bool

	// Ignore optionally tells that an object is not this controller's to reconcile, by an event that says why. It is not
	// written, whatever it has of earlier runs, and not when it is deleted either. The event is recorded once for each
	// generation, as long as the process lives.
	Ignore func(obj O) *Event

	// Suspend optionally changes the status of a suspended object, and says what is told of it. It is called whenever the object
	// would run.
	Suspend func(obj O) []Event

	// SilentWhenSuspended leaves status.lastHandledReconcileAt of suspended objects alone.
	SilentWhenSuspended bool
}

// Event is something that happened and that people may want to know.
type Event struct {
	// Type is corev1.EventTypeNormal or corev1.EventTypeWarning. Empty means Normal.
	Type string

	// Severity is meta.EventSeverityTrace, Info or Error. Trace events are recorded in Kubernetes only; the others are
	// sent to the notification controller as well. Empty means Info for Normal and Error for Warning.
	Severity string

	// Reason in CamelCase.
	Reason string

	// Action that was taken, in CamelCase. Empty means Reconcile.
	Action string

	// Message for people.
	Message string

	// Metadata keys without a prefix get the API group of the object as their prefix.
	Metadata map[string]string

	// Related is an optional second object, such as the source.
	Related *corev1.ObjectReference
}

func (k *Kind[O, S]) fieldOwner() client.FieldOwner {
	if k.FieldOwner != "" {
		return client.FieldOwner(k.FieldOwner)
	}

	return client.FieldOwner(k.Controller)
}
