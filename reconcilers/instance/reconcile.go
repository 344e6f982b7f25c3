package instance

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/apply"
	"github.com/weir-dev/weir/reconcilers/distribution"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/health"
	"github.com/weir-dev/weir/reconcilers/release"
)

const (
	// blink is how long a run waits for health itself, which saves a status that is outdated at once.
	blink = 300 * time.Millisecond

	// recheck is the time between two looks at objects whose recovery wakes nobody: those that failed, and those that cannot be
	// watched. The looks are at the hub's memory.
	recheck = 10 * time.Second
)

// reconciler holds what the steps share beyond one run.
type reconciler struct {
	Deps
	memo         memo
	releases     releases
	transactions transactions
	checks       checks
	disputes     disputes
}

// memo keeps the last build: what wakes an instance is mostly not its spec.
type memo struct {
	mu   sync.Mutex
	spec string // digest
	set  *distribution.Set
}

func (r *reconciler) open(ctx context.Context, obj *fluxv1.FluxInstance, s *scope) error {
	s.started = r.Now()
	s.previous = references(obj.Status.Inventory)
	return r.locate(ctx, obj, s)
}

// build makes the objects. What it cannot make now, it cannot make again before the spec changes.
func (r *reconciler) build(_ context.Context, obj *fluxv1.FluxInstance, s *scope) error {
	digest, err := specDigest(obj)
	if err != nil {
		return err
	}
	set, err := r.built(obj, digest, s.release)
	if err == nil {
		err = distribution.CheckUpgrade(obj.Status.LastAppliedRevision, set.Revision())
	}
	if err != nil {
		return r.buildFailed(obj, s, digest, err)
	}
	s.set = set
	obj.Status.LastAttemptedRevision = set.Revision()
	return nil
}

// buildFailed ends a run whose spec, or artifact, makes no objects. Nobody tells of a new artifact: it is looked for.
func (r *reconciler) buildFailed(obj *fluxv1.FluxInstance, s *scope, digest string, err error) error {
	obj.Status.History.Record(digest, meta.BuildFailedReason, r.Now(), r.Now().Sub(s.started), nil)
	v := &engine.Verdict{Outcome: engine.Stalled, Reason: meta.BuildFailedReason, Err: fmt.Errorf("build failed: %w", err)}
	if release.Remote(obj) {
		v.After = obj.GetArtifactInterval()
	}
	return v
}

func (r *reconciler) built(obj *fluxv1.FluxInstance, digest string, fetched *release.Release) (*distribution.Set, error) {
	r.memo.mu.Lock()
	defer r.memo.mu.Unlock()
	key, builder := obj.Namespace+"/"+digest, r.Builder
	if fetched != nil {
		key, builder = key+"\n"+fetched.Key(), fetched
	}
	if r.memo.spec == key {
		return r.memo.set, nil
	}
	set, err := builder.Build(obj, distribution.Options{Image: r.Image})
	if err != nil {
		return nil, err
	}
	r.memo.spec, r.memo.set = key, set
	return set, nil
}

// specDigest identifies the spec.
func specDigest(obj *fluxv1.FluxInstance) (string, error) {
	content, err := json.Marshal(obj.Spec)
	if err != nil {
		return "", fmt.Errorf("encode spec: %w", err)
	}
	sum := sha256.Sum256(content)
	return "sha256:" + hex.EncodeToString(sum[:]), nil
}

// wanted are the references to the objects of the set.
func wanted(set *distribution.Set) []access.Ref {
	refs := make([]access.Ref, 0, len(set.Objects))
	for _, o := range set.Objects {
		refs = append(refs, access.Of(o))
	}
	return refs
}

// retire takes the Deployments of the other topology out before those of this one come.
func (r *reconciler) retire(ctx context.Context, obj *fluxv1.FluxInstance, s *scope) error {
	old := superseded(s.previous, wanted(s.set))
	if len(old) == 0 {
		return nil
	}
	if err := s.stopAll(ctx, obj, s.previous, old); err != nil {
		return r.failed(obj, s, err)
	}
	return nil
}

// apply brings the objects into the cluster. The inventory keeps what was there before, until it is pruned.
func (r *reconciler) apply(ctx context.Context, obj *fluxv1.FluxInstance, s *scope) error {
	engine.Progress(ctx, "Applying revision "+s.set.Revision())
	result, err := s.Applier.Apply(ctx, s.Client, Owner(obj), s.set.Objects, r.applyOptions(obj, s))
	if result != nil {
		s.changes = result.Changes
		s.fights = r.disputes.news(obj.UID, result.Fights)
		obj.Status.Inventory = inventory(references(result.Changes.Inventory()), s.previous)
	}
	current := r.transactions.record(obj, s.set.Revision(), s.started, altered(s.changes))
	s.started = current.started
	if err != nil {
		return r.failed(obj, s, err)
	}
	return nil
}

func (r *reconciler) applyOptions(obj *fluxv1.FluxInstance, s *scope) apply.Options {
	return apply.Options{
		Digest:    s.set.Digest,
		Inventory: s.previous,
		Full:      r.checks.due(obj, r.Now()),
		// Those of flux bootstrap, flux install and the Helm charts: their installations are adopted in place.
		Takeovers: append([]apply.Takeover{
			{Manager: "flux"}, {Manager: "helm"}, {Manager: "kustomize-controller"},
		}, r.Takeovers...),
		DropLabels:      []string{"kustomize.toolkit.fluxcd.io/name", "kustomize.toolkit.fluxcd.io/namespace"},
		DropAnnotations: []string{"meta.helm.sh/release-name", "meta.helm.sh/release-namespace"},
	}
}

// altered leaves out what was found as it should be.
func altered(changes apply.Changes) apply.Changes {
	return slices.DeleteFunc(slices.Clone(changes), func(c apply.Change) bool {
		return c.Action == apply.Unchanged || c.Action == apply.Skipped
	})
}

// wait sees to it that what was applied is healthy. It gives the worker back and is woken by the hub.
func (r *reconciler) wait(ctx context.Context, obj *fluxv1.FluxInstance, s *scope) error {
	owner := Owner(obj).ID
	if !obj.GetWait() {
		s.Hub.Await(owner, nil)
		return nil
	}
	goal := health.Goal{IDs: s.changes.Applied()}
	soon, cancel := context.WithTimeout(ctx, blink)
	report, settled := s.Hub.Settle(soon, owner, goal)
	cancel()
	if settled && report.Healthy() {
		s.Hub.Await(owner, nil)
		return nil
	}
	if len(report.Blind) > 0 {
		if err := s.Hub.Poll(ctx, s.Client, owner); err != nil {
			return r.failed(obj, s, err)
		}
		report = s.Hub.Report(owner, goal.IDs)
	}
	return r.await(obj, s, goal, report)
}

// await decides how to go on with objects that are not healthy: wait for them while there is time and hope.
func (r *reconciler) await(obj *fluxv1.FluxInstance, s *scope, goal health.Goal, report health.Report) error {
	verdict := judge(report, obj.GetTimeout(), r.Now().Sub(s.started))
	owner := Owner(obj).ID
	if verdict.healthy {
		s.Hub.Await(owner, nil)
		return nil
	}
	if verdict.arm {
		s.Hub.Await(owner, &goal)
	}
	if verdict.failure == "" {
		return engine.Await(verdict.after, verdict.message)
	}
	err := errors.New("reconciliation failed: " + verdict.failure)
	if c := engine.Condition(obj, meta.ReadyCondition); c == nil || c.Message != err.Error() {
		s.failure = err.Error()
		r.remember(obj, s)
	}
	engine.Set(obj, meta.ReconcilingCondition, metav1.ConditionTrue, meta.ProgressingWithRetryReason, err.Error())
	return engine.Wait(meta.ReconciliationFailedReason, verdict.after, err)
}

// failed records a failure that another attempt may not meet.
func (r *reconciler) failed(obj *fluxv1.FluxInstance, s *scope, err error) error {
	var verdict *engine.Verdict
	if errors.As(err, &verdict) && verdict.Outcome != engine.Failed {
		return err
	}
	r.remember(obj, s)
	return engine.Fail(meta.ReconciliationFailedReason, fmt.Errorf("reconciliation failed: %w", err))
}

// remember records the failure of a revision in the history.
func (r *reconciler) remember(obj *fluxv1.FluxInstance, s *scope) {
	obj.Status.History.Record(s.set.Digest, meta.ReconciliationFailedReason, r.Now(), r.Now().Sub(s.started), historyMetadata(s.set))
}

func historyMetadata(set *distribution.Set) map[string]string {
	return map[string]string{"flux": set.Version}
}

// complete writes down what runs now.
func (r *reconciler) complete(_ context.Context, obj *fluxv1.FluxInstance, s *scope) error {
	now := r.Now()
	s.finished = &outcome{took: now.Sub(s.started)}
	if t, ok := r.transactions.end(obj.UID); ok {
		s.finished.log = append(t.changes, altered(s.pruned)...).Log()
	}
	obj.Status.Components = s.set.Images
	obj.Status.LastAppliedRevision = s.set.Revision()
	obj.Status.LastArtifactRevision = "" // that of embedded manifests
	if s.release != nil && s.release.Artifact != nil {
		obj.Status.LastArtifactRevision = s.release.Artifact.Digest
	}
	if at := obj.Annotations[meta.ForceRequestAnnotation]; at != "" && at == obj.Annotations[meta.ReconcileRequestAnnotation] {
		obj.Status.LastHandledForceAt = at
	}
	obj.Status.History.Record(s.set.Digest, meta.ReconciliationSucceededReason, now, s.finished.took, historyMetadata(s.set))
	return nil
}
