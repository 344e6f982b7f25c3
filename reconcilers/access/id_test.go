package access_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/access"
)

func TestID(t *testing.T) {
	type want struct{ text, entry string }
	cases := map[string]struct {
		reason string
		id     access.ID
		want   want
	}{
		"Core": {
			"the core group is empty",
			access.ID{Kind: "ConfigMap", Namespace: "apps", Name: "config"},
			want{"ConfigMap/apps/config", "apps_config__ConfigMap"},
		},
		"ClusterScoped": {
			"so is the namespace of cluster-scoped objects",
			access.ID{Kind: "Namespace", Name: "foo"},
			want{"Namespace/foo", "_foo__Namespace"},
		},
		"Group": {
			"groups keep their dots",
			access.ID{Group: "apps", Kind: "Deployment", Namespace: "a-b", Name: "c.d"},
			want{"Deployment/a-b/c.d", "a-b_c.d_apps_Deployment"},
		},
		"Colon": {
			"colons of RBAC names are written as underscores",
			access.ID{Group: "rbac.authorization.k8s.io", Kind: "ClusterRole", Name: "system:x:y"},
			want{"ClusterRole/system:x:y", "_system__x__y_rbac.authorization.k8s.io_ClusterRole"},
		},
		"RoleBinding": {
			"of namespaced kinds too",
			access.ID{Group: "rbac.authorization.k8s.io", Kind: "RoleBinding", Namespace: "n", Name: "a:b"},
			want{"RoleBinding/n/a:b", "n_a__b_rbac.authorization.k8s.io_RoleBinding"},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, want{c.id.String(), c.id.Entry()}, cmp.AllowUnexported(want{})); diff != "" {
				t.Errorf("%s (-want +got):\n%s", c.reason, diff)
			}
			back, err := access.ParseEntry(c.id.Entry())
			if err != nil || back != c.id {
				t.Errorf("%s: read back %#v, %v", c.reason, back, err)
			}
		})
	}
}

func TestParseEntryRefuses(t *testing.T) {
	cases := map[string]string{
		"Empty": "", "NoKind": "ns_name_group_", "TooShort": "ns_name", "NoName": "ns__group_Kind", "OneSeparator": "_Kind",
	}
	for name, entry := range cases {
		t.Run(name, func(t *testing.T) {
			if id, err := access.ParseEntry(entry); err == nil {
				t.Errorf("%q was read as %#v", entry, id)
			}
		})
	}
}

func TestInventory(t *testing.T) {
	u := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apps/v1", "kind": "Deployment", "metadata": map[string]any{"namespace": "n", "name": "d"},
	}}
	ref := access.Of(u)
	want := meta.ResourceRef{ID: "n_d_apps_Deployment", Version: "v1"}
	if diff := cmp.Diff(want, ref.Inventory()); diff != "" {
		t.Errorf("inventory (-want +got):\n%s", diff)
	}
	back, err := access.ParseInventory(want)
	if err != nil || back != ref {
		t.Errorf("read back %#v, %v", back, err)
	}
}

func FuzzParseEntry(f *testing.F) {
	f.Add("n_d_apps_Deployment")
	f.Add("_a__b_rbac.authorization.k8s.io_Role")
	f.Fuzz(func(t *testing.T, entry string) {
		id, err := access.ParseEntry(entry)
		if err != nil {
			return
		}
		again, err := access.ParseEntry(id.Entry())
		if err != nil || again != id {
			t.Errorf("%q: %#v, then %#v, %v", entry, id, again, err)
		}
	})
}
