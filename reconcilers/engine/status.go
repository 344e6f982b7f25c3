package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/weir-dev/weir/api/meta"
)

// conclude writes the verdict into the conditions and the common fields of the status.
func (x *run[O, S]) conclude() {
	obj, fields := x.obj, x.obj.StatusFields()

	switch x.verdict.Outcome {
	case Succeeded:
		Unset(obj, meta.ReconcilingCondition, meta.StalledCondition)
	case Awaiting:
		Unset(obj, meta.StalledCondition)
		Set(obj, meta.ReconcilingCondition, metav1.ConditionTrue, meta.ProgressingReason, x.verdict.Error())
	case Blocked:
		Unset(obj, meta.StalledCondition)
	case Stalled:
		Unset(obj, meta.ReconcilingCondition)
		Set(obj, meta.StalledCondition, metav1.ConditionTrue, x.verdict.Reason, x.verdict.Error())
	case Failed:
		Unset(obj, meta.StalledCondition)
		Set(obj, meta.ReconcilingCondition, metav1.ConditionTrue, meta.ProgressingWithRetryReason, x.verdict.Error())
	}

	status, reason, message := x.kind.Ready(obj, &x.scope, x.verdict)
	if status != "" {
		Set(obj, meta.ReadyCondition, status, reason, message)
	}

	if x.verdict.Outcome == Succeeded && status != "" && status != metav1.ConditionTrue {
		// All steps are content and a condition is not, or no condition tells of success: that is a failure to try again.
		x.verdict = &Verdict{Outcome: Failed, Reason: reason, Err: errors.New(message)}
		Set(obj, meta.ReconcilingCondition, metav1.ConditionTrue, meta.ProgressingWithRetryReason, message)
	}

	if fields.ObservedGeneration != nil && (x.verdict.Outcome == Succeeded || x.verdict.Outcome == Stalled) {
		*fields.ObservedGeneration = obj.GetGeneration()
	}

	x.handled()
}

// handled answers the request for a reconcile that the object carries.
func (x *run[O, S]) handled() {
	at, asked := x.obj.GetAnnotations()[meta.ReconcileRequestAnnotation]
	if field := x.obj.StatusFields().LastHandledReconcileAt; asked && field != nil {
		*field = at
	}
}

// patchStatus writes what the run changed in the status, and nothing if it changed nothing.
func (x *run[O, S]) patchStatus(ctx context.Context) error {
	settle(x.obj, conditionsOf(x.before), metav1.NewTime(x.options.Now().UTC().Truncate(time.Second)))

	return x.writeStatus(ctx, x.obj)
}

// writeStatus patches the status that the API server has, x.before, into that of want. Nothing but the status of want counts.
// There is no lock: the runner is the only writer of the fields that it changes, and one object never runs twice at a time.
func (x *run[O, S]) writeStatus(ctx context.Context, want O) error {
	data, err := client.MergeFrom(x.before).Data(want)
	if err != nil {
		return fmt.Errorf("compute status patch of %s %q: %w", x.kind.Name, x.key(), err)
	}

	if data, err = statusOnly(data); err != nil || data == nil {
		return err
	}

	patch := client.RawPatch(types.MergePatchType, data)
	if err := x.options.Client.Status().Patch(ctx, copyOf(want), patch, x.kind.fieldOwner()); err != nil {
		return fmt.Errorf("patch status of %s %q: %w", x.kind.Name, x.key(), err)
	}

	x.before = copyOf(want)

	return nil
}

// statusOnly returns the part of a merge patch that is about the status, or nil if it has none.
func statusOnly(patch []byte) ([]byte, error) {
	var part struct {
		Status json.RawMessage `json:"status,omitempty"`
	}
	if err := json.Unmarshal(patch, &part); err != nil {
		return nil, fmt.Errorf("read status patch: %w", err)
	}

	if part.Status == nil {
		return nil, nil
	}

	return json.Marshal(part)
}

// progressWriter returns a function that writes a progress message while the steps run. It works on what was written before: the steps
// own the object.
func (x *run[O, S]) progressWriter(ctx context.Context) func(message string) {
	if !x.obj.GetDeletionTimestamp().IsZero() {
		return func(string) {}
	}

	return func(message string) {
		if err := x.show(ctx, copyOf(x.before), message); err != nil && ctx.Err() == nil {
			logf.FromContext(ctx).V(1).Info("Progress was not written", "error", err.Error())
		}
	}
}

// save writes the status that the steps have made so far.
func (x *run[O, S]) save(ctx context.Context, message string) error {
	return x.show(ctx, copyOf(x.obj), message)
}

// show writes the status of want with the conditions of a run that goes on. Only one may be written at a time.
func (x *run[O, S]) show(ctx context.Context, want O, message string) error {
	before := conditionsOf(x.before)
	Set(want, meta.ReconcilingCondition, metav1.ConditionTrue, meta.ProgressingReason, message)
	Set(want, meta.ReadyCondition, metav1.ConditionUnknown, meta.ProgressingReason, progressMessage)
	Unset(want, meta.StalledCondition)
	settle(want, before, metav1.NewTime(x.options.Now().UTC().Truncate(time.Second)))

	return x.writeStatus(ctx, want)
}
