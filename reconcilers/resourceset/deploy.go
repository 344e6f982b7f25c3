package resourceset

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/apply"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/health"
)

// stage is how the objects of one step are applied.
type stage struct {
	name    string
	timeout time.Duration
	waits   bool
}

// stages returns those of the spec; without steps, there is one without a name.
func stages(obj *fluxv1.ResourceSet) []stage {
	if len(obj.Spec.Steps) == 0 {
		return []stage{{timeout: obj.GetTimeout(), waits: obj.Spec.Wait}}
	}
	out := make([]stage, len(obj.Spec.Steps))
	for i := range obj.Spec.Steps {
		step := &obj.Spec.Steps[i]
		out[i] = stage{name: step.Name, timeout: obj.GetStepTimeout(step), waits: obj.Spec.Wait || i < len(out)-1}
	}
	return out
}

// deploy applies one step after the other, each when those before are healthy. A set that has come further once goes on there.
func (r *reconciler) deploy(ctx context.Context, obj *fluxv1.ResourceSet, s *scope) error {
	all := stages(obj)
	first := len(all) - 1
	if s.decision.work {
		first = 0
		if s.memo.through.digest == s.set.digest {
			first = s.memo.through.step
		}
	}
	for i := first; i < len(all); i++ {
		if err := r.applyThrough(ctx, obj, s, all, i); err != nil {
			return err
		}
		from := i
		if i == first {
			from = 0
		}
		for j := from; j <= i; j++ {
			if err := r.await(ctx, obj, s, all, j); err != nil {
				return err
			}
		}
	}
	r.Hub.Await(ownerOf(obj).ID, nil)
	return nil
}

// applyThrough brings the objects of all steps up to the given one into the cluster: those of the steps before have been applied by now,
// and cost nothing. The inventory holds them from now on, and what was in it before until it is pruned.
func (r *reconciler) applyThrough(ctx context.Context, obj *fluxv1.ResourceSet, s *scope, all []stage, last int) error {
	if !s.decision.work {
		return nil
	}
	owner := ownerOf(obj)
	message := applying(obj, all, last)
	engine.Progress(ctx, message)
	renewed, err := r.renew(ctx, s, last)
	if err != nil {
		return r.failed(obj, s, inStep(all[last], "apply failed: ", err))
	}
	digest := fmt.Sprintf("%s %d %t %s", s.set.digest, last, meta.Enabled(obj.Annotations, fluxv1.ForceAnnotation), s.client.Identity())
	result, err := r.Applier.Apply(ctx, s.client, owner, slices.Concat(s.set.steps[:last+1]...), r.applyOptions(obj, s, digest, renewed))
	s.memo.attempt.changed = s.memo.attempt.changed || result.Changes.Changed()
	obj.Status.Inventory = inventory(references(result.Changes.Inventory()), s.previous)
	if waiting, ok := errors.AsType[*apply.Waiting](err); ok {
		r.arm(owner.ID, &waiting.Goal)
		return engine.Await(waiting.After, message) // what was done is told when all of it is
	}
	if err != nil {
		s.memo.adopted = false
		if log := result.Changes.Log(); log != "" {
			err = fmt.Errorf("%w\n%s", err, log)
		}
		return r.failed(obj, s, inStep(all[last], "apply failed: ", err))
	}
	s.note(result.Changes)
	r.reportFights(ctx, obj, s, result.Fights)
	s.memo.through, s.memo.applied = through{s.set.digest, last}, digest
	s.memo.current = references(result.Changes.Inventory())
	s.memo.goals = s.goals(owner.ID, len(all), result.Changes)
	r.Hub.Check(owner.ID, health.Checks{Vanishing: vanishing(slices.Concat(s.set.steps...))})
	if s.decision.full || s.memo.checked.IsZero() {
		s.memo.checked = r.Now()
	}
	return nil
}

func (r *reconciler) applyOptions(obj *fluxv1.ResourceSet, s *scope, digest string, renewed bool) apply.Options {
	return apply.Options{
		Digest:    digest,
		Inventory: s.previous,
		Full:      s.decision.full || renewed,
		Force:     meta.Enabled(obj.Annotations, fluxv1.ForceAnnotation),
		Stages:    []schema.GroupKind{{Group: rbacv1.GroupName, Kind: "Role"}, {Group: rbacv1.GroupName, Kind: "RoleBinding"}},
		// Those of flux bootstrap, flux install and the Helm charts: what they have installed is adopted in place.
		Takeovers:       append([]apply.Takeover{{Manager: "flux"}, {Manager: "helm"}, {Manager: "kustomize-controller"}}, r.Takeovers...),
		DropLabels:      []string{"kustomize.toolkit.fluxcd.io/name", "kustomize.toolkit.fluxcd.io/namespace"},
		DropAnnotations: []string{"meta.helm.sh/release-name", "meta.helm.sh/release-namespace"},
		Timeout:         obj.GetTimeout(),
		Blink:           r.Blink,
		Concurrency:     r.Concurrency,
	}
}

// arm has the hub wake the ResourceSet when the goal is reached, or leaves that to time if the hub cannot see it.
func (r *reconciler) arm(owner access.ID, goal *health.Goal) {
	if len(goal.IDs) == 0 {
		goal = nil
	}
	r.Hub.Await(owner, goal)
}

// applying says what is being done.
func applying(obj *fluxv1.ResourceSet, all []stage, i int) string {
	if all[i].name == "" {
		return fmt.Sprintf("Applying resources with a timeout of %s", obj.GetTimeout())
	}
	return fmt.Sprintf("Applying step %d/%d %q", i+1, len(all), all[i].name)
}

// inStep says in which step something went wrong.
func inStep(st stage, what string, err error) error {
	if st.name == "" {
		return err
	}
	return fmt.Errorf("step %q %s%w", st.name, what, err)
}

// note keeps what was done to the objects of each step, for the events.
func (s *scope) note(changes apply.Changes) {
	for _, c := range changes {
		i := s.set.of[c.ID]
		if c.Action == apply.Unchanged || c.Action == apply.Skipped {
			continue
		}
		at := slices.IndexFunc(s.applied, func(st step) bool { return st.index == i })
		if at < 0 {
			at, s.applied = len(s.applied), append(s.applied, step{index: i})
		}
		s.applied[at].changes = append(s.applied[at].changes, c)
	}
}

// goals returns the objects of each step whose health counts: all but those that are left alone, and the ResourceSet itself.
func (s *scope) goals(owner access.ID, steps int, changes apply.Changes) [][]access.ID {
	out := make([][]access.ID, steps)
	for _, id := range changes.Applied() {
		if id != owner {
			out[s.set.of[id]] = append(out[s.set.of[id]], id)
		}
	}
	return out
}

// vanishing returns the Jobs that are deleted when they are done.
func vanishing(objects []*unstructured.Unstructured) []access.ID {
	var ids []access.ID
	for _, u := range objects {
		if !isJob(u) {
			continue
		}
		if _, ok, _ := unstructured.NestedFieldNoCopy(u.Object, "spec", "ttlSecondsAfterFinished"); ok {
			ids = append(ids, access.Of(u).ID)
		}
	}
	return ids
}

func isJob(u *unstructured.Unstructured) bool {
	return u.GetKind() == "Job" && u.GroupVersionKind().Group == "batch"
}

// failed ends the attempt with an error that another one may not meet. What was rendered and failed is recorded.
func (r *reconciler) failed(obj *fluxv1.ResourceSet, s *scope, err error) error {
	if s.set != nil {
		err = s.redact(err)
		obj.Status.History.Record(s.set.revision, meta.ReconciliationFailedReason, r.Now(), r.Now().Sub(s.memo.attempt.began), s.set.metadata)
	}
	s.memo.end()
	return failing(err)
}
