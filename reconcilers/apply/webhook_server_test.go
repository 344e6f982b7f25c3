package apply_test

import (
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/apply"
	"github.com/weir-dev/weir/reconcilers/health"
)

// mutate makes a webhook change all ConfigMaps and Deployments of the namespace when they are written. Patch returns a JSON
// patch of what is written, for the nth time.
func (b *bench) mutate(patch func(u *unstructured.Unstructured, n int64) string) {
	b.t.Helper()
	var calls atomic.Int64
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		var review struct {
			Request struct {
				UID    string         `json:"uid"`
				Object map[string]any `json:"object"`
			} `json:"request"`
		}
		if err := json.NewDecoder(req.Body).Decode(&review); err != nil {
			b.t.Error(err)
		}
		answer := map[string]any{"uid": review.Request.UID, "allowed": true}
		if p := patch(&unstructured.Unstructured{Object: review.Request.Object}, calls.Add(1)); p != "" {
			answer["patchType"], answer["patch"] = "JSONPatch", base64.StdEncoding.EncodeToString([]byte(p))
		}
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(map[string]any{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": answer}); err != nil {
			b.t.Error(err)
		}
	}))
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	config := b.objects(`
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingWebhookConfiguration
metadata: {name: NS}
webhooks:
- name: mutate.example.com
  rules: [{apiGroups: ["", apps], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [configmaps, deployments]}]
  namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: NS}}
  admissionReviewVersions: [v1]
  sideEffects: None
  reinvocationPolicy: Never
`)[0]
	hooks, _, _ := unstructured.NestedSlice(config.Object, "webhooks")
	only, _ := hooks[0].(map[string]any)
	only["clientConfig"] = map[string]any{"url": server.URL, "caBundle": base64.StdEncoding.EncodeToString(ca)}
	config.Object["webhooks"] = []any{only}
	if _, err := b.admin.Create(b.ctx(), config, "tester"); err != nil {
		b.t.Fatal(err)
	}
	hook := access.Ref{ID: access.ID{Group: "admissionregistration.k8s.io", Kind: "MutatingWebhookConfiguration", Name: b.namespace}}
	b.t.Cleanup(func() {
		if err := b.admin.Delete(b.t.Context(), hook, access.DeleteOptions{}); err != nil {
			b.t.Log(err) // the context has ended
		}
		server.Close()
	})
	// The API server notices some time after.
	for before := calls.Load(); calls.Load() == before; {
		_, err := b.admin.Try(b.ctx(), b.ref("ConfigMap", "probe"), fmt.Appendf(nil,
			`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"probe","namespace":%q},"data":{"key":"x"}}`, b.namespace),
			access.ApplyOptions{Manager: "tester"})
		if err != nil {
			b.t.Fatal(err)
		}
		b.settleBriefly()
	}
}

// TestWebhooksThatAlwaysChange holds that what a webhook makes of every write is no drift and no fight: it is applied once, and
// then again only when somebody else edits it.
func TestWebhooksThatAlwaysChange(t *testing.T) {
	kindOf := func(u *unstructured.Unstructured, kind, patch string) string {
		if u.GetKind() == kind {
			return patch
		}
		return ""
	}
	cases := map[string]struct {
		reason string
		patch  func(u *unstructured.Unstructured, n int64) string
	}{
		"Value": {"It sets another value than the one that is desired.", func(u *unstructured.Unstructured, _ int64) string {
			return kindOf(u, "ConfigMap", `[{"op":"replace","path":"/data/key","value":"forced"}]`)
		}},
		"Default": {"It adds a field.", func(u *unstructured.Unstructured, _ int64) string {
			return kindOf(u, "ConfigMap", `[{"op":"add","path":"/data/added","value":"x"}]`)
		}},
		"Stamp": {"It notes each write.", func(u *unstructured.Unstructured, n int64) string {
			if u.GetAnnotations() == nil {
				return fmt.Sprintf(`[{"op":"add","path":"/metadata/annotations","value":{"stamp":"%d"}}]`, n)
			}
			return fmt.Sprintf(`[{"op":"add","path":"/metadata/annotations/stamp","value":"%d"}]`, n)
		}},
		"Remove": {"It takes a field out.", func(u *unstructured.Unstructured, _ int64) string {
			return kindOf(u, "ConfigMap", `[{"op":"remove","path":"/data/key"}]`)
		}},
		"Replicas": {"It decides on the replicas.", func(u *unstructured.Unstructured, _ int64) string {
			return kindOf(u, "Deployment", `[{"op":"replace","path":"/spec/replicas","value":7}]`)
		}},
		"Sidecar": {"It adds a container.", func(u *unstructured.Unstructured, _ int64) string {
			containers, _, _ := unstructured.NestedSlice(u.Object, "spec", "template", "spec", "containers")
			if len(containers) > 1 {
				return ""
			}
			return kindOf(u, "Deployment", `[{"op":"add","path":"/spec/template/spec/containers/-","value":{"name":"sidecar","image":"s:1"}}]`)
		}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.mutate(tc.patch)
			o := apply.Options{Digest: "1"}
			same(t, "all is applied", 3, len(b.mustApply(three, o)))
			b.counter.Take()
			for range 3 {
				// A real edit after what there may be: when it has been seen, all before it has.
				b.edit(b.ref("Service", "app"), "somebody", `{"spec":{"selector":{"app":"edited"}}}`)
				same(t, "the edit wakes", health.Drifted, b.wake())
				same(t, "and nothing else: "+tc.reason, 0, len(b.woken))
				same(t, "only it is put back", []string{"Service/NS/app configured"}, b.anonymous(b.mustApply(three, o)))
				b.requests("of the correction", map[string]int{"apply": 1, "get": 1})
			}
			same(t, "somebody who asks for everything to be looked at gets no correction", "", mustResult(b.apply(three, apply.Options{Digest: "1", Full: true})).Changes.Drift())
			same(t, "there is no fight", 0, len(b.applier.Fights(b.owner.ID)))
			b.restart()
			b.mustApply(three, o)
			b.counter.Take()
			same(t, "after a restart it comes to rest", []string{}, b.mustApply(three, o))
			b.requests("at rest", map[string]int{})
		})
	}
}

// TestAutoscaler holds that replicas which the set does not have are the autoscaler's, and that those which it has are a fight,
// which is slowed down.
func TestAutoscaler(t *testing.T) {
	b := newBench(t)
	scale := func(n int) {
		t.Helper()
		_, err := b.admin.Patch(b.ctx(), b.ref("Deployment", "app"), types.MergePatchType, fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, n),
			access.PatchOptions{Manager: "kube-controller-manager", Subresource: "scale"})
		if err != nil {
			t.Fatal(err)
		}
	}
	without := strings.Replace(three, "  replicas: 1\n", "", 1)
	b.mustApply(without, apply.Options{Digest: "1"})
	for n := range 8 {
		scale(n + 2)
	}
	b.edit(b.ref("Service", "app"), "somebody", `{"spec":{"selector":{"app":"edited"}}}`)
	b.wake()
	same(t, "only a real edit is put back", []string{"Service/NS/app configured"}, b.anonymous(b.mustApply(without, apply.Options{Digest: "1"})))
	same(t, "nobody was woken for the replicas", 0, len(b.woken))

	b.mustApply(three, apply.Options{Digest: "2"})
	for n := range 5 {
		scale(n + 2)
		b.wake()
		b.mustApply(three, apply.Options{Digest: "2"})
	}
	fights := b.applier.Fights(b.owner.ID)
	if len(fights) != 1 || fights[0].Name != "app" || fights[0].Kind != "Deployment" || strings.Join(fights[0].Fields, " ") != ".spec.replicas" {
		t.Errorf("the fights are %v", fights)
	}
	scale(9)
	same(t, "then the replicas are left for a while", []string{}, b.mustApply(three, apply.Options{Digest: "2"}))
}
