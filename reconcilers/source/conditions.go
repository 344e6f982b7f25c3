package source

import (
	"context"
	"errors"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/engine"
)

// Controller is the source of the events, and the owner of the status and the finalizer, of all kinds but ArtifactGenerator.
const Controller = "source-controller"

// Object is a source: its StatusFields name the artifact.
type Object interface {
	engine.Object
	GetArtifact() *meta.Artifact
}

// Ready makes Ready of a source from its other conditions. All kinds can use it: a condition that is not there does not count.
func Ready[O Object, S any]() engine.Summary[O, S] {
	return engine.FromConditions[O, S](
		append(failures(), meta.ArtifactOutdatedCondition),
		[]string{meta.ArtifactInStorageCondition, meta.SourceVerifiedCondition},
	)
}

// failures are the conditions whose end is worth an event, in the order in which they count.
func failures() []string {
	return []string{
		meta.StorageOperationFailedCondition, meta.FetchFailedCondition, meta.BuildFailedCondition,
		meta.IncludeUnavailableCondition,
	}
}

// Asked tells whether somebody expects news of an object: it was changed, or a look upstream was asked for.
func Asked(obj engine.Object) bool {
	st := obj.StatusFields()
	at, ok := obj.GetAnnotations()[meta.ReconcileRequestAnnotation]

	return obj.GetGeneration() != *st.ObservedGeneration || ok && at != *st.LastHandledReconcileAt
}

// Settled tells whether the object has an artifact in the storage.
func Settled(obj Object) bool {
	return obj.GetArtifact() != nil && engine.IsTrue(obj, meta.ArtifactInStorageCondition)
}

// Outdated says that the artifact is not the one that is wanted any more, and that another one is on its way. The message
// says which, such as "new upstream revision '…'".
func Outdated(ctx context.Context, obj Object, reason, message string) {
	if obj.GetArtifact() == nil {
		return // there is nothing to be outdated
	}

	engine.Set(obj, meta.ArtifactOutdatedCondition, metav1.ConditionTrue, reason, message)
	engine.Progress(ctx, "building artifact: "+message)
}

// Current says that the artifact is the one that is wanted: nothing of an earlier failure is left.
func Current(obj Object) {
	engine.Unset(obj, meta.ArtifactOutdatedCondition, meta.StorageOperationFailedCondition, meta.BuildFailedCondition)
}

// Stored writes down the artifact that is in the storage now, with what ArtifactInStorage, and with it Ready, says of it.
func Stored(obj Object, a *meta.Artifact, reason, message string) {
	*obj.StatusFields().Artifact = a

	Current(obj)
	engine.Set(obj, meta.ArtifactInStorageCondition, metav1.ConditionTrue, reason, message)
}

// maxTimeout is the longest that an object may wait for a server, whatever its spec says.
const maxTimeout = time.Hour

// Bounded runs a part of the work that has to come to an end in time, which is an hour at most. An error after that says that it
// took too long. Others are in words that are the same each time that the same goes wrong.
func Bounded(ctx context.Context, timeout time.Duration, run func(context.Context) error) error {
	timeout = min(timeout, maxTimeout)
	late := fmt.Errorf("timed out after %s", timeout)

	ctx, cancel := context.WithTimeoutCause(ctx, timeout, late)
	defer cancel()

	err := run(ctx)
	if err != nil && errors.Is(context.Cause(ctx), late) {
		return late
	}

	return steady(err)
}
