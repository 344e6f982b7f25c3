package instance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/migration"
)

// migrateAgain is how long it takes until objects that could not be migrated are tried again, and until definitions that keep a release
// from being applied are looked at again: nobody tells when either is settled.
const migrateAgain = 5 * time.Minute

// migrateShare is how many objects one run migrates, which takes seconds. The next one goes on: between them, what is deployed is looked
// after, and others have their turn.
const migrateShare = 2000

// storage is what this process knows about what a cluster stores for an instance.
type storage struct {
	under    map[string]*migration.Migration // those that are under way, by definition
	done     []string                        // the definitions that the migration of all is through with, while it is under way
	failed   []error                         // what has failed of that
	of       string                          // what that is: the revision, and the request
	revision string                          // the last one for which all definitions were looked at
	again    time.Time                       // when they are to be looked at again; zero if all was as it should be
	forced   bool                            // what is left has to be migrated whatever the definitions say
}

// replacement is a definition of the target and the one that it would replace.
type replacement struct {
	live, target *migration.Definition
	task         migration.Task
	refused      error
}

// check refuses a release that would lose objects, before anybody waits for it, or approves it: one without the version in which they are
// stored. The last word is that of prepare.
func (r *reconciler) check(ctx context.Context, obj *fluxv1.FluxInstance, s *scope) error {
	if s.way != beginning {
		return nil
	}
	known, err := r.consider(obj, s)
	if err != nil || known.checked {
		return err
	}
	all, err := s.replacements(ctx, obj)
	if err != nil {
		return r.failed(ctx, obj, s, err)
	}
	if refused := refusals(all); refused != nil {
		return r.hold(ctx, obj, s, refuse(obj, s, refused))
	}
	known.checked = true
	return nil
}

// prepare sees to it that the definitions of the target can take the place of those in the cluster: that nothing is stored, and no field
// managed, in a version that they do not have. What can be migrated before is migrated. When the last good release comes back, or is
// there, definitions that became newer stay as they are.
func (r *reconciler) prepare(ctx context.Context, obj *fluxv1.FluxInstance, s *scope) error {
	if s.Applier.Clean(Owner(obj).ID, s.digest()) {
		return nil
	}
	all, err := s.replacements(ctx, obj)
	switch {
	case err != nil:
		return r.failed(ctx, obj, s, err)
	case s.keeping != nil || s.way == steady:
		s.spare(all)
		return nil
	}
	if refused := refusals(all); refused != nil {
		return r.holdBack(ctx, obj, s, refuse(obj, s, refused))
	}
	for _, x := range all {
		if x.task == migration.Nothing || !obj.GetMigrateResources() {
			continue
		}
		o := migration.Options{Stay: x.target.Versions, Keep: x.task == migration.Fields}
		if err := r.bring(ctx, obj, s, x.live, o); err != nil {
			return r.unprepared(ctx, obj, s, err)
		}
	}
	return nil
}

// replacements compares the definitions of the target with those in the cluster, and returns what is to be done for each that differs.
func (s *scope) replacements(ctx context.Context, obj *fluxv1.FluxInstance) ([]replacement, error) {
	var all []replacement
	for _, o := range s.set.Objects {
		if !isDefinition(access.Of(o)) {
			continue
		}
		x, err := s.compare(ctx, obj, o)
		if err != nil {
			return nil, err
		}
		if x.task != migration.Nothing || x.refused != nil {
			all = append(all, x)
		}
	}
	return all, nil
}

func (s *scope) compare(ctx context.Context, obj *fluxv1.FluxInstance, manifest *unstructured.Unstructured) (x replacement, err error) {
	x.live, err = migration.Read(ctx, s.Client, manifest.GetName())
	if isGone(err) {
		return x, nil
	}
	if err != nil {
		return x, fmt.Errorf("get %q: %w", access.Of(manifest), err)
	}
	if x.target, err = migration.Of(manifest); err != nil {
		return x, err
	}
	x.task, x.refused = migration.Compare(x.live, x.target)
	if x.task == migration.Objects && !obj.GetMigrateResources() {
		x.refused = fmt.Errorf("objects of %q may be stored in versions %s, not all of which the new definition has, and spec.migrateResources is false",
			x.live.Name, strings.Join(x.live.Stored, ", "))
	}
	return x, nil
}

// String says what is to be done, for a plan.
func (x replacement) String() string {
	switch {
	case x.refused != nil:
		return "refused: " + x.refused.Error()
	case x.task == migration.Fields:
		return fmt.Sprintf("the fields of all objects of %q are moved to version %s first", x.live.Name, x.live.Storage)
	}
	return fmt.Sprintf("all objects of %q are migrated from %s to version %s first", x.live.Name,
		strings.Join(slices.DeleteFunc(slices.Clone(x.live.Stored), func(v string) bool { return v == x.live.Storage }), ", "), x.live.Storage)
}

// refusals are the reasons not to apply the target, in one error; nil if there are none.
func refusals(all []replacement) error {
	var reasons []string
	for _, x := range all {
		if x.refused != nil {
			reasons = append(reasons, x.refused.Error())
		}
	}
	if reasons == nil {
		return nil
	}
	return errors.New(strings.Join(reasons, "; "))
}

// spare notes the definitions that are newer in the cluster than in the target, which is good: they are not applied.
func (s *scope) spare(newer []replacement) {
	s.memory.newer = nil
	for _, x := range newer {
		s.memory.newer = append(s.memory.newer, migration.Ref(x.live.Name).ID)
	}
}

// spared are the definitions of the target that are not applied.
func (s *scope) spared() []access.ID {
	if s.keeping == nil && s.way != steady {
		return nil
	}
	return s.memory.newer
}

// digest identifies what of the target is applied.
func (s *scope) digest() string {
	if len(s.spared()) > 0 {
		return partial(s.set.Digest)
	}
	return s.set.Digest
}

// partial identifies a target of which not all is applied.
func partial(digest string) string { return digest + "-" }

// refuse is the verdict about a release that would lose what is stored. Nothing wakes the instance when that is settled.
func refuse(obj *fluxv1.FluxInstance, s *scope, why error) error {
	err := fmt.Errorf("reconciliation failed: revision %s is refused: %w", s.set.Revision(), why)
	if s.way != installing {
		engine.Set(obj, fluxv1.UpgradedCondition, metav1.ConditionFalse, fluxv1.UpgradeFailedReason, err.Error())
	}
	return &engine.Verdict{Outcome: engine.Stalled, Reason: meta.ReconciliationFailedReason, After: migrateAgain, Err: err}
}

// holdBack makes the last good release the target, as far as it can be. Before the first one there is none.
func (r *reconciler) holdBack(ctx context.Context, obj *fluxv1.FluxInstance, s *scope, verdict error) error {
	if s.way == installing {
		return verdict
	}
	if err := r.hold(ctx, obj, s, verdict); err != nil {
		return err
	}
	return r.prepare(ctx, obj, s)
}

// unprepared ends, or holds back, what cannot be applied before objects are migrated that could not be migrated.
func (r *reconciler) unprepared(ctx context.Context, obj *fluxv1.FluxInstance, s *scope, err error) error {
	if _, more := errors.AsType[*engine.Verdict](err); more && s.way == beginning {
		return r.holdBack(ctx, obj, s, err) // what runs is looked after meanwhile
	}
	if s.way == beginning && ctx.Err() == nil {
		return r.holdBack(ctx, obj, s, engine.Fail(meta.ReconciliationFailedReason, fmt.Errorf("reconciliation failed: %w", err)))
	}
	return r.failed(ctx, obj, s, err)
}

// bring migrates what is stored of one definition. It goes on with what an earlier run has begun.
func (r *reconciler) bring(ctx context.Context, obj *fluxv1.FluxInstance, s *scope, d *migration.Definition, o migration.Options) error {
	o.Manager, o.Most = Manager, r.MigrateShare
	engine.Progress(ctx, "Migrating the objects of "+d.Name)
	under := s.memory.storage.under
	m := under[d.Name]
	if m == nil || !m.Fits(d, o) {
		var err error
		if m, err = migration.New(d, o); err != nil {
			return err
		}
	}
	n, err := m.Run(ctx, s.Client, func(n int) { engine.Progress(ctx, fmt.Sprintf("Migrating the objects of %s: %d", d.Name, n)) })
	if err != nil {
		if under == nil {
			s.memory.storage.under = map[string]*migration.Migration{}
		}
		s.memory.storage.under[d.Name] = m
		if errors.Is(err, migration.ErrUnfinished) {
			return engine.Await(soon, fmt.Sprintf("Migrating the objects of %s: %d so far", d.Name, n))
		}
		return fmt.Errorf("migrate: %w", err)
	}
	delete(under, d.Name)
	if !d.Settled() && !o.Keep {
		engine.Emit(ctx, engine.Event{
			Reason: fluxv1.MigratedReason, Message: fmt.Sprintf("All %d objects of %s are stored in version %s", n, d.Name, d.Storage),
			Metadata: map[string]string{meta.MetaRevisionKey: obj.Status.LastAttemptedRevision},
		})
	}
	return nil
}

// migrate brings what is stored to the storage versions of the definitions, now that the new release works. What cannot be migrated does
// not make the release bad: it is told, and tried again.
func (r *reconciler) migrate(ctx context.Context, obj *fluxv1.FluxInstance, s *scope) error {
	if failed := engine.IsTrue(obj, fluxv1.MigrationFailedCondition); s.way == returning || s.keeping != nil && !failed {
		return nil // what is kept was migrated when it came, or is being tried again
	}
	if !obj.GetMigrateResources() {
		engine.Unset(obj, fluxv1.MigrationFailedCondition)
		return nil
	}
	known, now := &s.memory.storage, r.Now()
	due := known.revision != s.set.Revision() || !known.again.IsZero() && !now.Before(known.again)
	force := forced(obj, s.set.Revision()) || due && known.pending(obj)
	if !force && !due {
		return nil
	}
	known.resume(s.set.Revision() + "\n" + obj.Annotations[meta.ForceRequestAnnotation])
	err := r.migrateAll(ctx, obj, s, force)
	if ctx.Err() != nil {
		return fmt.Errorf("migrate: %w", context.Cause(ctx))
	}
	if more, ok := errors.AsType[*engine.Verdict](err); ok {
		return more
	}
	known.resume("")
	known.revision, known.again, known.forced = s.set.Revision(), time.Time{}, force && err != nil
	if err == nil {
		engine.Unset(obj, fluxv1.MigrationFailedCondition)
		return nil
	}
	known.again = now.Add(migrateAgain * 9 / 10) // the runs come early and late
	notMigrated(ctx, obj, s, err)
	return nil
}

// notMigrated says what could not be migrated.
func notMigrated(ctx context.Context, obj *fluxv1.FluxInstance, s *scope, err error) {
	if c := engine.Condition(obj, fluxv1.MigrationFailedCondition); c == nil || c.Message != err.Error() {
		engine.Emit(ctx, engine.Event{
			Type: corev1.EventTypeWarning, Reason: fluxv1.MigrationFailedReason, Message: err.Error(),
			Metadata: map[string]string{meta.MetaRevisionKey: s.set.Revision()},
		})
	}
	engine.Set(obj, fluxv1.MigrationFailedCondition, metav1.ConditionTrue, fluxv1.MigrationFailedReason, err.Error())
}

// resume notes what the definitions are migrated for. Those that were done for something else are done again.
func (k *storage) resume(of string) {
	if k.of != of {
		k.of, k.done, k.failed = of, nil, nil
	}
}

// migrateAll migrates the objects of all definitions of the instance, those that it keeps included, and goes on after a failure. The error
// is a verdict if another run is to go on.
func (r *reconciler) migrateAll(ctx context.Context, obj *fluxv1.FluxInstance, s *scope, force bool) error {
	definitions, _ := split(references(obj.Status.Inventory))
	known := &s.memory.storage
	for _, ref := range definitions {
		if slices.Contains(known.done, ref.Name) {
			continue
		}
		d, err := migration.Read(ctx, s.Client, ref.Name)
		switch {
		case isGone(err):
			continue
		case err != nil:
			known.failed = append(known.failed, fmt.Errorf("get %q: %w", ref, err))
			continue
		case d.Deleting, d.Settled() && !force:
			continue
		}
		err = r.bring(ctx, obj, s, d, migration.Options{})
		if more, ok := errors.AsType[*engine.Verdict](err); ok {
			return more
		}
		known.done = append(known.done, ref.Name)
		if err != nil {
			known.failed = append(known.failed, err)
		}
	}
	return errors.Join(known.failed...)
}

// forced tells whether all objects are to be migrated, whatever the definitions say: because somebody asks for it, and with a minor version,
// the next of which may drop a version in which fields are managed.
func forced(obj *fluxv1.FluxInstance, revision string) bool {
	at, before := obj.Annotations[meta.ForceRequestAnnotation], obj.Status.LastAppliedRevision
	asked := at != "" && at == obj.Annotations[meta.ReconcileRequestAnnotation] && at != obj.Status.LastHandledForceAt
	return asked || before != "" && minor(before) != minor(revision)
}

// pending tells whether what could not be migrated before was to be migrated whatever the definitions say. A process that has just started
// does not know, and does.
func (k *storage) pending(obj *fluxv1.FluxInstance) bool {
	return k.forced || k.revision == "" && engine.IsTrue(obj, fluxv1.MigrationFailedCondition)
}

// minor is the minor version of a revision, such as v2.9.
func minor(revision string) string {
	version, _, _ := strings.Cut(revision, "@")
	parts := strings.SplitN(version, ".", 3)
	return strings.Join(parts[:min(2, len(parts))], ".")
}
