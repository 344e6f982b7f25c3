package helm

import (
	"context"
	"errors"
	"fmt"

	"helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/storage"
	"helm.sh/helm/v3/pkg/storage/driver"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	v2 "github.com/weir-dev/weir/api/helm/v2"
	"github.com/weir-dev/weir/reconcilers/helm/render"
	"github.com/weir-dev/weir/reconcilers/helm/state"
	records "github.com/weir-dev/weir/reconcilers/helm/storage"
)

// book is Helm's storage, with what is stored written into the history of the status.
type book struct {
	*records.Secrets
	r      *reconciler
	obj    *v2.HelmRelease
	made   state.Made
	stored bool

	created *release.Release // by the action

	// renderer of the action, if it makes a release of a chart.
	renderer *render.Renderer
}

// open returns the storage of the releases of a namespace.
func (r *reconciler) open(ctx context.Context, obj *v2.HelmRelease, s *scope, namespace string) *book {
	log := logf.FromContext(ctx)
	skipped := func(err error) { log.Info("Left a record of Helm's out", "error", err.Error()) }

	return &book{r: r, obj: obj, Secrets: records.New(ctx, s.client, namespace, records.Options{
		Manager: Controller, Skipped: skipped, Memory: s.remember(namespace),
	})}
}

// remember returns the memory of the run, of the records of a namespace.
func (s *scope) remember(namespace string) *records.Memory {
	if s.memory == nil || s.remembers != namespace {
		s.memory, s.remembers = &records.Memory{}, namespace
	}

	return s.memory
}

// makes says what is made of the releases that are created from now on, to the history and to the next process.
func (b *book) makes(m state.Made) {
	b.made = m
	b.Sign(records.Note{Owner: string(b.obj.UID), Action: m.Action, OCIDigest: m.OCIDigest, ConfigDigest: m.ConfigDigest})
}

// Create implements driver.Driver. Helm's post-renderers do not see hooks, so that they are rendered here.
func (b *book) Create(key string, r *release.Release) error {
	if b.renderer != nil {
		hooks, err := b.renderer.Hooks(r.Hooks)
		if err != nil {
			return err //nolint:wrapcheck // it says what it is about
		}

		r.Hooks = hooks
	}

	if err := b.Secrets.Create(key, r); err != nil {
		return err //nolint:wrapcheck // Helm compares it
	}

	b.created = r

	return b.observe(r)
}

// Update implements driver.Driver.
func (b *book) Update(key string, r *release.Release) error {
	if err := b.Secrets.Update(key, r); err != nil {
		return err //nolint:wrapcheck // Helm compares it
	}

	return b.observe(r)
}

func (b *book) observe(r *release.Release) error {
	history, err := state.Observe(b.obj.Status.History, r, b.made, b.r.SnapshotDigest)
	if err != nil {
		return fmt.Errorf("record release: %w", err)
	}

	b.obj.Status.History, b.stored = history, true

	return nil
}

// last returns the newest revision of a release, nil if there is none.
func (b *book) last(name string) (*release.Release, error) {
	latest, err := storage.Init(b.Secrets).Last(name)
	if errors.Is(err, driver.ErrReleaseNotFound) {
		return nil, nil //nolint:nilnil // as the comment says
	}

	if err != nil {
		return nil, fmt.Errorf("read releases of '%s': %w", name, err)
	}

	return latest, nil
}

// release reads the release of a snapshot.
func (b *book) release(snapshot *v2.Snapshot) (*release.Release, error) {
	r, err := storage.Init(b.Secrets).Get(snapshot.Name, snapshot.Version)
	if errors.Is(err, driver.ErrReleaseNotFound) {
		return nil, nil //nolint:nilnil // there is none
	}

	if err != nil {
		return nil, fmt.Errorf("read release '%s': %w", snapshot.FullReleaseName(), err)
	}

	return r, nil
}

// ours returns what was made of a release if this HelmRelease made it.
func (b *book) ours(r *release.Release) (state.Made, bool) {
	note, ok := b.Note(r.Name, r.Version)
	if !ok || note.Owner != string(b.obj.UID) {
		return state.Made{}, false
	}

	return state.Made{Action: note.Action, OCIDigest: note.OCIDigest, ConfigDigest: note.ConfigDigest}, true
}

// recall brings into the history what this HelmRelease has made and the status does not tell of, because the process was killed before
// it was written. It returns the action of a release that has failed and was not counted yet, or none.
func (b *book) recall(latest *release.Release) (state.Action, error) {
	made, ok := b.ours(latest)
	known := b.obj.Status.History.Latest()

	switch {
	case !ok:
		return state.None, nil
	case known == nil:
	case known.Name != latest.Name, known.Namespace != latest.Namespace, known.Version > latest.Version, state.Verify(known, latest):
		return state.None, nil
	}

	counted := known != nil && known.Version == latest.Version

	if err := b.recallOlder(latest); err != nil || !isDone(latest) { // what is locked is recalled when it is unlocked
		return state.None, err
	}

	if err := b.recallAs(latest, made); err != nil {
		return state.None, err
	}

	attempted(b.obj, made.Action)

	if recalled(latest, made).set(b.obj); counted || latest.Info.Status != release.StatusFailed || wasUnlocked(latest) {
		return state.None, nil
	}

	return state.Action(made.Action), nil
}

func (b *book) recallAs(r *release.Release, made state.Made) error {
	history, err := state.Observe(b.obj.Status.History, r, made, b.r.SnapshotDigest)
	if err != nil {
		return fmt.Errorf("record release: %w", err)
	}

	b.obj.Status.History = history

	return nil
}

// recallOlder finds out what has become of what was deployed before.
func (b *book) recallOlder(latest *release.Release) error {
	for _, known := range b.obj.Status.History {
		if known.Status != release.StatusDeployed.String() || known.Version >= latest.Version {
			continue
		}

		before, err := b.release(&known)
		if err != nil {
			return err
		}

		if before == nil {
			continue
		}

		if made, ok := b.ours(before); ok {
			if err := b.recallAs(before, made); err != nil {
				return err
			}
		}
	}

	return nil
}

// recalled is the outcome of an action of which only what it has stored is known.
func recalled(r *release.Release, made state.Made) outcome {
	about := fmt.Sprintf("%s/%s.v%d with chart %s@%s", r.Namespace, r.Name, r.Version, r.Chart.Name(), r.Chart.Metadata.Version)
	failed := r.Info.Status == release.StatusFailed
	out := outcome{fails: failed}

	switch {
	case !failed && r.Info.Status != release.StatusDeployed:
	case made.Action == v2.ActionRollback && failed:
		out.condition, out.reason = v2.RemediatedCondition, v2.RollbackFailedReason
		out.message = fmt.Sprintf("Helm rollback to release %s failed: %s", about, r.Info.Description)
	case made.Action == v2.ActionRollback:
		out.condition, out.reason = v2.RemediatedCondition, v2.RollbackSucceededReason
		out.message = fmt.Sprintf("Helm rollback to release %s succeeded", about)
	default:
		out = recalledRelease(made.Action, failed)
		out.message = fmt.Sprintf("Helm %s succeeded for release %s", made.Action, about)

		if failed {
			out.message = fmt.Sprintf("Helm %s failed for release %s: %s", made.Action, about, r.Info.Description)
		}
	}

	return out
}

func recalledRelease(action string, failed bool) outcome {
	reasons := map[bool]string{true: v2.UpgradeFailedReason, false: v2.UpgradeSucceededReason}
	if action == v2.ActionInstall {
		reasons = map[bool]string{true: v2.InstallFailedReason, false: v2.InstallSucceededReason}
	}

	return outcome{condition: v2.ReleasedCondition, reason: reasons[failed], fails: failed}
}

// recallAny brings what this HelmRelease has made into an empty history, if the process was killed before any of it was written.
func (b *book) recallAny(name string) error {
	if len(b.obj.Status.History) > 0 {
		return nil
	}

	latest, err := b.last(name)
	if err != nil || latest == nil {
		return err
	}

	made, ok := b.ours(latest)
	if !ok {
		return nil
	}

	attempted(b.obj, made.Action)

	return b.recallAs(latest, made)
}

// attempted writes down what was tried by an action. A rollback is part of an upgrade.
func attempted(obj *v2.HelmRelease, action string) {
	switch action {
	case v2.ActionInstall:
		obj.Status.LastAttemptedReleaseAction = v2.ActionInstall
	case v2.ActionUpgrade, v2.ActionRollback:
		obj.Status.LastAttemptedReleaseAction = v2.ActionUpgrade
	}
}

// interrupted returns what was made of a release that is locked.
func (b *book) interrupted(r *release.Release) state.Made {
	made, ok := b.ours(r)
	if !ok {
		return state.Interrupted(b.obj, r)
	}

	if known := b.obj.Status.History.Latest(); known == nil || known.Version < r.Version {
		attempted(b.obj, made.Action)
	}

	return made
}

// isDone tells whether an action has come to its end.
func isDone(r *release.Release) bool {
	switch r.Info.Status {
	case release.StatusDeployed, release.StatusFailed, release.StatusUninstalled:
		return true
	default:
		return false
	}
}
