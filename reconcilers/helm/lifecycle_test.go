package helm_test

import (
	"strings"
	"testing"
	"time"

	"helm.sh/helm/v3/pkg/release"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v2 "github.com/weir-dev/weir/api/helm/v2"
	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/engine"
)

func inline(text string) *apiextensionsv1.JSON { return &apiextensionsv1.JSON{Raw: []byte(text)} }

// TestLifecycle installs, upgrades and uninstalls a chart of an OCIRepository.
func TestLifecycle(t *testing.T) {
	t.Parallel()

	e := newEnv(t)
	e.publish("1.0.0", map[string]string{"config": config})
	e.declare(nil)

	obj := e.once()
	e.wantReady(obj, "True InstallSucceeded: Helm install succeeded for release NS/app.v1 with chart app@1.0.0+abababababab")
	same(t, "installed", "none 1.0.0+abababababab", e.data("config"))
	same(t, "observed", obj.Generation, obj.Status.ObservedGeneration)
	same(t, "revision", "1.0.0+abababababab", obj.Status.LastAttemptedRevision)
	same(t, "stored", map[int]release.Status{1: release.StatusDeployed}, e.releases())
	same(t, "events", []string{
		"InstallSucceeded: Helm install succeeded for release NS/app.v1 with chart app@1.0.0+abababababab",
	}, e.told())

	before := obj.ResourceVersion
	same(t, "nothing is written when nothing has changed", before, e.once().ResourceVersion)

	e.edit(func(obj *v2.HelmRelease) { obj.Spec.Values = inline(`{"key":"set"}`) })
	obj = e.once()
	e.wantReady(obj, "True UpgradeSucceeded: Helm upgrade succeeded for release NS/app.v2 with chart app@1.0.0+abababababab")
	same(t, "upgraded with values", "set 1.0.0+abababababab", e.data("config"))

	e.publish("1.1.0", map[string]string{"config": config})
	obj = e.once()
	e.wantReady(obj, "True UpgradeSucceeded: Helm upgrade succeeded for release NS/app.v3 with chart app@1.1.0+abababababab")
	same(t, "upgraded", "set 1.1.0+abababababab", e.data("config"))
	same(t, "history", []string{"deployed", "superseded"}, statuses(obj))
	e.told()

	must(t, e.c.Delete(t.Context(), obj))

	if obj := e.once(); obj != nil {
		t.Errorf("the HelmRelease is still there: %v", obj.Status.Conditions)
	}

	same(t, "uninstalled", "absent", e.data("config"))
	same(t, "nothing is left", map[int]release.Status{}, e.releases())
	same(t, "events", []string{
		"UninstallSucceeded: Helm uninstall succeeded for release NS/app.v3 with chart app@1.1.0+abababababab",
	}, e.told())
}

func statuses(obj *v2.HelmRelease) []string {
	var list []string
	for _, s := range obj.Status.History {
		list = append(list, s.Status)
	}

	return list
}

// TestTemplate makes a HelmChart, releases what it has, and deletes it.
func TestTemplate(t *testing.T) {
	t.Parallel()

	e := newEnv(t)
	e.declare(func(spec *v2.HelmReleaseSpec) {
		spec.ChartRef = nil
		spec.Chart = &v2.HelmChartTemplate{Spec: v2.HelmChartTemplateSpec{
			Chart: "app", SourceRef: v2.CrossNamespaceObjectReference{Kind: "HelmRepository", Name: "repo"},
		}}
	})

	obj := e.once()
	name := e.namespace + "-app"
	same(t, "made", e.namespace+"/"+name, obj.Status.HelmChart)
	same(t, "waits", v2.SourceNotReadyReason, engine.Condition(obj, meta.ReadyCondition).Reason)
	same(t, "events", []string{"HelmChartCreated: Created HelmChart/NS/NS-app with SourceRef 'HelmRepository/NS/repo'"}, e.told())

	source := &sourcev1.HelmChart{}
	key := types.NamespacedName{Namespace: e.namespace, Name: name}
	must(t, e.c.Get(t.Context(), key, source))
	same(t, "labels", map[string]string{v2.OwnerNameLabel: "app", v2.OwnerNamespaceLabel: e.namespace}, source.Labels)
	same(t, "interval", 10*time.Minute, source.Spec.Interval.Duration)

	before := source.DeepCopy()
	source.Status.Artifact = e.pack("HelmChart", name, "1.0.0", "1.0.0", map[string]string{"config": config})
	source.Status.ObservedGeneration = source.Generation
	must(t, e.c.Status().Patch(t.Context(), source, client.MergeFrom(before)))

	e.wantReady(e.once(), "True InstallSucceeded: Helm install succeeded for release NS/app.v1 with chart app@1.0.0")
	same(t, "installed", "none 1.0.0", e.data("config"))

	must(t, e.c.Delete(t.Context(), e.get()))
	e.once()

	if err := e.c.Get(t.Context(), key, source); !apierrors.IsNotFound(err) {
		t.Errorf("the HelmChart is still there: %v", err)
	}

	same(t, "uninstalled", "absent", e.data("config"))
}

// TestTemplateOfOthers leaves the HelmChart of another HelmRelease alone, whose name comes to the same.
func TestTemplateOfOthers(t *testing.T) {
	t.Parallel()

	for name, labels := range map[string]map[string]string{
		"another one": {v2.OwnerNameLabel: "b-app", v2.OwnerNamespaceLabel: "a"},
		"half of it":  {v2.OwnerNameLabel: "app"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			e := newEnv(t)
			theirs := &sourcev1.HelmChart{
				ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace, Name: e.namespace + "-app", Labels: labels},
				Spec: sourcev1.HelmChartSpec{
					Chart: "theirs", Interval: metav1.Duration{Duration: time.Hour},
					SourceRef: sourcev1.LocalHelmChartSourceReference{Kind: "HelmRepository", Name: "theirs"},
				},
			}
			e.create(theirs)
			e.declare(func(spec *v2.HelmReleaseSpec) {
				spec.ChartRef = nil
				spec.Chart = &v2.HelmChartTemplate{Spec: v2.HelmChartTemplateSpec{
					Chart: "app", SourceRef: v2.CrossNamespaceObjectReference{Kind: "HelmRepository", Name: "repo"},
				}}
			})

			obj := e.once()
			if c := engine.Condition(obj, meta.ReadyCondition); c == nil || c.Reason != v2.HelmChartSyncErrorReason ||
				!strings.Contains(c.Message, "was not made for this HelmRelease") {
				t.Errorf("it says %v", c)
			}

			now := &sourcev1.HelmChart{}
			must(t, e.c.Get(t.Context(), client.ObjectKeyFromObject(theirs), now))
			same(t, "theirs", theirs.Spec, now.Spec)
			same(t, "status", "", obj.Status.HelmChart)

			must(t, e.c.Delete(t.Context(), e.get()))
			e.once()
			must(t, e.c.Get(t.Context(), client.ObjectKeyFromObject(theirs), now))
		})
	}
}

// broken is a template that the API server refuses.
const broken = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: config}\ndata: {key: {not: text}}\n"

// TestRollback goes back to what was there before a failed upgrade, and stalls.
func TestRollback(t *testing.T) {
	t.Parallel()

	e := newEnv(t)
	e.publish("1.0.0", map[string]string{"config": config})
	e.declare(func(spec *v2.HelmReleaseSpec) {
		always := true
		spec.Upgrade = &v2.Upgrade{Remediation: &v2.UpgradeRemediation{RemediateLastFailure: &always}}
	})
	e.once()

	e.publish("2.0.0", map[string]string{"config": broken})
	obj := e.once()
	same(t, "Ready", v2.RollbackSucceededReason, engine.Condition(obj, meta.ReadyCondition).Reason)
	same(t, "Stalled", v2.RetriesExceededReason, engine.Condition(obj, meta.StalledCondition).Reason)
	same(t, "as before", "none 1.0.0+abababababab", e.data("config"))
	same(t, "stored", map[int]release.Status{
		1: release.StatusSuperseded, 2: release.StatusFailed, 3: release.StatusDeployed,
	}, e.releases())

	e.publish("2.1.0", map[string]string{"config": config})
	e.wantReady(e.once(), "True UpgradeSucceeded: Helm upgrade succeeded for release NS/app.v4 with chart app@2.1.0+abababababab")
}

// TestInterrupted unlocks a release that was left in the middle of an upgrade.
func TestInterrupted(t *testing.T) {
	t.Parallel()

	e := newEnv(t)
	e.publish("1.0.0", map[string]string{"config": config})
	e.declare(nil)
	e.once()

	r, err := e.helm().Last("app")
	must(t, err)
	r.Version, r.Info.Status = 2, release.StatusPendingUpgrade
	must(t, e.helm().Create(r))
	e.told()

	for range 3 {
		if obj := e.once(); engine.IsTrue(obj, meta.ReadyCondition) {
			break
		}
	}

	e.wantReady(e.get(), "True UpgradeSucceeded: Helm upgrade succeeded for release NS/app.v3 with chart app@1.0.0+abababababab")
	same(t, "first event", "PendingRelease: Unlocked Helm release NS/app.v2 with chart app@1.0.0+abababababab in pending-upgrade state", e.told()[0])
	same(t, "stored", release.StatusDeployed, e.releases()[3])
}

// TestSuspend leaves alone what is suspended, also when it is deleted.
func TestSuspend(t *testing.T) {
	t.Parallel()

	e := newEnv(t)
	e.publish("1.0.0", map[string]string{"config": config})
	e.declare(nil)
	e.once()

	e.edit(func(obj *v2.HelmRelease) { obj.Spec.Suspend, obj.Spec.Values = true, inline(`{"key":"set"}`) })
	e.once()
	same(t, "suspended", "none 1.0.0+abababababab", e.data("config"))

	must(t, e.c.Delete(t.Context(), e.get()))
	e.once()
	same(t, "deleted", "none 1.0.0+abababababab", e.data("config"))
}

// TestAdoption upgrades a release that somebody else has made.
func TestAdoption(t *testing.T) {
	t.Parallel()

	e := newEnv(t)
	e.publish("1.0.0", map[string]string{"config": config})
	e.declare(nil)
	e.once()

	r, err := e.helm().Last("app")
	must(t, err)
	must(t, e.helm().Update(r)) // Helm writes no note
	e.kill(v2.HelmReleaseStatus{ObservedGeneration: -1}, "")

	e.wantReady(e.once(), "True UpgradeSucceeded: Helm upgrade succeeded for release NS/app.v2 with chart app@1.0.0+abababababab")
}
