package apply

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/weir-dev/weir/reconcilers/health"
)

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
	}, o.Manager, nil)
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
	if _, err := o.takeovers(nil).rewrite([]metav1.ManagedFieldsEntry{entry("kubectl", "Update", "", `{`)}, o.Manager, nil); err == nil {
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
