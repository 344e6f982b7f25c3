package resourceset

import (
	"context"
	"fmt"
	"slices"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/access"
)

// renewable tells whether the object is a Job that is created anew when it has failed.
func renewable(u *unstructured.Unstructured) bool {
	return isJob(u) && meta.Enabled(u.GetAnnotations(), fluxv1.RecreateOnFailureAnnotation)
}

// renew deletes the failed Jobs of the steps up to the given one, once in an attempt, and tells whether there were any.
func (r *reconciler) renew(ctx context.Context, s *scope, last int) (renewed bool, err error) {
	for i, objects := range s.set.steps[:last+1] {
		if s.memo.attempt.renewed[i] {
			continue
		}
		for _, u := range slices.Collect(filter(objects, renewable)) {
			gone, err := r.deleteFailed(ctx, s, access.Of(u))
			if err != nil {
				return renewed, fmt.Errorf("recreate %s: %w", access.Of(u).ID, err)
			}
			renewed = renewed || gone
		}
		s.memo.attempt.renewed[i] = true
	}
	return renewed, nil
}

// filter yields the objects that are as wanted.
func filter(objects []*unstructured.Unstructured, wanted func(*unstructured.Unstructured) bool) func(yield func(*unstructured.Unstructured) bool) {
	return func(yield func(*unstructured.Unstructured) bool) {
		for _, u := range objects {
			if wanted(u) && !yield(u) {
				return
			}
		}
	}
}

// deleteFailed deletes a Job of the ResourceSet's own if it has failed, and tells whether it did.
func (r *reconciler) deleteFailed(ctx context.Context, s *scope, ref access.Ref) (bool, error) {
	live, err := s.client.Get(ctx, ref)
	if apierrors.IsNotFound(err) || apimeta.IsNoMatchError(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	labels := live.GetLabels()
	for key, value := range ownerOf(s.obj).Labels() {
		if labels[key] != value {
			return false, nil
		}
	}
	if meta.Disabled(live.GetAnnotations(), fluxv1.ReconcileAnnotation) {
		return false, nil
	}
	result, err := status.Compute(live)
	if err != nil || result.Status != status.FailedStatus {
		return false, err
	}
	err = s.client.Delete(ctx, ref, access.DeleteOptions{
		UID: live.GetUID(), ResourceVersion: live.GetResourceVersion(), Propagation: metav1.DeletePropagationBackground,
	})
	if err != nil && !apierrors.IsNotFound(err) {
		return false, err
	}
	return true, nil
}
