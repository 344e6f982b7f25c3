package helm_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v2 "github.com/weir-dev/weir/api/helm/v2"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/helm"
)

// detects sets the mode of drift detection.
func detects(mode string, ignore ...meta.IgnoreRule) func(*v2.HelmReleaseSpec) {
	return func(spec *v2.HelmReleaseSpec) { spec.DriftDetection = &v2.DriftDetection{Mode: mode, Ignore: ignore} }
}

// patch changes a ConfigMap as somebody else.
func (e *env) patch(name, patch string) {
	e.t.Helper()

	obj := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace, Name: name}}
	must(e.t, e.c.Patch(e.t.Context(), obj, client.RawPatch(types.MergePatchType, []byte(patch)), client.FieldOwner("somebody")))
}

func (e *env) remove(name string) {
	e.t.Helper()
	must(e.t, e.c.Delete(e.t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace, Name: name}}))
}

// awaken runs the HelmRelease whenever it is woken, until it is as wanted. It returns all events.
func (e *env) awaken(what string, wanted func(*v2.HelmRelease) bool) []string {
	e.t.Helper()

	var events []string

	for deadline := time.After(time.Minute); ; {
		select {
		case <-e.woken:
		case <-deadline:
			e.t.Fatalf("%s: not in time: %v, events:\n%s", what, e.get().Status.Conditions, strings.Join(events, "\n"))
		}

		obj := e.once()
		events = append(events, e.told()...)

		if wanted(obj) {
			return events
		}
	}
}

// condition says what a condition does.
func (e *env) condition(obj *v2.HelmRelease, name string) string {
	c := engine.Condition(obj, name)
	if c == nil {
		return "none"
	}

	return strings.ReplaceAll(fmt.Sprintf("%s %s: %s", c.Status, c.Reason, c.Message), e.namespace, "NS")
}

const (
	undrifted = "False NoDriftDetected: No drift detected for release NS/app.v1"
	detected  = "DriftDetected: Cluster state of release NS/app.v1 has drifted from the desired state:\n"
	put       = "DriftCorrected: Cluster state of release NS/app.v1 has been corrected:\n"
	one       = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: one}\ndata: {key: wanted, more: wanted}\n"
	two       = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: two}\ndata: {key: wanted}\n"
)

// TestDrift puts back what somebody does to what was released, and leaves alone what is none of the release's.
func TestDrift(t *testing.T) {
	t.Parallel()

	e := newEnv(t)
	e.publish("1.0.0", map[string]string{"one": one, "two": two})
	e.declare(detects(v2.DriftDetectionEnabled))
	obj := e.once()
	e.wantReady(obj, "True InstallSucceeded: Helm install succeeded for release NS/app.v1 with chart app@1.0.0+abababababab")
	same(t, "Drifted", undrifted, e.condition(obj, v2.DriftedCondition))
	e.told()

	steps := []struct {
		name   string
		change func()
		want   []string
	}{
		{"edited", func() { e.patch("one", `{"data":{"key":"edited","added":"by hand"}}`) }, []string{
			detected + "ConfigMap/NS/one changed (0 additions, 1 changes, 0 removals)", put + "ConfigMap/NS/one configured",
		}},
		{"a value that is removed", func() { e.patch("one", `{"data":{"key":null,"more":"edited"}}`) }, []string{
			detected + "ConfigMap/NS/one changed (1 additions, 1 changes, 0 removals)", put + "ConfigMap/NS/one configured",
		}},
		{"deleted", func() { e.remove("two") }, []string{
			detected + "ConfigMap/NS/two removed", put + "ConfigMap/NS/two created",
		}},
	}

	for _, step := range steps {
		step.change()

		events := e.awaken(step.name, func(*v2.HelmRelease) bool { return e.data("one") == "wanted" && e.data("two") == "wanted" })
		same(t, step.name, step.want, events)
		same(t, step.name, undrifted, e.condition(e.get(), v2.DriftedCondition))
		e.wantReady(e.get(), "True InstallSucceeded: Helm install succeeded for release NS/app.v1 with chart app@1.0.0+abababababab")
	}

	added := &corev1.ConfigMap{}
	must(t, e.c.Get(t.Context(), types.NamespacedName{Namespace: e.namespace, Name: "one"}, added))
	same(t, "what others have added", "by hand", added.Data["added"])
	same(t, "releases", 1, len(e.releases()))

	e.restart()
	e.patch("one", `{"data":{"key":"while nobody was there"}}`)
	e.once()
	same(t, "after a restart", "wanted", e.data("one"))
}

// TestDriftCosts holds that a release that is as it was takes no more requests for that drift is looked for.
func TestDriftCosts(t *testing.T) {
	t.Parallel()

	e := newEnv(t)
	e.publish("1.0.0", map[string]string{"one": one, "two": two})
	e.declare(nil)
	e.once()
	e.counter.Take()
	e.once()

	without := e.counter.Take("watch", "list", "discover")

	e.edit(func(obj *v2.HelmRelease) { detects(v2.DriftDetectionWarn)(&obj.Spec) })
	e.once()
	same(t, "Drifted", undrifted, e.condition(e.get(), v2.DriftedCondition))

	if first := e.counter.Take("watch", "list", "discover"); first["dry-run"] > 4 { // two if what was written some time ago
		t.Errorf("two objects are tried %d times", first["dry-run"])
	}

	for range 3 {
		e.once()
		same(t, "nothing is asked", without, e.counter.Take("watch", "list", "discover"))
	}

	e.ahead = 10 * time.Hour
	e.once()
	same(t, "now and then everything is tried", without["dry-run"]+2, e.counter.Take()["dry-run"])

	e.ahead = 0
	e.edit(func(obj *v2.HelmRelease) { obj.Annotations = map[string]string{meta.ReconcileRequestAnnotation: "now"} })
	e.once()
	same(t, "who asks for it gets it", without["dry-run"]+2, e.counter.Take()["dry-run"])
}

// TestDriftWarning tells of each change once, and puts nothing back.
func TestDriftWarning(t *testing.T) {
	t.Parallel()

	e := newEnv(t)
	e.publish("1.0.0", map[string]string{"one": one, "two": two})
	e.declare(detects(v2.DriftDetectionWarn))
	e.once()
	e.told()

	drifted := func(obj *v2.HelmRelease) bool { return engine.IsTrue(obj, v2.DriftedCondition) }
	const changed = "ConfigMap/NS/one changed (0 additions, 1 changes, 0 removals)"

	e.patch("one", `{"data":{"key":"edited"}}`)
	same(t, "edited", []string{detected + changed}, e.awaken("edited", drifted))
	same(t, "it stays", "edited", e.data("one"))
	same(t, "Drifted", "True "+detected+changed, e.condition(e.get(), v2.DriftedCondition))
	e.wantReady(e.get(), "True InstallSucceeded: Helm install succeeded for release NS/app.v1 with chart app@1.0.0+abababababab")

	before := e.get().ResourceVersion
	for range 3 {
		same(t, "nothing is written", before, e.once().ResourceVersion)
	}

	e.restart()
	e.once()
	same(t, "events that were told", []string(nil), e.told())

	e.patch("one", `{"data":{"key":"edited again"}}`)
	e.awaken("edited again", func(*v2.HelmRelease) bool { return true })
	e.remove("two")
	e.awaken("removed", func(obj *v2.HelmRelease) bool {
		return strings.HasSuffix(e.condition(obj, v2.DriftedCondition), changed+"\nConfigMap/NS/two removed")
	})

	e.patch("one", `{"data":{"key":"wanted"}}`)
	e.create(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace, Name: "two",
		Labels: map[string]string{
			v2.OwnerNameLabel: "app", v2.OwnerNamespaceLabel: e.namespace, "app.kubernetes.io/managed-by": "Helm",
		},
		Annotations: map[string]string{"meta.helm.sh/release-name": "app", "meta.helm.sh/release-namespace": e.namespace},
	}, Data: map[string]string{"key": "wanted"}})
	e.awaken("put back by hand", func(obj *v2.HelmRelease) bool { return e.condition(obj, v2.DriftedCondition) == undrifted })

	e.patch("one", `{"data":{"key":"edited"}}`)
	e.edit(func(obj *v2.HelmRelease) { obj.Spec.Values = inline(`{"a":1}`) })
	e.once()
	same(t, "an upgrade applies all", "wanted", e.data("one"))
}

// TestDriftIgnored looks at nothing that a rule or a marker names, and releases it all the same.
func TestDriftIgnored(t *testing.T) {
	t.Parallel()

	e := newEnv(t)
	e.publish("1.0.0", map[string]string{
		"one": one, "two": strings.Replace(two, "{name: two}", "{name: two, annotations: {"+v2.DriftDetectionMark+": disabled}}", 1),
	})
	e.declare(detects(v2.DriftDetectionEnabled, meta.IgnoreRule{Paths: []string{"/data/more"}, Target: &meta.Selector{Kind: "ConfigMap", Name: "o.*"}}))
	same(t, "Drifted", undrifted, e.condition(e.once(), v2.DriftedCondition))
	e.told()

	e.patch("two", `{"data":{"key":"edited"}}`)
	e.patch("one", `{"data":{"more":"edited"}}`)
	e.patch("one", `{"data":{"key":"edited"}}`)
	same(t, "events", []string{
		detected + "ConfigMap/NS/one changed (0 additions, 1 changes, 0 removals)\nConfigMap/NS/two excluded", put + "ConfigMap/NS/one configured",
	}, e.awaken("edited", func(*v2.HelmRelease) bool { return e.data("one") == "wanted" }))

	obj := &corev1.ConfigMap{}
	must(t, e.c.Get(t.Context(), types.NamespacedName{Namespace: e.namespace, Name: "one"}, obj))
	same(t, "fields", map[string]string{"key": "wanted", "more": "edited"}, obj.Data)
	same(t, "excluded", "edited", e.data("two"))

	e.edit(func(obj *v2.HelmRelease) { obj.Spec.Values = inline(`{"a":1}`) })
	e.once()
	same(t, "an upgrade applies all", "wanted", e.data("two"))
	must(t, e.c.Get(t.Context(), types.NamespacedName{Namespace: e.namespace, Name: "one"}, obj))
	same(t, "fields", map[string]string{"key": "wanted", "more": "wanted"}, obj.Data)
}

// TestDriftDisabled holds that nobody watches the objects of a release whose drift nobody wants to know.
func TestDriftDisabled(t *testing.T) {
	t.Parallel()

	e := newEnv(t)
	e.publish("1.0.0", map[string]string{"one": one})
	e.declare(nil)
	e.once()

	watched := func() int {
		r := e.hub.Report(helm.Owner(types.NamespacedName{Namespace: e.namespace, Name: "app"}).ID, nil)

		return len(r.Current) + len(r.InProgress) + len(r.Failed) + len(r.Unknown)
	}
	same(t, "watched", 0, watched())

	e.patch("one", `{"data":{"key":"edited"}}`)
	e.once()
	same(t, "it stays", "edited", e.data("one"))
	same(t, "Drifted", "none", e.condition(e.get(), v2.DriftedCondition))

	e.edit(func(obj *v2.HelmRelease) { detects(v2.DriftDetectionEnabled)(&obj.Spec) })
	e.once()
	same(t, "when it is switched on", "wanted", e.data("one"))
	same(t, "watched", 1, watched())

	e.edit(func(obj *v2.HelmRelease) { obj.Spec.DriftDetection = nil })
	e.once()
	same(t, "watched", 0, watched())
	same(t, "Drifted", "none", e.condition(e.get(), v2.DriftedCondition))
}

// TestDriftRefused says what cannot be put back, and puts back the rest.
func TestDriftRefused(t *testing.T) {
	t.Parallel()

	e := newEnv(t)
	e.publish("1.0.0", map[string]string{"one": "immutable: true\n" + one, "two": two})
	e.declare(detects(v2.DriftDetectionEnabled))
	e.once()
	e.told()

	e.remove("one")
	e.create(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{
		Namespace: e.namespace, Name: "one", Labels: map[string]string{v2.OwnerNameLabel: "app", v2.OwnerNamespaceLabel: e.namespace},
	}, Data: map[string]string{"key": "other"}, Immutable: new(true)})
	e.patch("two", `{"data":{"key":"edited"}}`)
	e.awaken("the rest", func(*v2.HelmRelease) bool { return e.data("two") == "wanted" })

	ready := e.condition(e.get(), meta.ReadyCondition)
	if !strings.HasPrefix(ready, "False StateError: ") || !strings.Contains(ready, "ConfigMap/NS/one") || !strings.Contains(ready, "immutable") {
		t.Errorf("Ready is %q", ready)
	}

	e.remove("one")
	e.awaken("it comes back", func(obj *v2.HelmRelease) bool {
		return e.data("one") == "wanted" && engine.IsTrue(obj, meta.ReadyCondition)
	})
}

// TestDriftAsTenant needs the rights of the service account, and says which are missing.
func TestDriftAsTenant(t *testing.T) {
	t.Parallel()

	e := newEnv(t)
	e.publish("1.0.0", map[string]string{"one": one})
	e.create(&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace, Name: "tenant"}})

	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace, Name: "tenant"}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"secrets", "configmaps"}, Verbs: []string{"*"}},
	}}
	e.create(role)
	e.create(&rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace, Name: "tenant"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "tenant"},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: e.namespace, Name: "tenant"}},
	})
	e.declare(func(spec *v2.HelmReleaseSpec) {
		spec.ServiceAccountName = "tenant"
		detects(v2.DriftDetectionEnabled)(spec)
	})

	e.until("installed", func(obj *v2.HelmRelease) bool { return engine.IsTrue(obj, meta.ReadyCondition) })

	role.Rules = append(role.Rules, rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"get"}})
	role.Rules[0].Resources = []string{"secrets"}
	must(t, e.c.Update(t.Context(), role))
	e.patch("one", `{"data":{"key":"edited"}}`)
	e.until("refused", func(obj *v2.HelmRelease) bool {
		ready := e.condition(obj, meta.ReadyCondition)

		return strings.HasPrefix(ready, "False StateError: ") && strings.Contains(ready, "cannot patch resource")
	})
	same(t, "it stays", "edited", e.data("one"))

	role.Rules[0].Resources = []string{"secrets", "configmaps"}
	must(t, e.c.Update(t.Context(), role))
	e.until("corrected", func(obj *v2.HelmRelease) bool {
		return e.data("one") == "wanted" && engine.IsTrue(obj, meta.ReadyCondition)
	})
}

// until runs the HelmRelease until it is as wanted: what the API server lets an account do changes some time after its roles.
func (e *env) until(what string, wanted func(*v2.HelmRelease) bool) {
	e.t.Helper()

	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()

	for deadline := time.After(time.Minute); !wanted(e.once()); {
		select {
		case <-tick.C:
		case <-deadline:
			e.t.Fatalf("%s: not in time: %v", what, e.get().Status.Conditions)
		}
	}
}
