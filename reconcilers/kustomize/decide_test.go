package kustomize

import (
	"strings"
	"testing"
	"time"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/apply"
	"github.com/weir-dev/weir/reconcilers/health"
)

func TestDecide(t *testing.T) {
	steady := observed{inputs: "a", known: "a", clean: true, unchecked: time.Minute, due: time.Hour}
	with := func(change func(*observed)) observed {
		o := steady
		change(&o)

		return o
	}

	cases := map[string]struct {
		reason string
		in     observed
		want   decision
	}{
		"Steady":    {"What is as it was applied needs nothing.", steady, decision{}},
		"First":     {"A process that knows nothing has to look.", with(func(o *observed) { o.known = "" }), decision{work: true}},
		"FirstLong": {"The check of everything does not come on top of the first apply.", with(func(o *observed) { o.known, o.unchecked = "", 2*time.Hour }), decision{work: true}},
		"Changed":   {"Another artifact, spec or variable has to be applied.", with(func(o *observed) { o.inputs = "b" }), decision{work: true}},
		"Drifted":   {"What is not as it was applied is put back.", with(func(o *observed) { o.clean = false }), decision{work: true}},
		"Asked":     {"Who asks wants to know.", with(func(o *observed) { o.asked = true }), decision{work: true, full: true}},
		"Outdated":  {"What lies on other servers is looked at again.", with(func(o *observed) { o.outdated = true }), decision{work: true}},
		"Due":       {"Everything is checked now and then.", with(func(o *observed) { o.unchecked = time.Hour }), decision{work: true, full: true}},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := decide(tc.in); got != tc.want {
				t.Errorf("%s\ndecide(): %+v, want %+v", tc.reason, got, tc.want)
			}
		})
	}
}

func condition(kind, name string, s status.Status) health.Condition {
	return health.Condition{ID: access.ID{Group: "apps", Kind: kind, Namespace: "ns", Name: name}, Status: s}
}

func TestJudge(t *testing.T) {
	current := condition("Deployment", "ok", status.CurrentStatus)
	progress := condition("Deployment", "b", status.InProgressStatus)
	missing := condition("Deployment", "a", status.NotFoundStatus)
	unknown := condition("StatefulSet", "u", status.UnknownStatus)
	bad := condition("Job", "j", status.FailedStatus)

	cases := map[string]struct {
		reason  string
		report  health.Report
		elapsed time.Duration
		patient bool
		want    judgement
	}{
		"Healthy": {"All current.", health.Report{Current: []health.Condition{current}}, time.Hour, false, judgement{passed: true}},
		"Progressing": {
			"There is time left.", health.Report{InProgress: []health.Condition{progress}}, 10 * time.Second, false,
			judgement{after: 20 * time.Second},
		},
		"Unknown": {
			"What was not seen yet is not healthy.", health.Report{Unknown: []health.Condition{unknown}}, 0, false,
			judgement{after: 30 * time.Second},
		},
		"Blind": {
			"Nobody wakes for what cannot be watched.",
			health.Report{InProgress: []health.Condition{progress}, Blind: []access.ID{progress.ID}}, 0, false,
			judgement{after: lookAgain},
		},
		"Failed": {
			"A failure ends the wait at once, and only what failed is named.",
			health.Report{Failed: []health.Condition{bad}, InProgress: []health.Condition{progress}}, 1234567890 * time.Nanosecond, false,
			judgement{failure: "health check failed after 1.2s: failed early due to stalled resources: [Job/ns/j status: 'Failed']"},
		},
		"FailedPatiently": {
			"Without failing fast, the others are waited for.",
			health.Report{Failed: []health.Condition{bad}, InProgress: []health.Condition{progress}}, 10 * time.Second, true,
			judgement{after: 20 * time.Second},
		},
		"AllFailedPatiently": {
			"There is nothing to wait for when each is current or failed.",
			health.Report{Failed: []health.Condition{bad}, Current: []health.Condition{current}}, 10 * time.Second, true,
			judgement{failure: "health check failed after 10s: failed early due to stalled resources: [Job/ns/j status: 'Failed']"},
		},
		"TimeoutPatiently": {
			"At the deadline those that failed are named, too.",
			health.Report{Failed: []health.Condition{bad}, InProgress: []health.Condition{progress}}, 30 * time.Second, true,
			judgement{failure: "health check failed after 30s: timeout waiting for: [Deployment/ns/b status: 'InProgress', Job/ns/j status: 'Failed']"},
		},
		"Timeout": {
			"At the deadline everything that is missing is named.",
			health.Report{InProgress: []health.Condition{missing, progress}, Unknown: []health.Condition{unknown}}, 30*time.Second + time.Millisecond, false,
			judgement{failure: "health check failed after 30s: timeout waiting for: " +
				"[Deployment/ns/a status: 'NotFound', Deployment/ns/b status: 'InProgress', StatefulSet/ns/u status: 'Unknown']"},
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := judge(tc.report, tc.elapsed, 30*time.Second, !tc.patient)
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(judgement{})); diff != "" {
				t.Errorf("%s\njudge(): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestSameFailure(t *testing.T) {
	cases := map[string]struct {
		reason string
		a, b   string
		want   bool
	}{
		"Duration": {"Only the duration differs.", "health check failed after 1s: x: [a]", "health check failed after 2s: x: [a]", true},
		"Objects":  {"Others failed.", "health check failed after 1s: x: [a]", "health check failed after 1s: x: [b]", false},
		"NoColon":  {"What cannot be compared differs.", "a", "a", false},
	}

	for name, tc := range cases {
		if got := sameFailure(tc.a, tc.b); got != tc.want {
			t.Errorf("%s: %s\nsameFailure(): %v, want %v", name, tc.reason, got, tc.want)
		}
	}
}

// built is a Kustomization of generation 1 that has applied revision "r".
func built(change func(*kustomizev1.Kustomization)) *kustomizev1.Kustomization {
	obj := &kustomizev1.Kustomization{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "app", Generation: 1},
		Spec: kustomizev1.KustomizationSpec{
			SourceRef: kustomizev1.CrossNamespaceSourceReference{Kind: "GitRepository", Name: "repo"},
			Prune:     true, Interval: metav1.Duration{Duration: time.Minute},
		},
		Status: kustomizev1.KustomizationStatus{
			ObservedGeneration: 1, LastAppliedRevision: "r", LastAttemptedRevision: "r",
			History:    meta.History{{Digest: "d"}},
			Conditions: []metav1.Condition{{Type: meta.ReadyCondition, Status: metav1.ConditionTrue}},
		},
	}
	if change != nil {
		change(obj)
	}

	return obj
}

func TestConfirms(t *testing.T) {
	cases := map[string]struct {
		reason string
		change func(*kustomizev1.Kustomization)
		want   bool
	}{
		"Known":      {"The status says it all.", nil, true},
		"NotReady":   {"The object becomes ready.", func(k *kustomizev1.Kustomization) { k.Status.Conditions = nil }, false},
		"Generation": {"The spec changed.", func(k *kustomizev1.Kustomization) { k.Generation = 2 }, false},
		"Revision":   {"The revision changed.", func(k *kustomizev1.Kustomization) { k.Status.LastAppliedRevision = "q" }, false},
		"Attempted":  {"Another revision was tried.", func(k *kustomizev1.Kustomization) { k.Status.LastAttemptedRevision = "q" }, false},
		"Asked": {"Somebody asked.", func(k *kustomizev1.Kustomization) {
			k.Annotations = map[string]string{meta.ReconcileRequestAnnotation: "now"}
		}, false},
		"Set": {"Variables made another set.", func(k *kustomizev1.Kustomization) { k.Status.History[0].Digest = "q" }, false},
		"Answered": {"The request was answered.", func(k *kustomizev1.Kustomization) {
			k.Annotations = map[string]string{meta.ReconcileRequestAnnotation: "now"}
			k.Status.LastHandledReconcileAt = "now"
		}, true},
	}

	for name, tc := range cases {
		if got := confirms(built(tc.change), &meta.Artifact{Revision: "r"}, "d"); got != tc.want {
			t.Errorf("%s: %s\nconfirms(): %v, want %v", name, tc.reason, got, tc.want)
		}
	}

	if confirms(built(nil), &meta.Artifact{Revision: "r", Metadata: map[string]string{originRevision: "o"}}, "d") {
		t.Error("an origin revision that the status lacks is news")
	}
}

func TestReadyDependency(t *testing.T) {
	other := func(k *kustomizev1.Kustomization) { k.Spec.SourceRef.Name = "other" }
	cases := map[string]struct {
		reason string
		change func(*kustomizev1.Kustomization)
		want   string
	}{
		"Ready":         {"It has applied the revision.", nil, ""},
		"NoConditions":  {"It never ran.", func(k *kustomizev1.Kustomization) { k.Status = kustomizev1.KustomizationStatus{ObservedGeneration: 1} }, "dependency 'ns/app' is not ready"},
		"OldGeneration": {"Its spec was not observed.", func(k *kustomizev1.Kustomization) { k.Generation = 2 }, "dependency 'ns/app' is not ready"},
		"NotReady": {"It is not ready.", func(k *kustomizev1.Kustomization) {
			k.Status.Conditions[0].Status = metav1.ConditionFalse
		}, "dependency 'ns/app' is not ready"},
		"OldRevision": {"It is behind in the same source.", func(k *kustomizev1.Kustomization) { k.Status.LastAppliedRevision = "q" }, "dependency 'ns/app' revision is not up to date"},
		"ExplicitNamespace": {"The same source can be named with its namespace.", func(k *kustomizev1.Kustomization) {
			k.Spec.SourceRef.Namespace, k.Status.LastAppliedRevision = "ns", "q"
		}, "dependency 'ns/app' revision is not up to date"},
		"OtherSource": {"Revisions of other sources do not compare.", func(k *kustomizev1.Kustomization) {
			other(k)
			k.Status.LastAppliedRevision = "q"
		}, ""},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := ""
			if err := ready(built(nil), built(tc.change), "r"); err != nil {
				got = err.Error()
			}

			if got != tc.want {
				t.Errorf("%s\nready(): %q, want %q", tc.reason, got, tc.want)
			}
		})
	}
}

func TestRemovalOf(t *testing.T) {
	cases := map[string]struct {
		reason  string
		policy  string
		prune   bool
		suspend bool
		want    removal
	}{
		"Default":        {"Without a policy, prune decides.", "", true, false, deleteAll},
		"DefaultKeep":    {"Without prune, everything stays.", "", false, false, leave},
		"MirrorPrune":    {"It mirrors prune.", kustomizev1.DeletionPolicyMirrorPrune, true, false, deleteAll},
		"Delete":         {"It deletes without prune too.", kustomizev1.DeletionPolicyDelete, false, false, deleteAll},
		"Wait":           {"It deletes and waits.", kustomizev1.DeletionPolicyWaitForTermination, false, false, deleteAndWait},
		"Orphan":         {"Everything stays.", kustomizev1.DeletionPolicyOrphan, true, false, leave},
		"Suspended":      {"A suspended object deletes nothing.", kustomizev1.DeletionPolicyDelete, true, true, leave},
		"UnknownPolicy":  {"What is not known deletes nothing.", "Other", true, false, leave},
		"SuspendedOther": {"Under any policy.", kustomizev1.DeletionPolicyWaitForTermination, true, true, leave},
	}

	for name, tc := range cases {
		obj := built(func(k *kustomizev1.Kustomization) {
			k.Spec.DeletionPolicy, k.Spec.Prune, k.Spec.Suspend = tc.policy, tc.prune, tc.suspend
		})
		if got := removalOf(obj); got != tc.want {
			t.Errorf("%s: %s\nremovalOf(): %v, want %v", name, tc.reason, got, tc.want)
		}
	}
}

func TestKeys(t *testing.T) {
	obj := built(func(k *kustomizev1.Kustomization) {
		k.Spec.DependsOn = []meta.DependencyReference{{Name: "a"}, {Name: "b", Namespace: "other"}}
		k.Spec.PostBuild = &kustomizev1.PostBuild{SubstituteFrom: []kustomizev1.SubstituteReference{
			{Kind: "ConfigMap", Name: "c"}, {Kind: "Secret", Name: "s"}, {Kind: "ConfigMap", Name: "d"},
		}}
	})

	if kind, key := SourceKey(obj); kind != "GitRepository" || key.String() != "ns/repo" {
		t.Errorf("SourceKey(): %s %s", kind, key)
	}

	for name, tc := range map[string]struct{ got, want []types.NamespacedName }{
		"Dependencies": {DependencyKeys(obj), []types.NamespacedName{{Namespace: "ns", Name: "a"}, {Namespace: "other", Name: "b"}}},
		"ConfigMaps":   {ConfigKeys(obj, "ConfigMap"), []types.NamespacedName{{Namespace: "ns", Name: "c"}, {Namespace: "ns", Name: "d"}}},
		"Secrets":      {ConfigKeys(obj, "Secret"), []types.NamespacedName{{Namespace: "ns", Name: "s"}}},
		"None":         {ConfigKeys(built(nil), "Secret"), nil},
	} {
		if diff := cmp.Diff(tc.want, tc.got); diff != "" {
			t.Errorf("%s: -want, +got:\n%s", name, diff)
		}
	}
}

func TestInventory(t *testing.T) {
	ref := func(name, version string) access.Ref {
		return access.Ref{ID: access.ID{Group: "apps", Kind: "Deployment", Namespace: "ns", Name: name}, Version: version}
	}

	got := inventory([]access.Ref{ref("b", "v1"), ref("a", "v1")}, []access.Ref{ref("c", "v1"), ref("a", "v1beta1")})
	want := &meta.ResourceInventory{Entries: []meta.ResourceRef{
		{ID: "ns_a_apps_Deployment", Version: "v1"},
		{ID: "ns_b_apps_Deployment", Version: "v1"},
		{ID: "ns_c_apps_Deployment", Version: "v1"},
	}}

	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("inventory(): -want, +got:\n%s", diff)
	}

	if diff := cmp.Diff([]access.Ref{ref("c", "v1")}, difference(
		[]access.Ref{ref("a", "v1beta1"), ref("c", "v1"), ref("c", "v1")}, references(got)[:2])); diff != "" {
		t.Errorf("difference(): -want, +got:\n%s", diff)
	}

	if got := references(nil); got != nil {
		t.Errorf("references(nil): %v", got)
	}
}

func TestAppliedBy(t *testing.T) {
	since := time.Unix(1000, 0)
	entry := func(manager string, op metav1.ManagedFieldsOperationType, sub string) metav1.ManagedFieldsEntry {
		return metav1.ManagedFieldsEntry{Manager: manager, Operation: op, Subresource: sub, Time: &metav1.Time{Time: since}}
	}
	earlier := entry(Controller, "Apply", "")
	earlier.Time = &metav1.Time{Time: since.Add(-time.Second)}
	controlled := true

	cases := map[string]struct {
		reason string
		meta   metav1.ObjectMeta
		want   bool
	}{
		"Applied":  {"It applied the object.", metav1.ObjectMeta{ManagedFields: []metav1.ManagedFieldsEntry{entry(Controller, "Apply", "")}}, true},
		"Updated":  {"Somebody used its name.", metav1.ObjectMeta{ManagedFields: []metav1.ManagedFieldsEntry{entry(Controller, "Update", "")}}, false},
		"Status":   {"Only the status is its.", metav1.ObjectMeta{ManagedFields: []metav1.ManagedFieldsEntry{entry(Controller, "Apply", "status")}}, false},
		"Copied":   {"A controller copied the labels.", metav1.ObjectMeta{ManagedFields: []metav1.ManagedFieldsEntry{entry("other", "Apply", "")}}, false},
		"Before":   {"It applied the object before.", metav1.ObjectMeta{ManagedFields: []metav1.ManagedFieldsEntry{earlier}}, false},
		"Nobody":   {"Nobody knows.", metav1.ObjectMeta{}, false},
		"Governed": {"A controller owns it.", metav1.ObjectMeta{OwnerReferences: []metav1.OwnerReference{{Controller: &controlled}}, ManagedFields: []metav1.ManagedFieldsEntry{entry(Controller, "Apply", "")}}, false},
	}

	for name, tc := range cases {
		if got := appliedBy(&metav1.PartialObjectMetadata{ObjectMeta: tc.meta}, Controller, since); got != tc.want {
			t.Errorf("%s: %s\nappliedBy(): %v, want %v", name, tc.reason, got, tc.want)
		}
	}
}

func TestVanishing(t *testing.T) {
	job := func(name, group string, spec map[string]any) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": group + "/v1", "kind": "Job",
			"metadata": map[string]any{"name": name, "namespace": "ns"}, "spec": spec,
		}}
	}

	got := vanishing([]*unstructured.Unstructured{
		job("stays", "batch", map[string]any{}),
		job("goes", "batch", map[string]any{"ttlSecondsAfterFinished": int64(0)}),
		job("other", "example.org", map[string]any{"ttlSecondsAfterFinished": int64(0)}),
	})

	want := []access.ID{{Group: "batch", Kind: "Job", Namespace: "ns", Name: "goes"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("vanishing(): -want, +got:\n%s", diff)
	}
}

func TestSpread(t *testing.T) {
	seen := map[time.Duration]bool{}

	for name := range strings.SplitSeq("abcdefghij", "") {
		d := spread(time.Hour, name)
		if d < 48*time.Minute || d > 72*time.Minute || d != spread(time.Hour, name) {
			t.Errorf("spread(%q): %s", name, d)
		}

		seen[d] = true
	}

	if len(seen) < 5 {
		t.Errorf("ten names are spread over %d durations only", len(seen))
	}
}

func TestEncrypted(t *testing.T) {
	secret := func(apiVersion string, sops any) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": apiVersion, "kind": "Secret", "metadata": map[string]any{"name": "s", "namespace": "ns"}, "sops": sops,
		}}
	}

	if err := encrypted([]*unstructured.Unstructured{secret("v1", nil), secret("other/v1", map[string]any{})}); err != nil {
		t.Errorf("encrypted(): %v", err)
	}

	err := encrypted([]*unstructured.Unstructured{secret("v1", map[string]any{"mac": "x"})})
	want := "Secret/ns/s is SOPS encrypted, configuring decryption is required for this secret to be reconciled"

	if err == nil || err.Error() != want {
		t.Errorf("encrypted(): %v, want %s", err, want)
	}
}

func TestEverything(t *testing.T) {
	change := func(name string, a apply.Action) apply.Change {
		return apply.Change{Ref: access.Ref{ID: access.ID{Kind: "ConfigMap", Namespace: "ns", Name: name}}, Action: a}
	}

	got := everything(apply.Changes{change("a", apply.Deleted), change("b", apply.Skipped)})
	if want := "ConfigMap/ns/a deleted\nConfigMap/ns/b skipped"; got != want {
		t.Errorf("everything(): %q, want %q", got, want)
	}
}

func TestMemory(t *testing.T) {
	var m memory

	obj := built(func(k *kustomizev1.Kustomization) { k.UID = "1" })
	known := m.of(obj)
	known.inputs = "x"

	if m.of(obj) != known {
		t.Error("the memo of an object is forgotten")
	}

	start := time.Now()
	key := attemptOf(obj, &meta.Artifact{Revision: "r", Digest: "d"}, nil, "")
	first := known.begin(key, start)

	if again := known.begin(key, start.Add(time.Hour)); again != first || !again.began.Equal(start) {
		t.Error("an attempt that goes on begins anew")
	}

	next := attemptOf(obj, &meta.Artifact{Revision: "r2", Digest: "d"}, nil, "")
	if known.begin(next, start) == first {
		t.Error("another revision does not supersede the attempt")
	}

	if attemptOf(obj, &meta.Artifact{Revision: "r", Digest: "d"}, nil, "keys") == key {
		t.Error("other keys are no other attempt")
	}

	reborn := built(func(k *kustomizev1.Kustomization) { k.UID = "2" })
	if m.of(reborn).inputs != "" {
		t.Error("an object takes over the memo of another one of its name")
	}

	m.drop(client.ObjectKeyFromObject(reborn))

	if len(m.memos) != 0 {
		t.Error("a dropped memo stays")
	}
}

func TestOutdated(t *testing.T) {
	now := time.Now()

	for name, tc := range map[string]struct {
		fetched time.Time
		want    bool
	}{
		"Nothing": {time.Time{}, false}, "Now": {now, false}, "Soon": {now.Add(-50 * time.Second), false},
		"Interval": {now.Add(-time.Minute), true}, "Jitter": {now.Add(-57 * time.Second), true},
	} {
		if got := outdated(tc.fetched, now, time.Minute); got != tc.want {
			t.Errorf("%s: outdated(): %v, want %v", name, got, tc.want)
		}
	}
}
