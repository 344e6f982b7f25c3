package migration

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestMove(t *testing.T) {
	const apply, update = metav1.ManagedFieldsOperationApply, metav1.ManagedFieldsOperationUpdate
	entry := func(manager string, op metav1.ManagedFieldsOperationType, version, subresource string, minute int, fields string) metav1.ManagedFieldsEntry {
		at := metav1.NewTime(time.Date(2026, 1, 1, 0, minute, 0, 0, time.UTC))
		return metav1.ManagedFieldsEntry{
			Manager: manager, Operation: op, APIVersion: version, Subresource: subresource, Time: &at,
			FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(fields),
		}
	}
	const a, b, both = `{"f:spec":{"f:a":{}}}`, `{"f:spec":{"f:b":{}}}`, `{"f:spec":{"f:a":{},"f:b":{}}}`
	tests := map[string]struct {
		reason string
		in     []metav1.ManagedFieldsEntry
		want   []metav1.ManagedFieldsEntry
	}{
		"Nobody": {reason: "There may be no entries at all."},
		"Current": {
			reason: "Versions that stay are left alone.",
			in:     []metav1.ManagedFieldsEntry{entry("m", apply, "g/v1", "", 1, a), entry("n", update, "g/v1beta2", "", 1, b)},
		},
		"OtherGroup": {
			reason: "An entry that is not in a version of the definition is not its business.",
			in:     []metav1.ManagedFieldsEntry{entry("m", update, "autoscaling/v1", "scale", 1, a)},
		},
		"Moved": {
			reason: "All that is in the old version moves, on its own.",
			in: []metav1.ManagedFieldsEntry{
				entry("m", apply, "g/v1beta1", "", 1, a), entry("n", update, "g/v1beta1", "status", 2, b), entry("o", update, "g/v1", "", 3, b),
			},
			want: []metav1.ManagedFieldsEntry{
				entry("m", apply, "g/v1", "", 1, a), entry("n", update, "g/v1", "status", 2, b), entry("o", update, "g/v1", "", 3, b),
			},
		},
		"AppliedTwice": {
			reason: "A manager has applied in both versions: it keeps the fields of both, in one entry with the later time.",
			in:     []metav1.ManagedFieldsEntry{entry("m", apply, "g/v1beta1", "", 1, a), entry("m", apply, "g/v1", "", 2, b)},
			want:   []metav1.ManagedFieldsEntry{entry("m", apply, "g/v1", "", 2, both)},
		},
		"UpdatedTwice": {
			reason: "Updates at one time become one entry.",
			in:     []metav1.ManagedFieldsEntry{entry("m", update, "g/v1", "", 1, a), entry("m", update, "g/v1beta1", "", 1, b)},
			want:   []metav1.ManagedFieldsEntry{entry("m", update, "g/v1", "", 1, both)},
		},
		"UpdatedAgain": {
			reason: "Updates at different times are two, as ever.",
			in:     []metav1.ManagedFieldsEntry{entry("m", update, "g/v1", "", 1, a), entry("m", update, "g/v1beta1", "", 2, b)},
			want:   []metav1.ManagedFieldsEntry{entry("m", update, "g/v1", "", 1, a), entry("m", update, "g/v1", "", 2, b)},
		},
		"Subresource": {
			reason: "What a manager does to the status is another entry than what it does to the rest.",
			in:     []metav1.ManagedFieldsEntry{entry("m", apply, "g/v1beta1", "", 1, a), entry("m", apply, "g/v1beta1", "status", 1, b)},
			want:   []metav1.ManagedFieldsEntry{entry("m", apply, "g/v1", "", 1, a), entry("m", apply, "g/v1", "status", 1, b)},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := move(tc.in, "g", []string{"v1", "v1beta2"}, "v1")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(lines(tc.want), lines(got)); diff != "" {
				t.Errorf("%s\n(-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestMoveMalformed(t *testing.T) {
	at := metav1.NewTime(time.Unix(0, 0))
	bad := metav1.ManagedFieldsEntry{Manager: "m", Operation: "Apply", APIVersion: "g/v1beta1", Time: &at, FieldsV1: metav1.NewFieldsV1(`{"x"`)}
	if _, err := move([]metav1.ManagedFieldsEntry{bad, bad}, "g", []string{"v1"}, "v1"); err == nil {
		t.Error("fields that nobody can read are dropped")
	}
}

func lines(entries []metav1.ManagedFieldsEntry) []string {
	var out []string
	for _, e := range entries {
		out = append(out, fmt.Sprintf("%s %s %s %q %s %s", e.Manager, e.Operation, e.APIVersion, e.Subresource, e.Time.UTC(), e.FieldsV1.GetRawString()))
	}
	return out
}
