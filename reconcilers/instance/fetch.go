package instance

import (
	"context"
	"errors"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/release"
)

// interval is how often an instance looks whether all is as it should be: in the cluster, and in the registries that it uses.
func interval(obj *fluxv1.FluxInstance) time.Duration {
	if release.Remote(obj) {
		return min(obj.GetInterval(), obj.GetArtifactInterval())
	}
	return obj.GetInterval()
}

// fetch brings what the instance wants from registries, and verifies it again at each of its intervals. A registry that does
// not answer changes nothing: what was verified last is kept.
func (r *reconciler) fetch(ctx context.Context, obj *fluxv1.FluxInstance, s *scope) error {
	if !release.Remote(obj) {
		obj.Status.Artifact = nil
		engine.Unset(obj, fluxv1.DistributionVerifiedCondition)
		engine.Unset(obj, meta.FetchFailedCondition)
		return nil
	}
	digest, err := specDigest(obj)
	if err != nil {
		return err
	}
	if r.Releases == nil {
		s.unavailable = r.buildFailed(obj, s, digest, errors.New("this operator has no access to registries"))
		return nil
	}
	request := obj.Annotations[meta.ReconcileRequestAnnotation] + "\n" + s.credentials
	kept, fresh := s.memory.fetched.get(digest, request, r.Now(), interval(obj))
	if fresh {
		s.release = kept
		return nil
	}
	engine.Progress(ctx, "Fetching the distribution")
	rel, err := r.Releases.Fetch(ctx, obj)
	if err != nil {
		s.unavailable = r.notFetched(obj, s, digest, kept, err)
		return nil
	}
	r.accept(obj, rel)
	s.memory.fetched = fetched{spec: digest, request: request, at: r.Now(), release: rel}
	s.release = rel
	return nil
}

// accept writes down what was verified.
func (r *reconciler) accept(obj *fluxv1.FluxInstance, fetched *release.Release) {
	engine.Unset(obj, meta.FetchFailedCondition)
	obj.Status.Artifact = fetched.Artifact
	if fetched.Signers == nil {
		engine.Unset(obj, fluxv1.DistributionVerifiedCondition)
		return
	}
	engine.Set(obj, fluxv1.DistributionVerifiedCondition, metav1.ConditionTrue, meta.SucceededReason, fetched.Verified())
}

// notFetched decides what a failure means, and returns nil if there is something to go on with. What is refused is never applied.
func (r *reconciler) notFetched(obj *fluxv1.FluxInstance, s *scope, digest string, kept *release.Release, err error) error {
	if refused, ok := errors.AsType[*release.RefusedError](err); ok {
		engine.Unset(obj, meta.FetchFailedCondition)
		s.memory.fetched = fetched{} // it may be what is refused now, and an outage must not bring that back
		message := "verification failed: " + refused.Error()
		engine.Set(obj, fluxv1.DistributionVerifiedCondition, metav1.ConditionFalse, fluxv1.VerificationErrorReason, message)
		return engine.Fail(fluxv1.VerificationErrorReason, errors.New(message))
	}
	if invalid, ok := errors.AsType[*release.InvalidError](err); ok {
		engine.Unset(obj, meta.FetchFailedCondition)
		return r.buildFailed(obj, s, digest, invalid)
	}
	err = fmt.Errorf("fetch failed: %w", err)
	if c := engine.Condition(obj, meta.FetchFailedCondition); c == nil || c.Message != err.Error() {
		s.outage = err.Error()
	}
	engine.Set(obj, meta.FetchFailedCondition, metav1.ConditionTrue, meta.ArtifactFailedReason, err.Error())
	if s.release = kept; kept != nil {
		return nil
	}
	s.away = true
	return engine.Fail(meta.ArtifactFailedReason, err)
}
