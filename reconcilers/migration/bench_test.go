package migration_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/migration"
	"github.com/weir-dev/weir/test/cluster"
)

var shared cluster.Shared

func TestMain(m *testing.M) { os.Exit(shared.Main(m)) }

// patience bounds waits for something that comes at once when it comes. It is no measurement.
const patience = 30 * time.Second

// benches tells the definitions of tests apart.
var benches atomic.Int64

// bench is a definition of its own on a real API server.
type bench struct {
	t      *testing.T
	config *rest.Config
	before atomic.Pointer[func(*http.Request)] // sees each request of the clients
	answer func(*http.Request) *http.Response  // answers in the place of the API server, unless it returns nil; set before client
	c      *access.Client
	group  string
	name   string // of the definition
}

// newBench makes a definition with versions: "v1" is served, "v1*" the storage version, "v1-" not served. All have the field spec.value.
func newBench(t *testing.T, versions ...string) *bench {
	t.Helper()
	b := &bench{t: t, config: shared.Start(t).Config(), group: fmt.Sprintf("m%d.example.com", benches.Add(1))}
	b.name = "gadgets." + b.group
	b.c = b.client()
	if _, err := b.c.Create(t.Context(), b.manifest(versions...), "tester"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = b.c.Delete(context.Background(), migration.Ref(b.name), access.DeleteOptions{})
	})
	b.await(versions...)
	return b
}

// client starts over with nothing in memory.
func (b *bench) client() *access.Client {
	b.t.Helper()
	answer := b.answer
	factory, err := access.New(b.config, access.Options{Transport: func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(req *http.Request) (*http.Response, error) {
			if before := b.before.Load(); before != nil {
				(*before)(req)
			}
			if answer != nil {
				if response := answer(req); response != nil {
					return response, nil
				}
			}
			return next.RoundTrip(req)
		})
	}})
	b.must(err)
	return factory.Own()
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// during calls the function before the nth patch of the clients from now on, the first being 1, with a client that is not seen.
func (b *bench) during(nth int64, do func(c *access.Client, req *http.Request)) {
	b.t.Helper()
	factory, err := access.New(b.config, access.Options{})
	b.must(err)
	var n atomic.Int64
	hook := func(req *http.Request) {
		if req.Method == http.MethodPatch && n.Add(1) == nth {
			do(factory.Own(), req)
		}
	}
	b.before.Store(&hook)
	b.t.Cleanup(func() { b.before.Store(nil) })
}

func (b *bench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) manifest(versions ...string) *unstructured.Unstructured {
	value := map[string]any{"type": "string"}
	list := make([]any, 0, len(versions))
	for _, v := range versions {
		list = append(list, map[string]any{
			"name": strings.TrimRight(v, "*-"), "storage": strings.Contains(v, "*"), "served": !strings.Contains(v, "-"),
			"subresources": map[string]any{"status": map[string]any{}},
			"schema": map[string]any{"openAPIV3Schema": map[string]any{
				"type": "object", "properties": map[string]any{
					"spec": map[string]any{"type": "object", "properties": map[string]any{
						"value": value, "other": value, "more": map[string]any{"type": "array", "items": value},
					}},
					"status": map[string]any{"type": "object", "properties": map[string]any{"seen": value}},
				},
			}},
		})
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
		"metadata": map[string]any{"name": b.name},
		"spec": map[string]any{
			"group": b.group, "scope": "Namespaced",
			"names":    map[string]any{"kind": "Gadget", "plural": "gadgets", "singular": "gadget", "listKind": "GadgetList"},
			"versions": list,
		},
	}}
}

// change gives the definition other versions, and waits until the API server has noticed.
func (b *bench) change(versions ...string) {
	b.t.Helper()
	b.must(b.tryChange(versions...))
	b.await(versions...)
}

func (b *bench) tryChange(versions ...string) error {
	raw, err := json.Marshal(map[string]any{"spec": map[string]any{"versions": field(b.manifest(versions...), "spec", "versions")}})
	b.must(err)
	_, err = b.c.Patch(b.t.Context(), migration.Ref(b.name), types.MergePatchType, raw, access.PatchOptions{Manager: "tester"})
	return err
}

// await waits until the API server serves what is to be served, and nothing else, and writes what is to be written.
func (b *bench) await(versions ...string) {
	b.t.Helper()
	b.eventually("the definition takes effect", func() error {
		b.c = b.client()
		for _, v := range []string{"v1alpha1", "v1beta1", "v1"} {
			_, err := b.c.Mapping(b.t.Context(), b.ref("x").GroupKind(), v)
			want := slices.ContainsFunc(versions, func(w string) bool { return strings.TrimSuffix(w, "*") == v }) // one with "-" is not
			if want != (err == nil) {
				return fmt.Errorf("%s is served: %v", v, err == nil)
			}
		}
		return nil
	})
}

func (b *bench) eventually(what string, try func() error) {
	b.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for {
		err := try()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			b.t.Fatalf("%s: %v", what, err)
		}
	}
}

func (b *bench) ref(name string) access.Ref {
	return access.Ref{ID: access.ID{Group: b.group, Kind: "Gadget", Namespace: "default", Name: name}}
}

// apply applies an object as the manager, in the version.
func (b *bench) apply(manager, version, name, spec string) error {
	ref := b.ref(name)
	ref.Version = version
	body := fmt.Sprintf(`{"apiVersion":"%s/%s","kind":"Gadget","metadata":{"name":%q,"namespace":"default"},"spec":%s}`, b.group, version, name, spec)
	_, err := b.c.Apply(b.t.Context(), ref, []byte(body), access.ApplyOptions{Manager: manager, Force: true})
	return err
}

// edit changes an object with a merge patch, as the manager, in the version.
func (b *bench) edit(manager, version, name, subresource, patch string) {
	b.t.Helper()
	ref := b.ref(name)
	ref.Version = version
	_, err := b.c.Patch(b.t.Context(), ref, types.MergePatchType, []byte(patch), access.PatchOptions{Manager: manager, Subresource: subresource})
	b.must(err)
}

func (b *bench) get(name string) *unstructured.Unstructured {
	b.t.Helper()
	obj, err := b.c.Get(b.t.Context(), b.ref(name))
	b.must(err)
	return obj
}

func (b *bench) definition() *migration.Definition {
	b.t.Helper()
	d, err := migration.Read(b.t.Context(), b.c, b.name)
	b.must(err)
	return d
}

func (b *bench) migrate(o migration.Options) (int, error) {
	b.t.Helper()
	return b.run(b.t.Context(), b.definition(), o, nil)
}

func (b *bench) run(ctx context.Context, d *migration.Definition, o migration.Options, progress func(int)) (int, error) {
	b.t.Helper()
	o.Manager = "migrator"
	m, err := migration.New(d, o)
	b.must(err)
	return m.Run(ctx, b.c, progress)
}

// managers says who manages what, one line for each entry.
func managers(obj *unstructured.Unstructured) []string {
	lines := []string{}
	for _, e := range obj.GetManagedFields() {
		_, version, _ := strings.Cut(e.APIVersion, "/")
		lines = append(lines, strings.Join(slices.DeleteFunc([]string{
			e.Manager, string(e.Operation), version, e.Subresource, e.FieldsV1.GetRawString(),
		}, func(s string) bool { return s == "" }), " "))
	}
	slices.Sort(lines)
	return lines
}

func field(obj *unstructured.Unstructured, path ...string) any {
	value, _, _ := unstructured.NestedFieldNoCopy(obj.Object, path...)
	return value
}
