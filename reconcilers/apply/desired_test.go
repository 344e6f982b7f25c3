package apply

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPrepare(t *testing.T) {
	const labels = `"labels":{"kustomize.toolkit.fluxcd.io/name":"app","kustomize.toolkit.fluxcd.io/namespace":"ns"}`
	cases := map[string]struct {
		reason, in string
		options    Options
		want       []string
	}{
		"Labels": {
			"owner labels win over those of the set and of the caller",
			"{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: one, labels: {x: one, kustomize.toolkit.fluxcd.io/name: z}}}",
			Options{Labels: map[string]string{"x": "z", "kustomize.toolkit.fluxcd.io/name": "z"}, Annotations: map[string]string{"k": "v"}},
			[]string{`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"annotations":{"k":"v"},"labels":{"kustomize.toolkit.fluxcd.io/name":"app","kustomize.toolkit.fluxcd.io/namespace":"ns","x":"z"},"name":"a","namespace":"one"}}`},
		},
		"Status": {
			"status, creation times and managed fields are not desired",
			"{apiVersion: apps/v1, kind: Deployment, metadata: {name: a, namespace: one, creationTimestamp: null, managedFields: []}, spec: {template: {metadata: {creationTimestamp: null, labels: {a: b}}}}, status: {}}",
			Options{},
			[]string{`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{` + labels + `,"name":"a","namespace":"one"},"spec":{"template":{"metadata":{"labels":{"a":"b"}}}}}`},
		},
		"List": {
			"lists are expanded, however deep",
			"{apiVersion: v1, kind: List, items: [{apiVersion: v1, kind: ConfigMap, metadata: {name: b, namespace: one}}, {apiVersion: v1, kind: ConfigMapList, items: [{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: one}}]}]}",
			Options{},
			[]string{
				`{"apiVersion":"v1","kind":"ConfigMap","metadata":{` + labels + `,"name":"a","namespace":"one"}}`,
				`{"apiVersion":"v1","kind":"ConfigMap","metadata":{` + labels + `,"name":"b","namespace":"one"}}`,
			},
		},
		"Secret": {
			"the plain strings of a Secret are its data",
			"{apiVersion: v1, kind: Secret, metadata: {name: a, namespace: one}, data: {a: YQ==, b: Yg==}, stringData: {b: c}}",
			Options{},
			[]string{`{"apiVersion":"v1","data":{"a":"YQ==","b":"Yw=="},"kind":"Secret","metadata":{` + labels + `,"name":"a","namespace":"one"}}`},
		},
		"BadSecret": {
			"what is wrong with them is for the API server to say",
			"{apiVersion: v1, kind: Secret, metadata: {name: a, namespace: one}, stringData: {b: 1}}",
			Options{},
			[]string{`{"apiVersion":"v1","kind":"Secret","metadata":{` + labels + `,"name":"a","namespace":"one"},"stringData":{"b":1}}`},
		},
		"BadLabel": {
			"a label that is no string is for the API server to refuse",
			"{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: one, labels: {x: true}}}",
			Options{},
			[]string{`{"apiVersion":"v1","kind":"ConfigMap","metadata":{` + strings.TrimSuffix(labels, "}") + `,"x":true},"name":"a","namespace":"one"}}`},
		},
		"ClusterScoped": {
			"cluster-scoped objects have no namespace",
			"{apiVersion: v1, kind: Namespace, metadata: {name: a, namespace: one}}",
			Options{},
			[]string{`{"apiVersion":"v1","kind":"Namespace","metadata":{` + labels + `,"name":"a"}}`},
		},
		"Bundle": {
			"a placeholder for a certificate bundle is left out",
			"{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: a}, spec: {conversion: {webhook: {clientConfig: {caBundle: Cg==, url: u}}}}}",
			Options{},
			[]string{`{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{` + labels + `,"name":"a"},"spec":{"conversion":{"webhook":{"clientConfig":{"url":"u"}}}}}`},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			in := parse(t, c.in)
			before, err := json.Marshal(in)
			if err != nil {
				t.Fatal(err)
			}
			out, refused, err := prepare(t.Context(), tester(), in, serves, c.options)
			if err != nil || len(refused) > 0 {
				t.Fatal(err, refused)
			}
			var got []string
			for _, d := range out {
				got = append(got, string(d.body))
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", c.reason, diff)
			}
			if after, _ := json.Marshal(in); string(after) != string(before) {
				t.Errorf("the set was changed:\n%s\n%s", before, after)
			}
		})
	}
}

func TestPrepareRefuses(t *testing.T) {
	const a = "{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: one}}"
	cases := map[string]struct{ reason, in, want string }{
		"Twice":       {"an object is in a set once", a + "\n---\n" + a, "ConfigMap/one/a is in the set more than once"},
		"NoName":      {"an object has a name", "{apiVersion: v1, kind: ConfigMap}", `an object of the set has no apiVersion, kind or name: "ConfigMap/"`},
		"NoKind":      {"no kind, no place", "{apiVersion: example.com/v1, kind: Nothing, metadata: {name: a, namespace: one}}", `Nothing/one/a dry-run failed: no matches for kind "Nothing" in version "example.com/v1"`},
		"NoNamespace": {"a namespace is not made up", "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}", "ConfigMap/a namespace not specified: the server could not find the requested resource"},
		"BadList":     {"a list has objects", "{apiVersion: v1, kind: List, items: [1]}", "List has an item that is not an object"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, refused, err := prepare(t.Context(), tester(), parse(t, c.in), serves, Options{})
			if err == nil {
				err = refused.or()
			}
			if err == nil || err.Error() != c.want {
				t.Errorf("%s: got %v", c.reason, err)
			}
		})
	}
}

func TestDefinedKindsNeedNoCluster(t *testing.T) {
	out := prepared(t, `{apiVersion: example.com/v1, kind: Nothing, metadata: {name: a, namespace: one}}
---
{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: a}, spec: {group: example.com, scope: Cluster, names: {kind: Nothing}}}`, Options{})
	if got := fmt.Sprint(out[0].ID, " ", out[1].ID); got != "CustomResourceDefinition/a Nothing/a" {
		t.Errorf("got %s", got)
	}
}
