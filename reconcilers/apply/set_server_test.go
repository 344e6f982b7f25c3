package apply_test

import (
	"errors"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/apply"
)

const definition = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: gadgets.KIND.example.com}
spec:
  group: KIND.example.com
  scope: Namespaced
  names: {kind: Gadget, plural: gadgets, singular: gadget, listKind: GadgetList}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec: {type: object, properties: {size: {type: integer, x-kubernetes-validations: [{rule: "self == oldSelf", message: "size is immutable"}]}, name: {type: string}}}
`

func TestDefinitionsAndNamespacesOfTheSameSet(t *testing.T) {
	b := newBench(t)
	group := b.namespace + ".example.com"
	set := strings.ReplaceAll(`
apiVersion: KIND.example.com/v1
kind: Gadget
metadata: {name: gadget, namespace: NS-inner}
spec: {size: 1}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: NS}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: NS}
subjects: [{kind: ServiceAccount, name: default, namespace: NS}]
---
apiVersion: v1
kind: ConfigMap
metadata: {name: config, namespace: NS-inner}
---`+definition+`---
apiVersion: v1
kind: Namespace
metadata: {name: NS-inner, namespace: ignored}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: NS}
rules: [{apiGroups: [""], resources: [pods], verbs: [get]}]
`, "KIND", b.namespace)
	same(t, "foundations come first", []string{
		"CustomResourceDefinition/gadgets." + group + " created",
		"Namespace/" + b.namespace + "-inner created",
		"ClusterRole/" + b.namespace + " created",
		"ClusterRoleBinding/" + b.namespace + " created",
		"ConfigMap/" + b.namespace + "-inner/config created",
		"Gadget/" + b.namespace + "-inner/gadget created",
	}, b.mustApply(set, apply.Options{}))
	got := b.counter.Take("watch", "list", "discover")
	same(t, "everything is written once", 6, got["apply"])
	same(t, "nothing changes", []string{}, b.mustApply(set, apply.Options{}))
	b.requests("and nothing is asked", map[string]int{})

	b.restart()
	same(t, "nothing changes after a restart", []string{}, b.mustApply(set, apply.Options{}))
	b.requests("each object is looked at once", map[string]int{"dry-run": 6})
}

func TestImmutableFields(t *testing.T) {
	b := newBench(t)
	const job = `
apiVersion: batch/v1
kind: Job
metadata: {name: job, namespace: NS}
spec: {template: {spec: {restartPolicy: Never, containers: [{name: main, image: "main:1"}]}}}
`
	b.mustApply(job+"---"+three, apply.Options{})
	uid := b.get(b.ref("Job", "job")).GetUID()
	other := strings.ReplaceAll(job, "main:1", "main:2") + "---" + strings.ReplaceAll(three, "key: value", "key: other")

	b.counter.Take()
	_, err := b.apply(other, apply.Options{})
	if !apierrors.IsInvalid(err) || !strings.HasPrefix(err.Error(), "Job/"+b.namespace+"/job dry-run failed (Invalid): ") {
		t.Errorf("without force: %v", err)
	}
	b.requests("nothing was written", map[string]int{"dry-run": 2})

	same(t, "with force", []string{"ConfigMap/NS/config configured", "Job/NS/job created"},
		b.anonymous(b.mustApply(other, apply.Options{Force: true})))
	b.requests("only the refused object is deleted", map[string]int{"dry-run": 2, "delete": 1, "apply": 2})
	if b.get(b.ref("Job", "job")).GetUID() == uid {
		t.Error("the job was not created anew")
	}

	alone := strings.ReplaceAll(job, "metadata: {name: job", "metadata: {annotations: {kustomize.toolkit.fluxcd.io/force: Enabled}, name: job")
	same(t, "with a marker, and alone", []string{"Job/NS/job created"}, b.anonymous(b.mustApply(alone, apply.Options{})))
}

func TestAllRefusalsAreToldBeforeAnythingIsWritten(t *testing.T) {
	b := newBench(t)
	_, err := b.apply(`
apiVersion: v1
kind: ConfigMap
metadata: {name: fine, namespace: NS}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: unknown, namespace: NS}
dota: {key: value}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: lost}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: nowhere, namespace: NS-nowhere}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: invalid, namespace: NS}
spec: {selector: {matchLabels: {a: b}}, template: {metadata: {labels: {c: d}}, spec: {containers: [{name: a, image: a}]}}}
---
apiVersion: example.com/v1
kind: Nothing
metadata: {name: nothing, namespace: NS}
`, apply.Options{})
	if err == nil {
		t.Fatal("no error")
	}
	got := strings.Split(strings.ReplaceAll(err.Error(), b.namespace, "NS"), "\n")
	want := []string{
		`ConfigMap/lost namespace not specified: the server could not find the requested resource`,
		`ConfigMap/NS/unknown dry-run failed: failed to create typed patch object (NS/unknown; /v1, Kind=ConfigMap): .dota: field not declared in schema`,
		`ConfigMap/NS-nowhere/nowhere not found: namespaces "NS-nowhere" not found`,
		`Deployment/NS/invalid dry-run failed (Invalid): `,
		`Nothing/NS/nothing dry-run failed: no matches for kind "Nothing" in version "example.com/v1"`,
	}
	for i := range got {
		if i < len(want) && strings.HasPrefix(got[i], want[i]) {
			got[i] = want[i]
		}
	}
	same(t, "all errors, in order", want, got)
	b.requests("nothing was written", map[string]int{"dry-run": 4})
	var one *apply.Error
	if !errors.As(err, &one) || one.Step != apply.DryRun {
		t.Errorf("the errors are not typed: %#v", err)
	}
}

func TestImpersonation(t *testing.T) {
	b := newBench(t)
	tenant := b.tenant("configmaps", "'*'")
	_, err := b.applier.Apply(b.ctx(), tenant, b.owner, b.objects(three), apply.Options{})
	text := ""
	if err != nil {
		text = strings.ReplaceAll(err.Error(), b.namespace, "NS")
	}
	for _, part := range []string{
		"Service/NS/app dry-run failed (Forbidden): ", "Deployment/NS/app dry-run failed (Forbidden): ",
		`User "system:serviceaccount:NS:tenant" cannot patch resource`,
	} {
		if !strings.Contains(text, part) {
			t.Errorf("error has no %q: %s", part, text)
		}
	}
	b.requests("nothing was written", map[string]int{"dry-run": 3})

	r, err := b.applier.Apply(b.ctx(), tenant, b.owner, b.objects(three)[:1], apply.Options{})
	if err != nil {
		t.Fatal(err)
	}
	same(t, "what is allowed", []string{"ConfigMap/NS/config created"}, b.anonymous(lines(r.Changes)))
	if _, err := b.factory.As(b.namespace, ""); !errors.Is(err, access.ErrNoIdentity) {
		t.Errorf("an empty identity: %v", err)
	}
}

func TestRightsOfTheSameSet(t *testing.T) {
	b := newBench(t)
	b.create(`
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: NS-roles}
rules: [{apiGroups: [rbac.authorization.k8s.io], resources: [clusterroles], verbs: [get, create, patch, escalate]}]
`)
	b.create(`
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: NS-roles}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: NS-roles}
subjects: [{kind: ServiceAccount, name: tenant, namespace: NS}]
`)
	b.create(`
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: granted, namespace: NS}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: NS-granted}
subjects: [{kind: ServiceAccount, name: tenant, namespace: NS}]
`)
	tenant := b.tenant("configmaps", "get")
	set := b.objects(`
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: NS-granted}
rules: [{apiGroups: [""], resources: [services], verbs: ["*"]}]
---
apiVersion: v1
kind: Service
metadata: {name: app, namespace: NS}
spec: {selector: {app: app}, ports: [{port: 80}]}
`)
	r, err := b.applier.Apply(b.ctx(), tenant, b.owner, set, apply.Options{})
	if err != nil {
		t.Fatal(err)
	}
	same(t, "what the set grants, it may use", []string{"ClusterRole/NS-granted created", "Service/NS/app created"}, b.anonymous(lines(r.Changes)))
}

func TestTakeOver(t *testing.T) {
	b := newBench(t)
	// What kubectl apply leaves behind: one entry of its own, and a copy in an annotation.
	u := b.objects(`
apiVersion: v1
kind: ConfigMap
metadata:
  name: config
  namespace: NS
  labels: {fluxcd.io/sync-gc-mark: x}
  annotations: {kubectl.kubernetes.io/last-applied-configuration: "{}", other: stays}
data: {key: old, extra: x}
`)
	if _, err := b.admin.Create(b.ctx(), u[0], "kubectl-client-side-apply"); err != nil {
		t.Fatal(err)
	}
	b.create(`
apiVersion: v1
kind: ConfigMap
metadata: {name: merged, namespace: NS}
data: {extra: x}
`)
	b.edit(b.ref("ConfigMap", "merged"), "kubectl-edit", `{"data":{"more":"x"}}`)
	set := `
apiVersion: v1
kind: ConfigMap
metadata: {name: config, namespace: NS}
data: {key: value}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: merged, namespace: NS, annotations: {kustomize.toolkit.fluxcd.io/ssa: merge}}
data: {key: value}
`
	o := apply.Options{DropLabels: []string{"fluxcd.io/sync-gc-mark"}}
	same(t, "both are ours now", []string{"ConfigMap/NS/config configured", "ConfigMap/NS/merged configured"},
		b.anonymous(b.mustApply(set, o)))
	b.requests("one patch and one more apply", map[string]int{"dry-run": 2, "apply": 3, "patch": 1})

	config, merged := b.get(b.ref("ConfigMap", "config")), b.get(b.ref("ConfigMap", "merged"))
	data, _, _ := unstructured.NestedStringMap(config.Object, "data")
	same(t, "what kubectl had set is gone", map[string]string{"key": "value"}, data)
	same(t, "kubectl's copy too", map[string]string(nil), config.GetAnnotations())
	same(t, "and the label of an earlier tool", "", config.GetLabels()["fluxcd.io/sync-gc-mark"])
	data, _, _ = unstructured.NestedStringMap(merged.Object, "data")
	same(t, "merged objects keep what others set", map[string]string{"key": "value", "extra": "x", "more": "x"}, data)
	same(t, "nothing more to do", []string{}, b.mustApply(set, o))
	b.restart()
	same(t, "not after a restart either", []string{}, b.mustApply(set, o))
	b.edit(b.ref("ConfigMap", "config"), "kubectl-edit", `{"data":{"added":"x"}}`)
	b.restart()
	same(t, "what kubectl adds in the meantime goes at once", []string{"ConfigMap/NS/config configured"}, b.anonymous(b.mustApply(set, o)))
}

func TestInstanceOwner(t *testing.T) {
	b := newBench(t)
	b.owner.Prefix, b.owner.Manager = "fluxcd.controlplane.io", "flux-operator"
	set := `
apiVersion: v1
kind: ConfigMap
metadata: {name: config, namespace: NS, annotations: {kustomize.toolkit.fluxcd.io/ssa: Ignore}}
data: {key: value}
`
	same(t, "another owner's marker is not ours", []string{"ConfigMap/NS/config created"}, b.anonymous(b.mustApply(set, apply.Options{})))
	live := b.get(b.ref("ConfigMap", "config"))
	same(t, "labels", map[string]string{
		"fluxcd.controlplane.io/name": "app", "fluxcd.controlplane.io/namespace": b.namespace,
	}, live.GetLabels())
	same(t, "manager", "flux-operator", live.GetManagedFields()[0].Manager)
}
