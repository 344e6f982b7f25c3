package kustomize

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/apply"
	"github.com/weir-dev/weir/reconcilers/approval"
	"github.com/weir-dev/weir/reconcilers/engine"
)

// planLabel is on the ConfigMaps with plans. Others of the same name are not touched.
const planLabel = kustomizev1.Group + "/plan"

// approve waits until somebody has approved exactly what an apply and a prune are going to change. An apply that has begun
// goes on to its end.
func (r *reconciler) approve(ctx context.Context, obj *kustomizev1.Kustomization, s *scope) error {
	if !s.decision.work || obj.Spec.Plan != kustomizev1.PlanManual {
		return nil
	}

	progress(ctx, obj, s, "Planning")

	options := r.applyOptions(obj, s, "")

	var err error
	if options.Key, err = r.PlanKey.Key(ctx, obj.UID, "spec.plan"); err != nil {
		return r.failed(obj, s, meta.ReconciliationFailedReason, err)
	}

	diff, err := r.Applier.Diff(ctx, s.client, ownerOf(obj), s.set.Objects, obj.Spec.Prune, options)
	if err != nil {
		r.intend(ctx, obj, s, s.set.Objects)

		return r.failed(obj, s, meta.ReconciliationFailedReason, r.blame(ctx, obj, s, err))
	}

	if s.memo.approved == s.inputs && approval.Within(diff.Parts, s.memo.parts) {
		return nil // what is left of it
	}

	s.memo.approved = ""

	if len(diff.Changes) == 0 || obj.Annotations[kustomizev1.ApprovedPlanAnnotation] == diff.Digest {
		s.memo.approved, s.memo.asked, s.memo.parts = s.inputs, "", diff.Parts

		return nil
	}

	name := obj.Name + "-plan"
	if err := r.writePlan(ctx, obj, s, name, diff); err != nil {
		return r.failed(obj, s, meta.ReconciliationFailedReason, fmt.Errorf("write the plan: %w", err))
	}

	r.intend(ctx, obj, s, s.set.Objects)

	if s.memo.asked != diff.Digest {
		s.memo.asked = diff.Digest

		engine.Emit(ctx, engine.Event{
			Type: corev1.EventTypeNormal, Reason: meta.ProgressingReason, Action: actionPlan,
			Message:  fmt.Sprintf("Plan %s waits for approval: %s", diff.Digest, approval.Counts(diff.Changes)),
			Metadata: metadata(s.artifact), Related: s.related(),
		})
	}

	return engine.Await(obj.Spec.Interval.Duration,
		fmt.Sprintf("Waiting for the approval of plan %s in ConfigMap '%s/%s'", diff.Digest, obj.Namespace, name))
}

// planAgain ends a run that has found what was applied and forgotten. It stays, until a plan that names it is approved.
func (r *reconciler) planAgain(ctx context.Context, obj *kustomizev1.Kustomization, s *scope) error {
	obj.Status.Inventory = inventory(references(obj.Status.Inventory), s.unplanned)

	return engine.Await(time.Second, progress(ctx, obj, s, "Planning"))
}

// writePlan writes the plan to its ConfigMap, which goes with the Kustomization.
func (r *reconciler) writePlan(
	ctx context.Context, obj *kustomizev1.Kustomization, s *scope, name string, diff *apply.Difference,
) error {
	return approval.Plan{
		Namespace: obj.Namespace, Name: name, Label: planLabel, Manager: FieldOwner,
		Owner: metav1.OwnerReference{
			APIVersion: kustomizev1.GroupVersion.String(), Kind: kustomizev1.KustomizationKind, Name: obj.Name, UID: obj.UID,
		},
		Digest: diff.Digest, Revision: s.artifact.Revision, Text: s.redact(diff.Text),
	}.Write(ctx, r.home.Own())
}
