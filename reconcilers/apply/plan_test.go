package apply

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/health"
)

func tester() Owner {
	return Owner{
		ID:     access.ID{Group: "kustomize.toolkit.fluxcd.io", Kind: "Kustomization", Namespace: "ns", Name: "app"},
		Prefix: "kustomize.toolkit.fluxcd.io", Manager: "kustomize-controller",
	}
}

func parse(t testing.TB, docs string) []*unstructured.Unstructured {
	t.Helper()
	var out []*unstructured.Unstructured
	for doc := range strings.SplitSeq(docs, "\n---\n") {
		u := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(doc), &u.Object); err != nil {
			t.Fatal(err)
		}
		out = append(out, u)
	}
	return out
}

// serves answers as a cluster that has all kinds but Nothing.
func serves(_ context.Context, gk schema.GroupKind, version string) (access.Mapping, error) {
	if gk.Kind == "Nothing" {
		return access.Mapping{}, &apimeta.NoKindMatchError{GroupKind: gk, SearchedVersions: []string{version}}
	}
	m := access.Mapping{Kind: gk.Kind, Namespaced: !strings.HasPrefix(gk.Kind, "Cluster") && gk.Kind != "Namespace" && gk.Kind != "CustomResourceDefinition"}
	return m, nil
}

func prepared(t testing.TB, docs string, o Options) []desired {
	t.Helper()
	out, refused, err := prepare(t.Context(), tester(), parse(t, docs), serves, o)
	if err != nil || len(refused) > 0 {
		t.Fatalf("prepare: %v, %v", err, refused)
	}
	return out
}

func TestPrepare(t *testing.T) {
	const labels = `"labels":{"kustomize.toolkit.fluxcd.io/name":"app","kustomize.toolkit.fluxcd.io/namespace":"ns"}`
	cases := map[string]struct {
		reason, in string
		options    Options
		want       []string
	}{
		"Labels": {
			"owner labels win over those of the set and of the caller",
			"{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: one, labels: {x: one, kustomize.toolkit.fluxcd.io/name: z}}}",
			Options{Labels: map[string]string{"x": "z", "kustomize.toolkit.fluxcd.io/name": "z"}, Annotations: map[string]string{"k": "v"}},
			[]string{`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"annotations":{"k":"v"},"labels":{"kustomize.toolkit.fluxcd.io/name":"app","kustomize.toolkit.fluxcd.io/namespace":"ns","x":"z"},"name":"a","namespace":"one"}}`},
		},
		"Status": {
			"status, creation times and managed fields are not desired",
			"{apiVersion: apps/v1, kind: Deployment, metadata: {name: a, namespace: one, creationTimestamp: null, managedFields: []}, spec: {template: {metadata: {creationTimestamp: null, labels: {a: b}}}}, status: {}}",
			Options{},
			[]string{`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{` + labels + `,"name":"a","namespace":"one"},"spec":{"template":{"metadata":{"labels":{"a":"b"}}}}}`},
		},
		"List": {
			"lists are expanded, however deep",
			"{apiVersion: v1, kind: List, items: [{apiVersion: v1, kind: ConfigMap, metadata: {name: b, namespace: one}}, {apiVersion: v1, kind: ConfigMapList, items: [{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: one}}]}]}",
			Options{},
			[]string{
				`{"apiVersion":"v1","kind":"ConfigMap","metadata":{` + labels + `,"name":"a","namespace":"one"}}`,
				`{"apiVersion":"v1","kind":"ConfigMap","metadata":{` + labels + `,"name":"b","namespace":"one"}}`,
			},
		},
		"Secret": {
			"the plain strings of a Secret are its data",
			"{apiVersion: v1, kind: Secret, metadata: {name: a, namespace: one}, data: {a: YQ==, b: Yg==}, stringData: {b: c}}",
			Options{},
			[]string{`{"apiVersion":"v1","data":{"a":"YQ==","b":"Yw=="},"kind":"Secret","metadata":{` + labels + `,"name":"a","namespace":"one"}}`},
		},
		"BadSecret": {
			"what is wrong with them is for the API server to say",
			"{apiVersion: v1, kind: Secret, metadata: {name: a, namespace: one}, stringData: {b: 1}}",
			Options{},
			[]string{`{"apiVersion":"v1","kind":"Secret","metadata":{` + labels + `,"name":"a","namespace":"one"},"stringData":{"b":1}}`},
		},
		"BadLabel": {
			"a label that is no string is for the API server to refuse",
			"{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: one, labels: {x: true}}}",
			Options{},
			[]string{`{"apiVersion":"v1","kind":"ConfigMap","metadata":{` + strings.TrimSuffix(labels, "}") + `,"x":true},"name":"a","namespace":"one"}}`},
		},
		"ClusterScoped": {
			"cluster-scoped objects have no namespace",
			"{apiVersion: v1, kind: Namespace, metadata: {name: a, namespace: one}}",
			Options{},
			[]string{`{"apiVersion":"v1","kind":"Namespace","metadata":{` + labels + `,"name":"a"}}`},
		},
		"Bundle": {
			"a placeholder for a certificate bundle is left out",
			"{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: a}, spec: {conversion: {webhook: {clientConfig: {caBundle: Cg==, url: u}}}}}",
			Options{},
			[]string{`{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{` + labels + `,"name":"a"},"spec":{"conversion":{"webhook":{"clientConfig":{"url":"u"}}}}}`},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			in := parse(t, c.in)
			before, err := json.Marshal(in)
			if err != nil {
				t.Fatal(err)
			}
			out, refused, err := prepare(t.Context(), tester(), in, serves, c.options)
			if err != nil || len(refused) > 0 {
				t.Fatal(err, refused)
			}
			var got []string
			for _, d := range out {
				got = append(got, string(d.body))
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", c.reason, diff)
			}
			if after, _ := json.Marshal(in); string(after) != string(before) {
				t.Errorf("the set was changed:\n%s\n%s", before, after)
			}
		})
	}
}

func TestPrepareRefuses(t *testing.T) {
	const a = "{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: one}}"
	cases := map[string]struct{ reason, in, want string }{
		"Twice":       {"an object is in a set once", a + "\n---\n" + a, "ConfigMap/one/a is in the set more than once"},
		"NoName":      {"an object has a name", "{apiVersion: v1, kind: ConfigMap}", `an object of the set has no apiVersion, kind or name: "ConfigMap/"`},
		"NoKind":      {"no kind, no place", "{apiVersion: example.com/v1, kind: Nothing, metadata: {name: a, namespace: one}}", `Nothing/one/a dry-run failed: no matches for kind "Nothing" in version "example.com/v1"`},
		"NoNamespace": {"a namespace is not made up", "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}", "ConfigMap/a namespace not specified: the server could not find the requested resource"},
		"BadList":     {"a list has objects", "{apiVersion: v1, kind: List, items: [1]}", "List has an item that is not an object"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, refused, err := prepare(t.Context(), tester(), parse(t, c.in), serves, Options{})
			if err == nil {
				err = refused.or()
			}
			if err == nil || err.Error() != c.want {
				t.Errorf("%s: got %v", c.reason, err)
			}
		})
	}
}

func TestDefinedKindsNeedNoCluster(t *testing.T) {
	out := prepared(t, `{apiVersion: example.com/v1, kind: Nothing, metadata: {name: a, namespace: one}}
---
{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: a}, spec: {group: example.com, scope: Cluster, names: {kind: Nothing}}}`, Options{})
	if got := fmt.Sprint(out[0].ID, " ", out[1].ID); got != "CustomResourceDefinition/a Nothing/a" {
		t.Errorf("got %s", got)
	}
}

func TestOrder(t *testing.T) {
	ids := func(kinds ...string) []access.ID {
		var out []access.ID
		for _, k := range kinds {
			group, kind, _ := strings.Cut(k, "/")
			if kind == "" {
				group, kind = "", group
			}
			out = append(out, access.ID{Group: group, Kind: kind, Name: "x"})
		}
		return out
	}
	want := ids("CustomResourceDefinition", "Namespace", "ClusterRole", "ClusterClass", "RuntimeClass", "StorageClass", "x.io/OtherClass",
		"example.com/Early", "ClusterRoleBinding", "ResourceQuota", "ServiceAccount", "Role", "RoleBinding", "ConfigMap", "Secret", "Service",
		"LimitRange", "Deployment", "StatefulSet", "CronJob", "PodDisruptionBudget", "Pod", "a.io/Zebra", "b.io/Ape",
		"MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")
	o := newOrder([]schema.GroupKind{{Group: "example.com", Kind: "Early"}})
	for i := range want[1:] {
		if o.compare(want[i], want[i+1]) >= 0 || o.compare(want[i+1], want[i]) <= 0 {
			t.Errorf("%s does not come before %s", want[i].Kind, want[i+1].Kind)
		}
	}
	var got [][]string
	for _, w := range waves(o, want, func(id access.ID) access.ID { return id }) {
		got = append(got, []string{w[0].Kind, w[len(w)-1].Kind})
	}
	if diff := cmp.Diff([][]string{
		{"CustomResourceDefinition", "ClusterRole"}, {"ClusterClass", "StorageClass"}, {"OtherClass", "OtherClass"}, {"Early", "Early"},
		{"ClusterRoleBinding", "LimitRange"}, {"Deployment", "Ape"}, {"MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"},
	}, got); diff != "" {
		t.Errorf("waves (-want +got):\n%s", diff)
	}
}

func TestDrift(t *testing.T) {
	o := tester()
	base := func(edit func(*health.Live)) *health.Live {
		l := &health.Live{
			UID: "u", ResourceVersion: "5", Generation: 1, Labels: o.Labels(),
			Managers: []health.Manager{{Name: o.Manager, Applied: true, Time: 100, Fields: 7}},
		}
		if edit != nil {
			edit(l)
		}
		return l
	}
	manager := func(name string, applied bool) func(*health.Live) {
		return func(l *health.Live) {
			l.Managers = append(l.Managers, health.Manager{Name: name, Applied: applied, Time: 200})
		}
	}
	mark := func(key, value string) func(*health.Live) {
		return func(l *health.Live) { l.Annotations = map[string]string{key: value} }
	}
	const prefix = "kustomize.toolkit.fluxcd.io/"
	type want struct{ reason, manager string }
	cases := map[string]struct {
		reason string
		record record
		live   *health.Live
		want   want
	}{
		"Clean":    {"what is as it was is no drift", record{}, base(nil), want{}},
		"Status":   {"nor is a new version without a change of our fields", record{}, base(func(l *health.Live) { l.ResourceVersion = "9" }), want{}},
		"Scaled":   {"nor a generation that moved for fields of others", record{}, base(func(l *health.Live) { l.Generation = 8 }), want{}},
		"Gone":     {"what is gone is drift", record{}, nil, want{gone, ""}},
		"Vanished": {"unless it was to go", record{vanishes: true}, nil, want{}},
		"Deleting": {"what is going is not yet", record{}, base(func(l *health.Live) { l.Deleting = true; l.UID = "x" }), want{}},
		"Replaced": {"another object of the name is drift", record{}, base(func(l *health.Live) { l.UID = "x" }), want{replaced, ""}},
		"Fields":   {"so is a field that we have lost", record{}, base(func(l *health.Live) { l.Managers[0].Fields = 8; manager("rival", false)(l) }), want{changed, "rival"}},
		"Time":     {"so is an apply in our name", record{}, base(func(l *health.Live) { l.Managers[0].Time = 101 }), want{changed, ""}},
		"Stripped": {"so are managed fields that somebody has removed", record{}, base(func(l *health.Live) { l.Managers = nil }), want{changed, ""}},
		"Owner": {"so is the label of another owner", record{}, base(func(l *health.Live) {
			l.Labels = map[string]string{prefix + "name": "other", prefix + "namespace": "ns"}
		}), want{disowned, "ns/other"}},
		"Kubectl":      {"kubectl's fields do not stay", record{}, base(manager("kubectl-edit", false)), want{claimed, "kubectl-edit"}},
		"KubectlApply": {"however it wrote them", record{}, base(manager("kubectl", true)), want{claimed, "kubectl"}},
		"Merge":        {"unless they are to be merged", record{merge: true}, base(manager("kubectl-edit", false)), want{}},
		"Controller":   {"those of controllers do", record{}, base(manager("hpa", false)), want{}},
		"Extra":        {"those that the caller names do not", record{}, base(manager("extra", true)), want{claimed, "extra"}},
		"Disabled":     {"a marker keeps changes", record{}, base(func(l *health.Live) { l.UID = "x"; mark(prefix+"reconcile", "DISABLED")(l) }), want{}},
		"Ignored":      {"as does the other one", record{}, base(func(l *health.Live) { l.UID = "x"; mark(prefix+"ssa", "ignore")(l) }), want{}},
		"Released":     {"without it, the object is ours again", record{mode: excluded}, base(nil), want{released, ""}},
		"Exempt":       {"a marker in the set keeps everything", record{mode: exempt}, nil, want{}},
		"Initial":      {"what only had to be there may change", record{mode: initial}, base(func(l *health.Live) { l.UID = "x" }), want{}},
		"InitialGone":  {"but not go", record{mode: initial}, nil, want{gone, ""}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			c.record.uid, c.record.mark = "u", newMark(100, 7)
			reason, by := c.record.drift(o, o.takeovers([]Takeover{{Manager: "extra"}}), c.live)
			if diff := cmp.Diff(c.want, want{reason, by}, cmp.AllowUnexported(want{})); diff != "" {
				t.Errorf("%s (-want +got):\n%s", c.reason, diff)
			}
		})
	}
}

func TestPlan(t *testing.T) {
	o := tester()
	now := time.Unix(1000, 0)
	const docs = `{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: one}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: b, namespace: one}}`
	applied := func(version string) health.Live {
		return health.Live{
			UID: "u", ResourceVersion: version, Labels: o.Labels(),
			Managers: []health.Manager{{Name: o.Manager, Applied: true, Time: 100, Fields: 7}},
		}
	}
	edited := applied("6")
	edited.Managers = []health.Manager{{Name: o.Manager, Applied: true, Time: 100, Fields: 8}}
	ignored := applied("6")
	ignored.Annotations = map[string]string{o.Prefix + "/ssa": "Ignore"}
	type look struct {
		live health.Live
		k    health.Knowledge
	}
	present := look{applied("5"), health.Present}
	var digests []uint64 // of the set of the case
	reverted := func(a, b *record) { a.proven, b.proven = digests, digests }
	// The records are as of the set above; edit changes those of both objects.
	cases := map[string]struct {
		reason string
		docs   string
		edit   func(a, b *record)
		a, b   look
		full   bool
		want   []string
	}{
		"Clean":       {"what is as it was applied is left alone", docs, nil, present, present, false, []string{"clean", "clean"}},
		"First":       {"what is new is tried", docs, func(a, b *record) { a.uid, b.uid = "none", "none" }, look{k: health.Absent}, look{k: health.Absent}, false, []string{"try", "try"}},
		"OneChanged":  {"a single change of a known object is written", strings.Replace(docs, "{name: a", "{labels: {x: z}, name: a", 1), nil, present, present, false, []string{"write", "clean"}},
		"TwoChanged":  {"two are tried", strings.ReplaceAll(docs, "{name: ", "{labels: {x: z}, name: "), nil, present, present, false, []string{"try", "try"}},
		"Drifted":     {"what drifts is written, however many", docs, nil, look{edited, health.Present}, look{edited, health.Present}, false, []string{"correct", "correct"}},
		"Gone":        {"what is gone is looked at first", docs, nil, look{k: health.Absent}, present, false, []string{"correct try", "clean"}},
		"Marked":      {"a marker on the live object skips it", docs, nil, look{ignored, health.Present}, present, false, []string{"skip", "clean"}},
		"Behind":      {"our last answer is the latest news", docs, nil, look{k: health.Behind}, present, false, []string{"clean", "clean"}},
		"BehindWrite": {"also for a change", strings.Replace(docs, "{name: a", "{labels: {x: z}, name: a", 1), nil, look{k: health.Behind}, present, false, []string{"write", "clean"}},
		"Unknown":     {"as long as nothing was heard of, nothing has changed", docs, nil, look{k: health.Unknown}, present, false, []string{"clean", "clean"}},
		"Heard":       {"what was heard of counts", docs, func(a, _ *record) { a.dirty = changed }, look{k: health.Unknown}, present, false, []string{"correct try", "clean"}},
		"Blind":       {"what cannot be watched is looked at", docs, nil, look{k: health.Blind}, look{k: health.Blind}, false, []string{"try", "try"}},
		"Full":        {"a full check looks at everything", docs, nil, present, present, true, []string{"try", "try"}},
		"Fight":       {"a fight is slowed down", docs, func(a, _ *record) { a.fight.until = now.Add(time.Second) }, look{edited, health.Present}, present, false, []string{"slow", "clean"}},
		"FightOver":   {"but not for ever", docs, func(a, _ *record) { a.fight.until = now }, look{edited, health.Present}, present, false, []string{"correct", "clean"}},
		"FightNews":   {"nor against a change of what is desired", strings.Replace(docs, "{name: a", "{labels: {x: z}, name: a", 1), func(a, _ *record) { a.fight.until = now.Add(time.Second) }, look{edited, health.Present}, present, false, []string{"write", "clean"}},
		"Hidden":      {"what is excluded without our labels is remembered", docs, func(a, _ *record) { a.hidden, a.mode = true, excluded }, look{k: health.Absent}, present, false, []string{"skip", "clean"}},
		"Released":    {"what is no longer excluded is written", docs, func(a, _ *record) { a.mode = excluded }, present, present, false, []string{"write", "clean"}},
		"Disabled":    {"a marker in the set skips the object", strings.Replace(docs, "{name: a", "{labels: {kustomize.toolkit.fluxcd.io/reconcile: disabled}, name: a", 1), nil, look{k: health.Absent}, present, false, []string{"skip", "clean"}},
		"IfNotThere":  {"what is there already is skipped", strings.Replace(docs, "{name: a", "{labels: {kustomize.toolkit.fluxcd.io/ssa: IfNotPresent}, name: a", 1), nil, present, present, false, []string{"skip", "clean"}},
		"Reverted":    {"what was accepted before is not tried", strings.ReplaceAll(docs, "{name: ", "{labels: {x: z}, name: "), reverted, present, present, false, []string{"write", "write"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			records := map[access.ID]*record{}
			for _, d := range prepared(t, docs, Options{}) {
				r := &record{uid: "u", resourceVersion: "5", mark: newMark(100, 7)}
				r.accept(d.digest)
				records[d.ID] = r
			}
			set := prepared(t, c.docs, Options{})
			digests = []uint64{set[0].digest, set[1].digest}
			if c.edit != nil {
				c.edit(records[set[0].ID], records[set[1].ID])
			}
			for id, r := range records {
				if r.uid == "none" {
					delete(records, id)
				}
			}
			looks := map[string]look{"a": c.a, "b": c.b}
			see := func(id access.ID) (health.Live, health.Knowledge) { return looks[id.Name].live, looks[id.Name].k }
			var got []string
			for _, k := range plan(o, set, records, o.takeovers(nil), see, now, c.full) {
				got = append(got, say(k))
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", c.reason, diff)
			}
		})
	}
}

// say puts what is planned for an object into words.
func say(k *task) string {
	var words []string
	switch {
	case k.verdict == clean:
		return "clean"
	case k.verdict == skip:
		return "skip"
	case k.verdict == slow:
		return "slow"
	}
	if k.correct {
		words = append(words, "correct")
	}
	if k.try {
		words = append(words, "try")
	}
	if len(words) == 0 {
		return "write"
	}
	return strings.Join(words, " ")
}

func TestPlanFindsWhatHasToComeFirst(t *testing.T) {
	set := prepared(t, `{apiVersion: example.com/v1, kind: Gadget, metadata: {name: g, namespace: one}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: c, namespace: elsewhere}}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: b, namespace: one}, roleRef: {kind: ClusterRole, name: r}}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: l, namespace: one}, roleRef: {kind: Role, name: r}}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: r}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: one}}
---
{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: gs}, spec: {group: example.com, scope: Namespaced, names: {kind: Gadget}}}`, Options{})
	absent := func(access.ID) (health.Live, health.Knowledge) { return health.Live{}, health.Absent }
	got := map[string]string{}
	for _, k := range plan(tester(), set, nil, nil, absent, time.Unix(0, 0), false) {
		got[k.Name] = fmt.Sprint(k.after)
	}
	want := map[string]string{
		"gs": "[]", "one": "[]", "r": "[]", "c": "[]",
		"g": "[Namespace/one CustomResourceDefinition/gs]", "b": "[Namespace/one ClusterRole/r]", "l": "[Namespace/one]",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("what comes first (-want +got):\n%s", diff)
	}
}

func newMark(at int64, fields uint64) mark { return mark{time: at, fields: fields} }

func TestFight(t *testing.T) {
	now := time.Unix(100_000, 0)
	var f fight
	var delays []time.Duration
	for range 12 {
		f.correct(now)
		delays = append(delays, max(0, f.until.Sub(now)))
		if f.until.After(now) {
			now = f.until
		}
		now = now.Add(time.Second)
	}
	s := time.Second
	want := []time.Duration{0, 0, 0, 0, 10 * s, 20 * s, 40 * s, 80 * s, 160 * s, 320 * s, 640 * s, 1280 * s}
	if diff := cmp.Diff(want, delays); diff != "" {
		t.Errorf("delays (-want +got):\n%s", diff)
	}
	f.correct(now.Add(2 * fightWindow))
	if f.count != 1 {
		t.Errorf("after a long peace, the count is %d", f.count)
	}
}

func TestRewrite(t *testing.T) {
	entry := func(manager string, op metav1.ManagedFieldsOperationType, subresource, fields string) metav1.ManagedFieldsEntry {
		f := &metav1.FieldsV1{}
		f.SetRawBytes([]byte(fields))
		return metav1.ManagedFieldsEntry{Manager: manager, Operation: op, Subresource: subresource, APIVersion: "v1", FieldsType: "FieldsV1", FieldsV1: f}
	}
	o := tester()
	got, err := o.takeovers(nil).rewrite([]metav1.ManagedFieldsEntry{
		entry("kustomize-controller", "Apply", "", `{"f:data":{"f:a":{}}}`),
		entry("kubectl-edit", "Update", "", `{"f:data":{"f:b":{}}}`),
		entry("kubectl-edit", "Update", "status", `{"f:status":{}}`),
		entry("before-first-apply", "Update", "", `{"f:data":{"f:c":{}}}`),
		entry("before-first-apply", "Apply", "", `{"f:data":{"f:d":{}}}`),
		entry("kustomize-controller", "Update", "", `{"f:data":{"f:e":{}}}`),
		entry("hpa", "Update", "", `{"f:data":{"f:f":{}}}`),
	}, o.Manager)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, e := range got {
		lines = append(lines, fmt.Sprintf("%s %s %q %s", e.Manager, e.Operation, e.Subresource, e.FieldsV1.GetRawString()))
	}
	want := []string{
		`kubectl-edit Update "status" {"f:status":{}}`,
		`before-first-apply Apply "" {"f:data":{"f:d":{}}}`,
		`hpa Update "" {"f:data":{"f:f":{}}}`,
		`kustomize-controller Apply "" {"f:data":{"f:a":{},"f:b":{},"f:c":{},"f:e":{}}}`,
	}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Errorf("managed fields (-want +got):\n%s", diff)
	}
	if _, err := o.takeovers(nil).rewrite([]metav1.ManagedFieldsEntry{entry("kubectl", "Update", "", `{`)}, o.Manager); err == nil {
		t.Error("broken fields were rewritten")
	}
}

func TestImmutableTexts(t *testing.T) {
	invalid := func(text string) error {
		e := apierrors.NewInvalid(schema.GroupKind{Kind: "X"}, "x", nil)
		e.ErrStatus.Message = text
		return e
	}
	cases := map[string]struct {
		reason string
		err    error
		want   bool
	}{
		"Field":     {"a field", invalid(`Job.batch "x" is invalid: spec.template: Invalid value: {}: field is immutable`), true},
		"RoleRef":   {"a binding", invalid(`RoleBinding "x" is invalid: roleRef: Invalid value: {}: cannot change roleRef`), true},
		"Stateful":  {"a stateful set", invalid(`spec: Forbidden: updates to statefulset spec for fields other than 'replicas' are forbidden`), true},
		"Rule":      {"a validation rule", invalid(`Gadget "x" is invalid: spec.size: Invalid value: "integer": size is Immutable`), true},
		"Webhook":   {"an admission webhook", apierrors.NewForbidden(schema.GroupResource{}, "x", fmt.Errorf("the host is immutable")), true},
		"OtherRule": {"another rule", invalid(`spec.size: Invalid value: must be positive`), false},
		"Conflict":  {"a conflict", apierrors.NewConflict(schema.GroupResource{}, "x", fmt.Errorf("immutable")), false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := immutable(c.err); got != c.want {
				t.Errorf("%s: got %t", c.reason, got)
			}
		})
	}
}

func BenchmarkPlan(b *testing.B) {
	o := tester()
	var docs []string
	for i := range 1000 {
		docs = append(docs, fmt.Sprintf("{apiVersion: v1, kind: ConfigMap, metadata: {name: c%d, namespace: one}, data: {key: value}}", i))
	}
	in := parse(b, strings.Join(docs, "\n---\n"))
	set, _, err := prepare(b.Context(), o, in, serves, Options{})
	if err != nil {
		b.Fatal(err)
	}
	records := map[access.ID]*record{}
	live := health.Live{UID: "u", ResourceVersion: "5", Labels: o.Labels(), Managers: []health.Manager{{Name: o.Manager, Applied: true, Time: 100, Fields: 7}}}
	for i := range set {
		records[set[i].ID] = &record{uid: "u", resourceVersion: "5", mark: newMark(100, 7), digest: set[i].digest}
	}
	see := func(access.ID) (health.Live, health.Knowledge) { return live, health.Present }
	b.Run("prepare", func(b *testing.B) {
		for b.Loop() {
			if _, _, err := prepare(b.Context(), o, in, serves, Options{}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("plan", func(b *testing.B) {
		for b.Loop() {
			plan(o, set, records, o.takeovers(nil), see, time.Unix(0, 0), false)
		}
	})
}
