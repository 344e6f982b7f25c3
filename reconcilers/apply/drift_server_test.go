package apply_test

import (
	"net/http"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/access/accesstest"
	"github.com/weir-dev/weir/reconcilers/apply"
	"github.com/weir-dev/weir/reconcilers/health"
)

func TestDriftIsPutBack(t *testing.T) {
	b := newBench(t)
	o := apply.Options{Digest: "1"}
	b.mustApply(three, o)
	cases := []struct {
		name, reason string
		change       func()
		want         []string
		requests     map[string]int
		drift        string
	}{
		{
			name: "foreign value", reason: "a changed value is put back, with a look at who has what",
			change:   func() { b.edit(b.ref("ConfigMap", "config"), "somebody", `{"data":{"key":"edited"}}`) },
			want:     []string{"ConfigMap/NS/config configured"},
			requests: map[string]int{"apply": 1, "get": 1},
			drift:    `ConfigMap/NS/config drift corrected: .data.key, changed by "somebody"`,
		},
		{
			name: "owner label", reason: "without its label the object leaves the watch, and is looked at before it is written",
			change: func() {
				b.edit(b.ref("Service", "app"), "somebody", `{"metadata":{"labels":{"kustomize.toolkit.fluxcd.io/name":null}}}`)
			},
			want:     []string{"Service/NS/app configured"},
			requests: map[string]int{"dry-run": 1, "apply": 1, "get": 1},
			drift:    `Service/NS/app drift corrected: .metadata.labels.kustomize.toolkit.fluxcd.io/name`,
		},
		{
			name: "label value", reason: "a label of another owner is drift",
			change: func() {
				b.edit(b.ref("Service", "app"), "somebody", `{"metadata":{"labels":{"kustomize.toolkit.fluxcd.io/namespace":"other"}}}`)
			},
			want:     []string{"Service/NS/app configured"},
			requests: map[string]int{"apply": 1, "get": 1},
			drift:    `Service/NS/app drift corrected: .metadata.labels.kustomize.toolkit.fluxcd.io/namespace, .metadata.labels.kustomize.toolkit.fluxcd.io/name, changed by "other/app"`,
		},
		{
			name: "deleted", reason: "what is deleted comes back, after a look at what may stand in its place",
			change: func() {
				if err := b.admin.Delete(b.ctx(), b.ref("Deployment", "app"), access.DeleteOptions{}); err != nil {
					t.Fatal(err)
				}
			},
			want:     []string{"Deployment/NS/app created"},
			requests: map[string]int{"dry-run": 1, "apply": 1},
			drift:    `Deployment/NS/app drift corrected: it was deleted`,
		},
		{
			name: "kubectl", reason: "what kubectl adds does not stay, though no field of ours changes",
			change:   func() { b.edit(b.ref("ConfigMap", "config"), "kubectl-edit", `{"data":{"added":"x"}}`) },
			want:     []string{"ConfigMap/NS/config configured"},
			requests: map[string]int{"apply": 2, "patch": 1, "get": 1},
			drift:    `ConfigMap/NS/config drift corrected: .data.added, changed by "kubectl-edit"`,
		},
		{
			name: "field in a list", reason: "a field deep in a list of a large object is no different",
			change: func() {
				patch := `[{"op":"replace","path":"/spec/template/spec/containers/0/env/0/value","value":"y"}]`
				if _, err := b.admin.Patch(b.ctx(), b.ref("Deployment", "app"), types.JSONPatchType, []byte(patch), access.PatchOptions{Manager: "x"}); err != nil {
					t.Fatal(err)
				}
			},
			want:     []string{"Deployment/NS/app configured"},
			requests: map[string]int{"apply": 1, "get": 1},
			drift:    `Deployment/NS/app drift corrected: .spec.template.spec.containers[name="app"].env[name="A<B>&C"].value, changed by "x"`,
		},
	}
	for _, c := range cases {
		b.counter.Take()
		c.change()
		same(t, c.name, health.Drifted, b.wake())
		same(t, c.name+": clean", false, b.applier.Clean(b.owner.ID, "1"))
		r, err := b.apply(three, o)
		if err != nil {
			t.Fatal(err)
		}
		same(t, c.name+": "+c.reason, c.want, b.anonymous(lines(r.Changes)))
		b.requests(c.name, c.requests)
		same(t, c.name+": what is told of it", c.drift, strings.ReplaceAll(r.Changes.Drift(), b.namespace, "NS"))
		same(t, c.name+": again", []string{}, b.mustApply(three, o))
		b.requests(c.name+": again", map[string]int{})
	}
	data, _, _ := unstructured.NestedStringMap(b.get(b.ref("ConfigMap", "config")).Object, "data")
	same(t, "in the end, only what is desired is there", map[string]string{"key": "value"}, data)
}

func TestWhatIsNoDrift(t *testing.T) {
	b := newBench(t)
	o := apply.Options{Digest: "1"}
	b.mustApply(three, o)
	deployment := b.ref("Deployment", "app")
	b.edit(b.ref("ConfigMap", "config"), "controller", `{"metadata":{"annotations":{"a":"b"}},"data":{"added":"x"}}`)
	b.edit(deployment, "controller", `{"spec":{"minReadySeconds":3}}`) // moves the generation
	_, err := b.admin.Patch(b.ctx(), deployment, types.MergePatchType, []byte(`{"status":{"replicas":1}}`),
		access.PatchOptions{Manager: "kube-controller-manager", Subresource: "status"})
	if err != nil {
		t.Fatal(err)
	}
	// A change of ours to the same object comes after these, so all of them have been seen when it is.
	b.edit(deployment, "somebody", `{"spec":{"replicas":5}}`)
	same(t, "the first to wake is the real drift", health.Drifted, b.wake())
	same(t, "only it is put back", []string{"Deployment/NS/app configured"}, b.anonymous(b.mustApply(three, o)))
	live := b.get(deployment)
	seconds, _, _ := unstructured.NestedInt64(live.Object, "spec", "minReadySeconds")
	same(t, "what we do not own stays", int64(3), seconds)
	same(t, "nobody else was woken", 0, len(b.woken))
}

func TestMarkers(t *testing.T) {
	b := newBench(t)
	o := apply.Options{Digest: "1"}
	b.mustApply(three, o)
	config := b.ref("ConfigMap", "config")

	b.edit(config, "somebody", `{"metadata":{"annotations":{"kustomize.toolkit.fluxcd.io/reconcile":"Disabled"}},"data":{"key":"mine"}}`)
	changed := `
apiVersion: v1
kind: ConfigMap
metadata: {name: config, namespace: NS}
data: {key: new}
`
	// The hub may not have seen the marker yet: the apply below has to wait for it, so a second edit tells.
	b.edit(b.ref("Service", "app"), "somebody", `{"spec":{"sessionAffinity":"ClientIP"}}`)
	for {
		if live, k := b.hub.Lookup(config.ID, "kustomize.toolkit.fluxcd.io/name"); k == health.Present && live.Annotations["kustomize.toolkit.fluxcd.io/reconcile"] != "" {
			break
		}
		b.settleBriefly()
	}
	r, err := b.apply(changed, apply.Options{})
	if err != nil {
		t.Fatal(err)
	}
	same(t, "a live object that is excluded is skipped", apply.Changes{{Ref: access.Ref{ID: config.ID, Version: "v1"}, Action: apply.Skipped}}, r.Changes)
	same(t, "and kept in the inventory", 1, len(r.Changes.Inventory().Entries))
	same(t, "but its health does not matter", []access.ID{}, r.Changes.Applied())

	b.edit(config, "somebody", `{"metadata":{"annotations":{"kustomize.toolkit.fluxcd.io/reconcile":null}}}`)
	same(t, "when the marker goes, the owner is woken", health.Drifted, b.wake())
	same(t, "and the object is managed again", []string{"ConfigMap/NS/config configured"}, b.anonymous(b.mustApply(changed, apply.Options{})))
}

func TestMarkersOfObjectsThatAreNotOurs(t *testing.T) {
	b := newBench(t)
	b.create(`
apiVersion: v1
kind: ConfigMap
metadata: {name: ignored, namespace: NS, annotations: {kustomize.toolkit.fluxcd.io/ssa: ignore}}
data: {key: theirs}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: initial, namespace: NS}
data: {key: theirs}
`)
	const set = `
apiVersion: v1
kind: ConfigMap
metadata: {name: ignored, namespace: NS}
data: {key: ours}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: initial, namespace: NS, labels: {kustomize.toolkit.fluxcd.io/ssa: ifNotPresent}}
data: {key: ours}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: missing, namespace: NS, labels: {kustomize.toolkit.fluxcd.io/ssa: IfNotPresent}}
data: {key: ours}
`
	same(t, "only what is not there is written", []string{"ConfigMap/NS/missing created"}, b.anonymous(b.mustApply(set, apply.Options{})))
	b.requests("the trial tells what is there", map[string]int{"dry-run": 3, "apply": 1})
	same(t, "nothing to do", []string{}, b.mustApply(set, apply.Options{}))
	b.requests("and it is remembered", map[string]int{})
	b.edit(b.ref("ConfigMap", "missing"), "somebody", `{"data":{"key":"edited"}}`)
	same(t, "an object that only had to exist may be edited", []string{}, b.mustApply(set, apply.Options{}))
	if err := b.admin.Delete(b.ctx(), b.ref("ConfigMap", "missing"), access.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	same(t, "but not deleted", health.Drifted, b.wake())
	same(t, "it comes back", []string{"ConfigMap/NS/missing created"}, b.anonymous(b.mustApply(set, apply.Options{})))
}

// TestDeletedWhileWritten holds that an object which is deleted before the answer to our own write is there does not stay
// away.
func TestDeletedWhileWritten(t *testing.T) {
	b := newBench(t)
	o := apply.Options{Digest: "1"}
	config, label := b.ref("ConfigMap", "config"), b.owner.Prefix+"/name"
	changed := strings.ReplaceAll(three, "key: value", "key: other")
	rival := access.Options{Transport: func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(req *http.Request) (*http.Response, error) {
			resp, err := next.RoundTrip(req)
			if accesstest.Verb(req) == "apply" {
				if err := b.admin.Delete(b.ctx(), config, access.DeleteOptions{}); err != nil {
					t.Error(err)
				}
				for _, k := b.hub.Lookup(config.ID, label); k != health.Absent; _, k = b.hub.Lookup(config.ID, label) {
					b.settleBriefly()
				}
			}
			return resp, err
		})
	}}
	f, err := access.New(shared.Start(t).Config(), rival)
	if err != nil {
		t.Fatal(err)
	}
	b.mustApply(three, o)
	o.Digest = "2"
	if _, err := b.applier.Apply(b.ctx(), f.Own(), b.owner, b.objects(changed), o); err != nil {
		t.Fatal(err)
	}
	same(t, "the owner is woken", health.Drifted, b.wake())
	same(t, "the object comes back", []string{"ConfigMap/NS/config created"}, b.anonymous(b.mustApply(changed, o)))
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// TestDriftOfASecretHasNoValues holds that what is told of drift names the keys, and nothing else.
func TestDriftOfASecretHasNoValues(t *testing.T) {
	b := newBench(t)
	const secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: secret, namespace: NS}\nstringData: {password: hunter2, user: me}\n"
	b.mustApply(secret, apply.Options{})
	b.edit(b.ref("Secret", "secret"), "thief", `{"stringData":{"password":"swordfish","added":"x"}}`)
	b.wake()
	r, err := b.apply(secret, apply.Options{})
	if err != nil {
		t.Fatal(err)
	}
	same(t, "what is told", `Secret/NS/secret drift corrected: .data.password, changed by "thief"`,
		strings.ReplaceAll(r.Changes.Drift(), b.namespace, "NS"))
}

// TestSharedKinds shows that of an object of a shared kind only what is in the set is put back, and the keys of other tools go.
func TestSharedKinds(t *testing.T) {
	b := newBench(t)
	const set = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: config, namespace: NS, labels: {a: b}}\ndata: {key: value}\n"
	o := apply.Options{Digest: "1", Shared: []schema.GroupKind{{Kind: "ConfigMap"}}, DropLabels: []string{"tool"}}
	b.create("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: config, namespace: NS, labels: {tool: x}}\ndata: {key: old}\n")
	b.edit(b.ref("ConfigMap", "config"), "kubectl-edit", `{"data":{"before":"x"}}`)
	same(t, "adopted", []string{"ConfigMap/NS/config configured"}, b.anonymous(b.mustApply(set, o)))
	b.edit(b.ref("ConfigMap", "config"), "kubectl-edit", `{"data":{"after":"x"}}`)
	// What comes after it has been seen when it is.
	b.edit(b.ref("ConfigMap", "config"), "kubectl-edit", `{"data":{"key":"mine"}}`)
	same(t, "a value of the set wakes", health.Drifted, b.wake())
	same(t, "and is put back", []string{"ConfigMap/NS/config configured"}, b.anonymous(b.mustApply(set, o)))
	same(t, "then it is clean", true, b.applier.Clean(b.owner.ID, "1"))
	live := b.get(b.ref("ConfigMap", "config"))
	data, _, _ := unstructured.NestedStringMap(live.Object, "data")
	same(t, "what others add stays", map[string]string{"key": "value", "before": "x", "after": "x"}, data)
	_, tool := live.GetLabels()["tool"]
	same(t, "what is dropped is dropped", false, tool)
}
