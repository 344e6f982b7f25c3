package kustomize

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/apply"
	"github.com/weir-dev/weir/reconcilers/engine"
)

const (
	// planLabel is on the ConfigMaps with plans. Others of the same name are not touched.
	planLabel = kustomizev1.Group + "/plan"

	// maxPlan bounds the text of a plan, in bytes: a ConfigMap holds a mebibyte.
	maxPlan = 900 << 10
)

// approve waits until somebody has approved exactly what an apply and a prune are going to change. An apply that has begun
// goes on to its end.
func (r *reconciler) approve(ctx context.Context, obj *kustomizev1.Kustomization, s *scope) error {
	if !s.decision.work || obj.Spec.Plan != kustomizev1.PlanManual {
		return nil
	}

	progress(ctx, obj, s, "Planning")

	options := r.applyOptions(obj, s, "")

	var err error
	if options.Key, err = r.planKey(ctx, obj); err != nil {
		return r.failed(obj, s, meta.ReconciliationFailedReason, err)
	}

	diff, err := r.Applier.Diff(ctx, s.client, ownerOf(obj), s.set.Objects, obj.Spec.Prune, options)
	if err != nil {
		r.intend(ctx, obj, s, s.set.Objects)

		return r.failed(obj, s, meta.ReconciliationFailedReason, r.blame(ctx, obj, s, err))
	}

	if s.memo.approved == s.inputs && within(diff.Parts, s.memo.parts) {
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
			Message:  fmt.Sprintf("Plan %s waits for approval: %s", diff.Digest, counts(diff.Changes)),
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

// planKey returns the key of the digests of plans for the object. Those of others have other keys, so that what is equal in two
// plans does not show.
func (r *reconciler) planKey(ctx context.Context, obj *kustomizev1.Kustomization) ([]byte, error) {
	if r.PlanKey == nil {
		return nil, errors.New("spec.plan is not possible: there is no key for the digests of plans")
	}

	secret, err := r.PlanKey(ctx)
	if err != nil {
		return nil, fmt.Errorf("get the key for the digests of plans: %w", err)
	}

	if len(secret) == 0 {
		return nil, errors.New("get the key for the digests of plans: it is empty")
	}

	key := hmac.New(sha256.New, secret)
	_, _ = key.Write([]byte(obj.UID))

	return key.Sum(nil), nil
}

// within tells whether all that is left to do was approved. An object that somebody has changed since is another thing to do.
func within(left, approved []string) bool {
	return !slices.ContainsFunc(left, func(part string) bool { return !slices.Contains(approved, part) })
}

// counts says how many objects a plan is about.
func counts(changes apply.Changes) string {
	n := map[apply.Action]int{}
	for _, c := range changes {
		n[c.Action]++
	}

	return fmt.Sprintf("%d created, %d configured, %d deleted", n[apply.Created], n[apply.Configured], n[apply.Deleted])
}

// writePlan writes the plan to its ConfigMap, which goes with the Kustomization.
func (r *reconciler) writePlan(
	ctx context.Context, obj *kustomizev1.Kustomization, s *scope, name string, diff *apply.Difference,
) error {
	client := r.home.Own()
	ref := access.Ref{ID: access.ID{Kind: "ConfigMap", Namespace: obj.Namespace, Name: name}, Version: "v1"}
	data := map[string]string{
		"digest": diff.Digest, "revision": s.artifact.Revision, "plan": cutPlan(s.redact(diff.Text)),
	}

	live, err := client.Get(ctx, ref)

	switch {
	case err == nil && live.GetLabels()[planLabel] != obj.Name:
		return fmt.Errorf("%s exists, and is not a plan", ref.ID)
	case err == nil && holds(live.Object["data"], data):
		return nil
	case err != nil && !apierrors.IsNotFound(err):
		return err
	}

	body, err := json.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap",
		"metadata": map[string]any{
			"name": name, "namespace": obj.Namespace, "labels": map[string]string{planLabel: obj.Name},
			"ownerReferences": []any{map[string]any{
				"apiVersion": kustomizev1.GroupVersion.String(), "kind": kustomizev1.KustomizationKind,
				"name": obj.Name, "uid": obj.UID,
			}},
		},
		"data": data,
	})
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}

	_, err = client.Apply(ctx, ref, body, access.ApplyOptions{Manager: FieldOwner, Force: true})

	return err
}

// holds tells whether the data of a ConfigMap are these.
func holds(live any, want map[string]string) bool {
	have, _ := live.(map[string]any)
	for key, value := range want {
		if have[key] != value {
			return false
		}
	}

	return len(have) == len(want)
}

// cutPlan cuts a plan that is too long at the end of a line, and says so.
func cutPlan(text string) string {
	if len(text) <= maxPlan {
		return text
	}

	cut := strings.LastIndexByte(text[:maxPlan], '\n') + 1

	return text[:cut] + fmt.Sprintf("... and %d lines more\n", strings.Count(text[cut:], "\n"))
}
