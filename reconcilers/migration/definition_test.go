package migration

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func TestCompare(t *testing.T) {
	live := func(storage string, versions []string, stored ...string) *Definition {
		return &Definition{Name: "gadgets.example.com", Versions: versions, Storage: storage, Stored: stored}
	}
	list := func(versions ...string) []string { return versions }
	tests := map[string]struct {
		reason string
		live   *Definition
		target []string
		want   Task
		err    string
	}{
		"Same": {
			reason: "Nothing goes.",
			live:   live("v1", list("v1beta1", "v1"), "v1beta1", "v1"), target: list("v1beta1", "v1"), want: Nothing,
		},
		"Added": {
			reason: "A version that comes, or becomes the storage version, takes nothing away.",
			live:   live("v1beta1", list("v1beta1"), "v1beta1"), target: list("v1beta1", "v1"), want: Nothing,
		},
		"DroppedUnused": {
			reason: "A version in which nothing is stored may still be that of managed fields.",
			live:   live("v1", list("v1beta1", "v1"), "v1"), target: list("v1"), want: Fields,
		},
		"DroppedStored": {
			reason: "Objects in the version that goes are stored in the one that stays.",
			live:   live("v1", list("v1beta1", "v1"), "v1beta1", "v1"), target: list("v1"), want: Objects,
		},
		"Skipped": {
			reason: "There is no version that both know: objects could only be lost.",
			live:   live("v1beta1", list("v1beta1"), "v1beta1"), target: list("v1"),
			err: `the objects of "gadgets.example.com" are stored in version v1beta1, which the new definition, with v1, does not have: ` +
				`go by way of a release that has both`,
		},
		"Downgrade": {
			reason: "The older release does not have what is stored.",
			live:   live("v1", list("v1beta1", "v1"), "v1"), target: list("v1alpha1", "v1beta1"),
			err: `the objects of "gadgets.example.com" are stored in version v1, which the new definition, with v1alpha1, v1beta1, does not have: ` +
				`go by way of a release that has both`,
		},
		"DowngradeWithinStored": {
			reason: "A version that becomes less than the storage version again loses nothing.",
			live:   live("v1", list("v1beta1", "v1"), "v1beta1", "v1"), target: list("v1beta1", "v1"), want: Nothing,
		},
		"NeverStored": {
			reason: "A definition that was never established has stored nothing.",
			live:   live("v1beta1", list("v1beta1")), target: list("v1"), want: Fields,
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := Compare(tc.live, &Definition{Name: tc.live.Name, Versions: tc.target, Storage: tc.target[len(tc.target)-1]})
			text := ""
			if err != nil {
				text = err.Error()
			}
			if diff := cmp.Diff(tc.err, text); diff != "" {
				t.Errorf("%s\nerror (-want +got):\n%s", tc.reason, diff)
			}
			if got != tc.want {
				t.Errorf("%s\ngot %v, want %v", tc.reason, got, tc.want)
			}
		})
	}
}

func TestOf(t *testing.T) {
	manifest := &unstructured.Unstructured{Object: map[string]any{
		"metadata": map[string]any{"name": "gadgets.example.com"},
		"spec": map[string]any{
			"group": "example.com", "names": map[string]any{"kind": "Gadget"},
			"versions": []any{
				map[string]any{"name": "v1beta1", "served": false, "storage": false},
				map[string]any{"name": "v1", "served": true, "storage": true},
			},
		},
	}}
	d, err := Of(manifest)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]any{"gadgets.example.com", "Gadget.example.com", []string{"v1beta1", "v1"}, []string{"v1"}, "v1", false},
		[]any{d.Name, d.GroupKind.String(), d.Versions, d.Served, d.Storage, d.Settled()}); diff != "" {
		t.Errorf("definition (-want +got):\n%s", diff)
	}
	delete(manifest.Object["spec"].(map[string]any), "versions")
	if _, err := Of(manifest); err == nil || err.Error() != `definition "gadgets.example.com" has no storage version` {
		t.Errorf("without versions: %v", err)
	}
}
