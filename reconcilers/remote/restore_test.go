package remote_test

import (
	"path/filepath"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/health"
	"github.com/weir-dev/weir/test/cluster"
)

// TestRestored restores the etcd of a remote cluster from a backup: what was known of it is dropped, and those who have it are woken. Another
// cluster is none of theirs.
func TestRestored(t *testing.T) {
	c := cluster.New(t, cluster.Options{})
	f := newFixture(t)
	f.configs.set("ns/a", kubeconfig(t, c.Config()))

	const label = "kustomize.toolkit.fluxcd.io/name"

	first := f.open(request("first", "a"))
	object := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap",
		"metadata": map[string]any{"name": "one", "namespace": "default", "labels": map[string]any{label: "first"}},
	}}
	id := access.ID{Kind: "ConfigMap", Namespace: "default", Name: "one"}

	if _, err := first.Access.Own().Create(t.Context(), object, "tester"); err != nil {
		t.Fatal(err)
	}

	first.Hub.Track(owner("first"), label, []access.ID{id})

	sees := func(version string) bool {
		live, k := first.Hub.Lookup(id, label)

		return k == health.Present && (version == "" || live.ResourceVersion == version)
	}
	eventually(t, "the object is not seen", func() bool { return sees("") })

	backup := filepath.Join(t.TempDir(), "backup")
	if err := c.Backup(t.Context(), backup); err != nil {
		t.Fatal(err)
	}

	changed, err := first.Access.Own().Patch(t.Context(), access.Ref{ID: id}, types.MergePatchType, []byte(`{"data":{"is":"lost"}}`),
		access.PatchOptions{Manager: "tester"})
	if err != nil {
		t.Fatal(err)
	}

	eventually(t, "the change is not seen", func() bool { return sees(changed.ResourceVersion) })

	if f.open(request("first", "a")) != first {
		t.Error("the cluster was dropped though nothing has happened")
	}

	for len(f.woken) > 0 {
		<-f.woken
	}

	if err := c.Restore(t.Context(), backup); err != nil {
		t.Fatal(err)
	}

	eventually(t, "nobody has noticed", func() bool {
		now, err := f.Open(t.Context(), request("first", "a"))

		return err == nil && now != first
	})

	select {
	case who := <-f.woken:
		if who != owner("first") {
			t.Errorf("%v was woken", who)
		}
	default:
		t.Error("nobody was woken")
	}
}
