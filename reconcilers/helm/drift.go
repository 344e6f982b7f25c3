package helm

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"
	"helm.sh/helm/v3/pkg/release"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	v2 "github.com/weir-dev/weir/api/helm/v2"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/helm/drift"
	"github.com/weir-dev/weir/reconcilers/helm/kube"
	"github.com/weir-dev/weir/reconcilers/helm/state"
)

const (
	// ContestedCondition is True as long as somebody else keeps changing back what the release has, so that corrections are slowed
	// down. Otherwise it is not there.
	ContestedCondition = "Contested"

	// DriftContestedReason is the reason of the condition and of the event that comes with it.
	DriftContestedReason = "DriftContested"
)

// detector returns what compares a release with the cluster.
func (r *reconciler) detector(ctx context.Context, obj *v2.HelmRelease, s *scope, deployed *release.Release) *drift.Detector {
	d := &drift.Detector{
		Client: s.client, Applier: r.Applier, Owner: Owner(client.ObjectKeyFromObject(obj)), Release: deployed,
		Builder: r.builder(ctx, s, deployed),
	}

	if obj.Spec.DriftDetection != nil {
		d.Ignore = obj.Spec.DriftDetection.Ignore
	}

	d.Digest = digest.FromString(fmt.Sprintf("%q %q %s", obj.Status.History.Latest().Digest, r.account(obj), said(d.Ignore))).String()

	return d
}

// builder returns what reads the objects of a release.
func (r *reconciler) builder(ctx context.Context, s *scope, of *release.Release) drift.Builder {
	return kube.New(ctx, kube.Options{Client: s.client, Release: of.Name, Namespace: of.Namespace})
}

// said writes rules down.
func said(rules []meta.IgnoreRule) string {
	text, err := json.Marshal(rules)
	if err != nil {
		return "" // what came as JSON can be written as JSON
	}

	return string(text)
}

// detectDrift tells whether the cluster differs from the release, and says so in the status and, once, in an event.
func (r *reconciler) detectDrift(ctx context.Context, obj *v2.HelmRelease, s *scope, deployed *release.Release) (bool, error) {
	full := obj.Annotations[meta.ReconcileRequestAnnotation] != obj.Status.LastHandledReconcileAt && !s.compared
	s.compared = true

	found, err := r.detector(ctx, obj, s, deployed).Detect(ctx, r.Now(), full)
	r.tellContest(ctx, obj)

	if len(found.All) == 0 {
		return false, err //nolint:wrapcheck // the caller says what it is about
	}

	if err != nil {
		logf.FromContext(ctx).Error(err, "Some objects of the release could not be compared with the cluster")
	}

	message := fmt.Sprintf("Cluster state of release %s has drifted from the desired state:\n%s",
		obj.Status.History.Latest().FullReleaseName(), drift.Summary(found))

	known := engine.Condition(obj, v2.DriftedCondition)
	if found.News || known == nil || known.Status != metav1.ConditionTrue || known.Message != message {
		engine.Emit(ctx, engine.Event{Type: corev1.EventTypeWarning, Reason: v2.DriftDetectedReason, Message: message})
	}

	engine.Set(obj, v2.DriftedCondition, metav1.ConditionTrue, v2.DriftDetectedReason, message)

	return true, nil
}

// tellContest says who keeps changing back what the release has, and once in an event.
func (r *reconciler) tellContest(ctx context.Context, obj *v2.HelmRelease) {
	fights := r.Applier.Fights(Owner(client.ObjectKeyFromObject(obj)).ID)
	if len(fights) == 0 || obj.GetDriftDetectionMode() != v2.DriftDetectionEnabled {
		engine.Unset(obj, ContestedCondition)

		return
	}

	lines := make([]string, len(fights))
	for i, f := range fights {
		lines[i] = f.String()
	}

	message := strings.Join(lines, "\n")
	if c := engine.Condition(obj, ContestedCondition); c == nil || c.Message != message {
		engine.Emit(ctx, engine.Event{Type: corev1.EventTypeWarning, Reason: DriftContestedReason, Message: message})
	}

	engine.Set(obj, ContestedCondition, metav1.ConditionTrue, DriftContestedReason, message)
}

// correctDrift puts right what was found to differ.
func (a *attempt) correctDrift(ctx context.Context) outcome {
	obj := a.obj
	timeout := obj.GetTimeout()
	engine.Progress(ctx, fmt.Sprintf("Running '%s' action with timeout of %s", state.CorrectDrift, timeout))

	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()

	changes, err := a.detector(ctx, obj, a.s, a.latest).Correct(ctx)
	name := obj.Status.History.Latest().FullReleaseName()

	if err == nil {
		return outcome{
			reason: v2.DriftCorrectedReason, message: fmt.Sprintf("Cluster state of release %s has been corrected:\n%s", name, changes.Log()),
		}
	}

	a.s.summed = false // that it was released does not make it ready
	out := outcome{reason: v2.DriftCorrectionFailedReason, err: err}

	if changes.Changed() {
		out.message = fmt.Sprintf("Failed to partially correct cluster state of release %s: %s\n%s", name, err, changes.Log())
	} else {
		out.message = fmt.Sprintf("Failed to correct cluster state of release %s: %s", name, err)
	}

	return out
}

// settleDrift says that nothing differs, if somebody has looked.
func settleDrift(obj *v2.HelmRelease, observed state.State) {
	if obj.GetDriftDetectionMode() != v2.DriftDetectionDisabled && observed == state.InSync {
		engine.Set(obj, v2.DriftedCondition, metav1.ConditionFalse, v2.NoDriftDetectedReason,
			"No drift detected for release "+obj.Status.History.Latest().FullReleaseName())
	}
}

// unwatch forgets what a release applied if nobody wants to know what becomes of it.
func (r *reconciler) unwatch(obj *v2.HelmRelease) {
	if obj.GetDriftDetectionMode() == v2.DriftDetectionDisabled {
		r.Applier.Forget(Owner(client.ObjectKeyFromObject(obj)).ID)
		engine.Unset(obj, v2.DriftedCondition, ContestedCondition)
	}
}
