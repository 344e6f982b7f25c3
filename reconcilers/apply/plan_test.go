package apply

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
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
			for _, k := range plan(o, set, records, o.takeovers(nil), see, now, func(access.ID) bool { return c.full }) {
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
	switch k.verdict {
	case clean:
		return "clean"
	case skip:
		return "skip"
	case slow:
		return "slow"
	default:
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
	for _, k := range plan(tester(), set, nil, nil, absent, time.Unix(0, 0), func(access.ID) bool { return false }) {
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
			plan(o, set, records, o.takeovers(nil), see, time.Unix(0, 0), func(access.ID) bool { return false })
		}
	})
}
