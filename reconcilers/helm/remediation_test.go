package helm_test

import (
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/release"

	v2 "github.com/weir-dev/weir/api/helm/v2"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/engine"
)

// TestUninstallRemediation undoes an install that fails as often as it is tried, and begins anew with another chart.
func TestUninstallRemediation(t *testing.T) {
	t.Parallel()

	e := newEnv(t)
	e.publish("1.0.0", map[string]string{"config": broken})
	e.declare(func(spec *v2.HelmReleaseSpec) {
		spec.Install = &v2.Install{Remediation: &v2.InstallRemediation{Retries: 1}}
	})

	obj := e.once()
	e.wantReady(obj, "False UninstallSucceeded: Helm uninstall remediation for release NS/app.v1 with chart app@1.0.0+abababababab succeeded")
	same(t, "retries", meta.ProgressingWithRetryReason, engine.Condition(obj, meta.ReconcilingCondition).Reason)
	same(t, "failures", int64(1), obj.Status.InstallFailures)
	same(t, "nothing is left", map[int]release.Status{}, e.releases())

	told := e.told()
	same(t, "events", 2, len(told))
	same(t, "first event", true, strings.HasPrefix(told[0],
		"InstallFailed: Helm install failed for release NS/app with chart app@1.0.0+abababababab: "))

	obj = e.once()
	same(t, "stalled", "Failed to install after 2 attempt(s). To try again, change the chart, the values or the spec, or run "+
		"'flux reconcile helmrelease app -n "+e.namespace+" --reset'", engine.Condition(obj, meta.StalledCondition).Message)
	same(t, "the last one stays to be looked at", map[int]release.Status{1: release.StatusFailed}, e.releases())
	same(t, "observed", obj.Generation, obj.Status.ObservedGeneration)

	e.publish("1.0.1", map[string]string{"config": config})
	e.wantReady(e.once(), "True UpgradeSucceeded: Helm upgrade succeeded for release NS/app.v2 with chart app@1.0.1+abababababab")
	same(t, "released", "none 1.0.1+abababababab", e.data("config"))
}

// TestRetry tries a failed upgrade again after a time, without an end.
func TestRetry(t *testing.T) {
	t.Parallel()

	e := newEnv(t)
	e.publish("1.0.0", map[string]string{"config": config})
	e.declare(func(spec *v2.HelmReleaseSpec) {
		spec.Upgrade = &v2.Upgrade{Strategy: &v2.UpgradeStrategy{Name: v2.StrategyRetryOnFailure}}
	})
	e.once()

	e.publish("2.0.0", map[string]string{"config": broken})
	obj := e.once()
	same(t, "Ready", v2.UpgradeFailedReason, engine.Condition(obj, meta.ReadyCondition).Reason)
	same(t, "retries", "retrying after 5m0s", engine.Condition(obj, meta.ReconcilingCondition).Message)
	same(t, "observed", obj.Generation, obj.Status.ObservedGeneration)

	e.publish("2.0.1", map[string]string{"config": config})
	obj = e.once()
	same(t, "Ready", true, engine.IsTrue(obj, meta.ReadyCondition))
	same(t, "failures", int64(0), obj.Status.Failures)
}

// TestTests runs the tests of a chart after its release.
func TestTests(t *testing.T) {
	t.Parallel()

	e := newEnv(t)
	e.publish("1.0.0", map[string]string{
		"config": config,
		"test":   "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: tested, annotations: {helm.sh/hook: test}}\ndata: {key: run}\n",
	})
	e.declare(func(spec *v2.HelmReleaseSpec) { spec.Test = &v2.Test{Enable: true} })

	obj := e.once()
	e.wantReady(obj, "True TestSucceeded: "+
		"Helm test succeeded for release NS/app.v1 with chart app@1.0.0+abababababab: 1 test hook completed successfully")
	same(t, "run", "run", e.data("tested"))
	same(t, "recorded", "Succeeded", obj.Status.History[0].TestHooks["tested"].Phase)

	before := obj.ResourceVersion
	same(t, "tests run once", before, e.once().ResourceVersion)
}
