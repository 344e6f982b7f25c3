package kustomize

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/health"
)

// lookAgain is the time between two looks at objects that cannot be watched.
const lookAgain = 5 * time.Second

// reviewAfter is the time between two looks at the rights to objects that others have applied, give or take a fifth.
const reviewAfter = 4 * time.Minute

// wait sees to it that what counts is healthy. It gives the worker back and is woken by the hub.
func (r *reconciler) wait(ctx context.Context, obj *kustomizev1.Kustomization, s *scope) error {
	owner := ownerOf(obj).ID

	if s.decision.work {
		if err := r.declare(ctx, obj, s); err != nil {
			s.memo.inputs = "" // what counts is not known: the next run has to declare it

			return r.unhealthy(obj, s, fmt.Errorf("health check failed: %w", err))
		}
	}

	if err := r.review(ctx, obj, s); err != nil {
		return r.unhealthy(obj, s, fmt.Errorf("health check failed: %w", err))
	}

	if len(s.memo.goal) == 0 {
		r.Hub.Await(owner, nil)
		engine.Unset(obj, meta.HealthyCondition)

		return nil
	}

	if s.attempt.waits.IsZero() {
		s.attempt.waits = r.Now()
	}

	message := progress(ctx, obj, s, "Running health checks")
	goal := health.Goal{IDs: s.memo.goal, Patient: r.NoFailFast}

	report, err := r.look(ctx, s, owner, goal)
	if err != nil {
		return r.unhealthy(obj, s, fmt.Errorf("health check failed: %w", err))
	}

	verdict := judge(report, r.Now().Sub(s.attempt.waits), obj.GetTimeout(), !r.NoFailFast)
	if verdict.passed {
		r.Hub.Await(owner, nil)
		r.healthy(obj, s)

		return nil
	}

	if verdict.failure != "" {
		r.Hub.Await(owner, nil)

		return r.unhealthy(obj, s, errors.New(verdict.failure))
	}

	r.Hub.Await(owner, &goal)
	engine.Set(obj, meta.HealthyCondition, metav1.ConditionUnknown, meta.ProgressingReason, message)

	return engine.Await(r.atTheLatest(obj, verdict.after), message) // what is held is not held until it is healthy
}

// look asks the hub. After an apply it gives what was applied a blink to become healthy, and at any time it gives the hub one
// to learn what it does not know, as after a watch that broke: ignorance is no reason to take back what is known.
func (r *reconciler) look(ctx context.Context, s *scope, owner access.ID, goal health.Goal) (health.Report, error) {
	report := r.Hub.Report(owner, goal.IDs)
	if len(report.Unknown) > 0 || s.decision.work && !report.Healthy() {
		blink, cancel := context.WithTimeout(ctx, r.Blink)
		report, _ = r.Hub.Settle(blink, owner, goal)

		cancel()
	}

	if len(report.Blind) == 0 {
		return report, nil
	}

	if err := r.Hub.Poll(ctx, s.client, owner); err != nil {
		return report, err
	}

	return r.Hub.Report(owner, goal.IDs), nil
}

// judgement is what follows from a look at health.
type judgement struct {
	passed bool
	// failure says what went wrong, if there is no point in waiting on.
	failure string
	// after is when to look again at the latest.
	after time.Duration
}

// judge decides whether to go on, wait on or give up. It gives up when an object has failed; without failFast only when
// there is no other one to wait for.
func judge(report health.Report, elapsed, timeout time.Duration, failFast bool) judgement {
	pending := len(report.InProgress) + len(report.Unknown)

	switch {
	case report.Healthy():
		return judgement{passed: true}
	case len(report.Failed) > 0 && (failFast || pending == 0):
		return judgement{failure: fmt.Sprintf("health check failed after %s: failed early due to stalled resources: %s",
			short(elapsed), list(report.Failed))}
	case elapsed >= timeout:
		return judgement{failure: fmt.Sprintf("health check failed after %s: timeout waiting for: %s",
			short(elapsed), list(report.InProgress, report.Unknown, report.Failed))}
	}

	after := timeout - elapsed
	if len(report.Blind) > 0 {
		after = min(after, lookAgain)
	}

	return judgement{after: after}
}

// list writes the conditions in the way that clients know.
func list(lists ...[]health.Condition) string {
	all := slices.Concat(lists...)
	slices.SortStableFunc(all, func(a, b health.Condition) int { return a.Compare(b.ID) })

	parts := make([]string, len(all))
	for i, c := range all {
		parts[i] = fmt.Sprintf("%s status: '%s'", c.ID, c.Status)
	}

	return "[" + strings.Join(parts, ", ") + "]"
}

// short leaves out the digits that nobody reads.
func short(d time.Duration) time.Duration {
	if d >= time.Second {
		return d.Round(100 * time.Millisecond)
	}

	return d.Round(time.Millisecond)
}

// healthy notes that the check was passed. A check that only confirms what is known changes nothing.
func (r *reconciler) healthy(obj *kustomizev1.Kustomization, s *scope) {
	known := engine.IsTrue(obj, meta.HealthyCondition) && engine.IsTrue(obj, meta.ReadyCondition)
	revised := s.attempt.changed && obj.Status.LastAppliedRevision != s.artifact.Revision

	if known && !revised {
		return
	}

	s.passed = max(r.Now().Sub(s.attempt.waits), 1)
	engine.Set(obj, meta.HealthyCondition, metav1.ConditionTrue, meta.SucceededReason, passedMessage(s))
}

func passedMessage(s *scope) string { return fmt.Sprintf("Health check passed in %s", short(s.passed)) }

// unhealthy ends the attempt. A failure that is known keeps its words, of which only the duration would differ.
func (r *reconciler) unhealthy(obj *kustomizev1.Kustomization, s *scope, err error) error {
	if c := engine.Condition(obj, meta.HealthyCondition); c != nil && c.Status == metav1.ConditionFalse &&
		sameFailure(c.Message, err.Error()) {
		err = errors.New(c.Message)
	}

	verdict := r.failed(obj, s, meta.HealthCheckFailedReason, err)
	engine.Set(obj, meta.HealthyCondition, metav1.ConditionFalse, meta.HealthCheckFailedReason, verdict.Error())

	return verdict
}

// sameFailure tells whether two messages of failed health checks differ in nothing but how long it took.
func sameFailure(a, b string) bool {
	_, a, okA := strings.Cut(a, ": ")
	_, b, okB := strings.Cut(b, ": ")

	return okA && okB && a == b
}

// declare tells the hub what to look at, and keeps whose health counts.
func (r *reconciler) declare(ctx context.Context, obj *kustomizev1.Kustomization, s *scope) error {
	owner := ownerOf(obj).ID
	checks := health.Checks{Vanishing: vanishing(s.set.Objects), Rules: s.rules}
	applied := s.applied.Applied()

	if obj.Spec.Wait {
		s.memo.goal = without(applied, owner)
	} else {
		named, err := r.named(ctx, obj, s)
		if err != nil {
			return err
		}

		s.memo.goal = without(named, owner)
		checks.Named = without(s.memo.goal, applied...)
	}

	r.Hub.Check(owner, checks)

	s.memo.foreign, s.memo.review = nil, time.Time{}
	if s.client.Identity() != "" && len(checks.Named) > 0 {
		s.memo.foreign, s.memo.review = checks.Named, r.Now().Add(spread(reviewAfter, string(obj.UID)))
	}

	return nil
}

// review looks from time to time whether the service account may still see the objects that others have applied: the hub, which
// sees them with the rights of the process, would tell of their health for ever.
func (r *reconciler) review(ctx context.Context, obj *kustomizev1.Kustomization, s *scope) error {
	if len(s.memo.foreign) == 0 || r.Now().Before(s.memo.review) {
		return nil
	}

	s.memo.review = r.Now().Add(spread(reviewAfter, string(obj.UID)))

	for _, id := range s.memo.foreign {
		_, err := s.client.GetMeta(ctx, access.Ref{ID: id})
		if !apierrors.IsForbidden(err) && !apierrors.IsUnauthorized(err) {
			continue // what cannot be found out now is looked at next time
		}

		r.Hub.Check(ownerOf(obj).ID, health.Checks{})

		s.memo.inputs, s.memo.goal, s.memo.foreign, s.memo.review = "", nil, nil, time.Time{}

		return fmt.Errorf("can't determine status for %s: %w", id, err)
	}

	return nil
}

// without returns the identities but for those given.
func without(ids []access.ID, out ...access.ID) []access.ID {
	drop := make(map[access.ID]struct{}, len(out))
	for _, id := range out {
		drop[id] = struct{}{}
	}

	var kept []access.ID

	for _, id := range ids {
		if _, ok := drop[id]; !ok {
			kept = append(kept, id)
		}
	}

	return kept
}

// vanishing returns the Jobs that are deleted when they are done.
func vanishing(objects []*unstructured.Unstructured) []access.ID {
	var ids []access.ID

	for _, u := range objects {
		if u.GetKind() != "Job" || u.GroupVersionKind().Group != "batch" {
			continue
		}

		if _, ok, _ := unstructured.NestedFieldNoCopy(u.Object, "spec", "ttlSecondsAfterFinished"); ok {
			ids = append(ids, access.Of(u).ID)
		}
	}

	return ids
}

// named returns the objects of the health checks.
func (r *reconciler) named(ctx context.Context, obj *kustomizev1.Kustomization, s *scope) ([]access.ID, error) {
	ids := make([]access.ID, 0, len(obj.Spec.HealthChecks))

	for _, ref := range obj.Spec.HealthChecks {
		id, err := r.identify(ctx, obj, s, ref)
		if err != nil {
			return nil, fmt.Errorf("can't determine status for %s: %w", id, err)
		}

		ids = append(ids, id)
	}

	return ids, nil
}

// identify returns which object a health check is about. The hub sees it with the rights of the process, so that a
// service account that is impersonated has to be allowed to see it itself.
func (r *reconciler) identify(
	ctx context.Context, obj *kustomizev1.Kustomization, s *scope, ref meta.NamespacedObjectKindReference,
) (access.ID, error) {
	gv := schema.GroupVersion{Group: "apps", Version: "v1"}

	if ref.APIVersion != "" {
		var err error
		if gv, err = schema.ParseGroupVersion(ref.APIVersion); err != nil {
			return access.ID{Kind: ref.Kind, Namespace: ref.Namespace, Name: ref.Name}, err
		}
	}

	id := access.ID{Group: gv.Group, Kind: ref.Kind, Namespace: ref.Namespace, Name: ref.Name}

	mapping, err := s.client.Mapping(ctx, id.GroupKind(), "")
	if apimeta.IsNoMatchError(err) { // Its definition may be on its way.
		if s.client.Identity() != "" {
			s.memo.inputs = "" // Whether the account may see such objects the next run asks again.
		}

		return id, nil
	}

	if err != nil {
		return id, err
	}

	switch {
	case !mapping.Namespaced:
		id.Namespace = ""
	case id.Namespace == "":
		id.Namespace = obj.Namespace
	}

	if s.client.Identity() == "" {
		return id, nil
	}

	_, err = s.client.GetMeta(ctx, access.Ref{ID: id})
	if apierrors.IsNotFound(err) {
		err = nil
	}

	return id, err
}
