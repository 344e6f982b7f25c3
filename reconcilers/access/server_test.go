package access_test

import (
	"fmt"
	"os"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/test/cluster"
)

var shared cluster.Shared

func TestMain(m *testing.M) { os.Exit(shared.Main(m)) }

func TestExperiment(t *testing.T) {
	f, err := access.New(shared.Start(t).Config(), access.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c := f.Own()
	ref := access.Ref{ID: access.ID{Kind: "ConfigMap", Namespace: "default", Name: "x"}, Version: "v1"}
	body := []byte(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x","namespace":"default","labels":{"a":"b"}},"data":{"k":"v","qa":"1"}}`)
	o := access.ApplyOptions{Manager: "m", Force: true}
	show := func(what string, m *metav1.PartialObjectMetadata, err error) {
		if err != nil {
			fmt.Println(what, "ERR", err)
			return
		}
		fmt.Println(what, "rv", m.ResourceVersion, "uid", m.UID, "gen", m.Generation)
		for _, e := range m.ManagedFields {
			fmt.Println("   ", e.Manager, e.Operation, e.Subresource, e.Time, e.FieldsV1)
		}
	}
	d := o
	d.DryRun = true
	m, err := c.Apply(t.Context(), ref, body, d)
	show("dry create", m, err)
	m, err = c.Apply(t.Context(), ref, body, o)
	show("create", m, err)
	m, err = c.Apply(t.Context(), ref, body, d)
	show("dry noop", m, err)
	m, err = c.Apply(t.Context(), ref, body, o)
	show("noop", m, err)
	m, err = c.Patch(t.Context(), ref, "application/merge-patch+json", []byte(`{"data":{"k":"z"}}`), access.PatchOptions{Manager: "kubectl-edit"})
	show("edit", m, err)
	m, err = c.Apply(t.Context(), ref, body, d)
	show("dry drift", m, err)
	item, err := c.Read(t.Context(), ref, true)
	fmt.Println(string(item.Raw), err)
	bad := []byte(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"y","namespace":"default"},"dota":{"k":"v"}}`)
	ref.Name = "y"
	m, err = c.Apply(t.Context(), ref, bad, d)
	show("dry unknown", m, err)
	d.Strict = true
	m, err = c.Apply(t.Context(), ref, bad, d)
	show("dry unknown strict", m, err)
	ref.Namespace = "nope"
	m, err = c.Apply(t.Context(), ref, []byte(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"y","namespace":"nope"},"data":{"k":"v"}}`), d)
	show("no ns", m, err)
}
