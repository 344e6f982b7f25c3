package generator

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/api/sourceextensions/v1beta1"
	"github.com/weir-dev/weir/reconcilers/artifact"
	"github.com/weir-dev/weir/reconcilers/engine"
)

// generate makes the artifacts and publishes them. One that cannot be made keeps none of the others from being made: they are
// applied by different people.
func (r *reconciler) generate(ctx context.Context, obj *v1beta1.ArtifactGenerator, s *scope) error {
	outputs, err := s.recipe.outputs(ctx, s.roots)
	if err == nil {
		if e := ownOutput(obj, outputs, func(o output) string { return o.Name }); e != nil {
			err = &refusedError{e}
		}
	}

	if refused, ok := errors.AsType[*refusedError](err); ok {
		return engine.Stall(meta.ValidationFailedReason, refused)
	}

	if err != nil {
		return err
	}

	s.wanted = map[string]bool{}

	for i := range outputs {
		o := &outputs[i]
		s.wanted[o.Name] = true

		engine.Progress(ctx, fmt.Sprintf("building artifact %d of %d", i+1, len(outputs)))

		if err := r.one(ctx, obj, s, o); err != nil {
			s.failures = append(s.failures, err)

			if e := listed(obj, o.Name); e != nil {
				s.inventory = append(s.inventory, *e)
			}
		}

		if ctx.Err() != nil {
			return ctx.Err()
		}
	}

	return nil
}

// one makes one artifact, and publishes it.
func (r *reconciler) one(ctx context.Context, obj *v1beta1.ArtifactGenerator, s *scope, o *output) error {
	failed := func(reason, what string, err error) error {
		return engine.Fail(reason, fmt.Errorf("%s %s failed: %w", o.Name, what, err))
	}

	live := s.live[o.Name]
	if live == nil {
		var err error
		if live, err = r.get(ctx, obj.Namespace, o.Name); err != nil {
			return failed(meta.ReconciliationFailedReason, "reconcile", err)
		}
	}

	if live != nil && !owns(obj, live) {
		return failed(meta.ReconciliationFailedReason, "reconcile", foreign(live))
	}

	stored, err := r.store(ctx, obj, s, o, live)
	if err != nil {
		return failed(meta.BuildFailedReason, "build", err)
	}

	ready := engine.Condition(obj, meta.ReadyCondition)
	renewed := ready == nil || ready.ObservedGeneration != obj.Generation

	written, err := r.ensure(ctx, live, desired(obj, o), renewed)
	if err == nil {
		err = r.publish(ctx, written, stored)
	}

	if err != nil {
		return failed(meta.ReconciliationFailedReason, "reconcile", err)
	}

	s.add(obj, live, o.Name, stored)

	return nil
}

// add notes what was published.
func (s *scope) add(obj *v1beta1.ArtifactGenerator, before *sourcev1.ExternalArtifact, name string, a *meta.Artifact) {
	s.inventory = append(s.inventory, v1beta1.ExternalArtifactReference{
		Name: name, Namespace: obj.Namespace, Digest: a.Digest, Filename: a.Path[strings.LastIndexByte(a.Path, '/')+1:],
	})

	if before == nil || !before.Status.Artifact.HasDigest(a.Digest) || !before.Status.Artifact.HasRevision(a.Revision) {
		s.changed = append(s.changed, fmt.Sprintf("%s/%s (%s)", obj.Namespace, name, a.Digest))
	}
}

// store builds an artifact and stores it, unless the one that is published is the same.
func (r *reconciler) store(
	ctx context.Context, obj *v1beta1.ArtifactGenerator, s *scope, o *output, live *sourcev1.ExternalArtifact,
) (*meta.Artifact, error) {
	p, err := r.planned(ctx, s.roots, o.operations)
	if err != nil {
		return nil, err
	}
	defer p.close()

	revision := "latest@sha256:" + p.hash
	if alias := strings.TrimPrefix(o.Revision, "@"); alias != "" {
		revision = s.sources[alias].artifact.Revision
	}

	at := artifact.Location{Owner: ownerOf(obj.Namespace, o.Name), File: p.file()}

	a := r.kept(live, at, revision, s.lost[o.Name])
	if a == nil {
		if a, err = r.Store.Put(ctx, at, revision, p.content(r.Store)); err != nil {
			return nil, fmt.Errorf("failed to store artifact: %w", err)
		}
	}

	if alias := strings.TrimPrefix(o.OriginRevision, "@"); alias != "" {
		a.Metadata = map[string]string{originRevision: s.sources[alias].origin()}
	}

	return a, nil
}

// kept returns the artifact that is published, if it is the one at the location and its file is there. One that was lost is
// stored anew: those who could not get it learn that from its time.
func (r *reconciler) kept(live *sourcev1.ExternalArtifact, at artifact.Location, revision string, lost bool) *meta.Artifact {
	if live == nil || lost || live.Status.Artifact == nil {
		return nil
	}

	// Others may write statuses, too: what counts is the file, which was named after its content.
	was := live.Status.Artifact
	if was.Path != at.Path() || r.Store.Verify(was) != nil {
		return nil
	}

	a, err := r.Store.Link(at, revision, digest.Digest(was.Digest))
	if err != nil {
		return nil
	}

	if was.Revision == revision {
		a.LastUpdateTime = was.LastUpdateTime
	}

	return a
}

// prune withdraws what is not wanted any more. It runs also when the generator is deleted: then nothing is wanted.
func (r *reconciler) prune(ctx context.Context, obj *v1beta1.ArtifactGenerator, s *scope) error {
	orphans := map[string]bool{}

	for name := range s.live {
		orphans[name] = !s.wanted[name]
	}

	for _, e := range obj.Status.Inventory {
		if e.Namespace == obj.Namespace {
			orphans[e.Name] = !s.wanted[e.Name]
		}
	}

	var errs []error

	for _, name := range slices.Sorted(maps.Keys(orphans)) {
		if !orphans[name] {
			continue
		}

		if err := r.withdraw(ctx, obj, name); err != nil {
			errs = append(errs, err)

			if e := listed(obj, name); e != nil {
				s.inventory = append(s.inventory, *e)
			}
		}
	}

	s.failures = append(s.failures, errs...)

	if !obj.DeletionTimestamp.IsZero() {
		return errors.Join(errs...)
	}

	return nil
}

// complete writes down what was made.
func (r *reconciler) complete(ctx context.Context, obj *v1beta1.ArtifactGenerator, s *scope) error {
	obj.Status.Inventory = s.inventory

	for _, e := range s.inventory {
		current := &meta.Artifact{Path: artifact.Location{Owner: ownerOf(e.Namespace, e.Name), File: e.Filename}.Path()}

		if _, err := r.Store.Collect(ownerOf(e.Namespace, e.Name), current); err != nil {
			engine.Emit(ctx, engine.Event{
				Type: corev1.EventTypeWarning, Reason: sourcev1.GarbageCollectionFailedReason, Action: "GarbageCollect",
				Message: "garbage collection of artifacts failed: " + err.Error(),
			})
		}
	}

	if len(s.failures) > 0 {
		return failure(s.failures)
	}

	obj.Status.ObservedSourcesDigest = s.digest

	return nil
}

// failure is the verdict on a run in which something failed: the reason is that of the first failure.
func failure(errs []error) error {
	const most = 5

	reason := meta.ReconciliationFailedReason
	if v, ok := errors.AsType[*engine.Verdict](errs[0]); ok {
		reason = v.Reason
	}

	messages := make([]string, 0, most)
	for _, err := range errs[:min(len(errs), most)] {
		messages = append(messages, err.Error())
	}

	text := strings.Join(messages, "; ")
	if more := len(errs) - most; more > 0 {
		text += fmt.Sprintf("; and %d more", more)
	}

	return engine.Fail(reason, errors.New(text))
}

// events tells of artifacts that are new, and of the end of a failure.
func events(before, after *v1beta1.ArtifactGenerator, s *scope) []engine.Event {
	if len(s.changed) > 0 {
		return []engine.Event{{
			Reason: meta.SucceededReason, Message: "external artifacts reconciled: " + several(s.changed),
		}}
	}

	was := engine.Condition(before, meta.ReadyCondition)
	if was != nil && was.Status == metav1.ConditionFalse && engine.IsTrue(after, meta.ReadyCondition) {
		_, message := success(after, s)

		return []engine.Event{{Reason: meta.SucceededReason, Message: message}}
	}

	return nil
}

// several lists things for people.
func several(things []string) string {
	const most = 10

	if more := len(things) - most; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(things[:most], ", "), more)
	}

	return strings.Join(things, ", ")
}
