package operator_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	manifests "github.com/weir-dev/weir/config/operator"
	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/operator"
	"github.com/weir-dev/weir/test/cluster"
)

// With controllers, which make the ReplicaSets and pods of a Deployment.
var shared = cluster.Shared{Options: cluster.Options{Mode: cluster.ControlPlane}}

func TestMain(m *testing.M) { os.Exit(shared.Main(m)) }

const (
	patience = 60 * time.Second
	before   = "registry.example.com/weir:v1"
	after    = "mirror.example.com/weir:v2@sha256:0000000000000000000000000000000000000000000000000000000000000002"
)

// env is a namespace with the operator's Deployment in it.
type env struct {
	t         *testing.T
	c         client.Client
	own       *access.Client
	namespace string
}

func start(t *testing.T, name string) *env {
	t.Helper()
	config := shared.Start(t).Config()
	kinds := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{scheme.AddToScheme, apiextensionsv1.AddToScheme} {
		must(t, add(kinds))
	}
	c, err := client.New(config, client.Options{Scheme: kinds})
	must(t, err)
	factory, err := access.New(config, access.Options{})
	must(t, err)
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: name + "-"}}
	must(t, c.Create(t.Context(), ns))
	e := &env{t: t, c: c, own: factory.Own(), namespace: ns.Name}
	must(t, c.Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace, Name: "flux-operator"}}))
	return e
}

// install creates the Deployment of config/operator, and returns it with its pod.
func (e *env) install() (*appsv1.Deployment, *corev1.Pod) {
	e.t.Helper()
	content, err := manifests.FS().Open("deployment.yaml")
	must(e.t, err)
	defer func() { _ = content.Close() }() // it is in memory
	raw := make([]byte, 1<<16)
	n, err := content.Read(raw)
	must(e.t, err)
	d := &appsv1.Deployment{}
	must(e.t, yaml.UnmarshalStrict([]byte(strings.ReplaceAll(strings.ReplaceAll(string(raw[:n]), "image: weir", "image: "+before), "image=weir", "image="+before)), d))
	d.Namespace = e.namespace
	must(e.t, e.c.Create(e.t.Context(), d))
	pod := e.pod(d, before)
	return e.deployment(), pod
}

func (e *env) deployment() *appsv1.Deployment {
	e.t.Helper()
	d := &appsv1.Deployment{}
	must(e.t, e.c.Get(e.t.Context(), types.NamespacedName{Namespace: e.namespace, Name: "flux-operator"}, d))
	return d
}

// pod waits for a pod of the Deployment with the image.
func (e *env) pod(d *appsv1.Deployment, image string) *corev1.Pod {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(e.t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		pods := &corev1.PodList{}
		must(e.t, e.c.List(ctx, pods, client.InNamespace(e.namespace), client.MatchingLabels(d.Spec.Selector.MatchLabels)))
		for i := range pods.Items {
			if pods.Items[i].Spec.Containers[0].Image == image {
				return &pods.Items[i]
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			e.t.Fatalf("there is no pod of %q", image)
		}
	}
}

func (e *env) self(pod, image string) *operator.Self {
	return operator.New(operator.Options{Client: e.own, Namespace: e.namespace, Pod: pod, Image: image})
}

func (e *env) observe(s *operator.Self) operator.State {
	e.t.Helper()
	state, err := s.Observe(e.t.Context())
	must(e.t, err)
	return state
}

func (e *env) patch(obj client.Object, patch string) {
	e.t.Helper()
	must(e.t, e.c.Patch(e.t.Context(), obj, client.RawPatch(types.StrategicMergePatchType, []byte(patch))))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestUpgrade changes an image and one argument, whatever else others change meanwhile, and puts both back.
func TestUpgrade(t *testing.T) {
	e := start(t, "upgrade")
	d, pod := e.install()
	s := e.self(pod.Name, before)
	state := e.observe(s)
	same := operator.Build{Image: before, Argument: before}
	if state.Running != same || state.Wanted != same || state.Rolling() || state.ManagedBy != "" || state.Unfit != "" {
		t.Fatalf("at first: %+v", state)
	}

	// Somebody else changes other things at the same time, and keeps them.
	e.patch(e.deployment(), `{"metadata":{"labels":{"theirs":"yes"}},"spec":{"template":{"spec":{"containers":[{"name":"manager","env":[{"name":"THEIRS","value":"yes"}]}]}}}}`)
	must(t, s.Upgrade(t.Context(), state, after, nil))
	want := d.DeepCopy()
	now := e.deployment()
	want.Labels["theirs"] = "yes"
	container := &want.Spec.Template.Spec.Containers[0]
	container.Image = after
	container.Args[0] = "--image=" + after
	container.Env = append([]corev1.EnvVar{{Name: "THEIRS", Value: "yes"}}, container.Env...)
	if diff := cmp.Diff(want.Spec, now.Spec); diff != "" {
		t.Errorf("the Deployment (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want.Labels, now.Labels); diff != "" {
		t.Errorf("its labels (-want +got):\n%s", diff)
	}
	if fields := fieldsOf(now); fields != `{"f:spec":{"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"manager\"}":{"f:args":{},"f:image":{}}}}}}}` {
		t.Errorf("the upgrade owns %s", fields)
	}

	rolling := e.observe(s)
	if rolling.Running != same || !rolling.Rolling() || rolling.Wanted != (operator.Build{Image: after, Argument: after}) {
		t.Errorf("during the rollout: %+v", rolling)
	}
	successor := e.self(e.pod(d, after).Name, after)
	if state := e.observe(successor); state.Rolling() || state.Running.Image != after {
		t.Errorf("the new operator sees %+v", state)
	}

	must(t, s.Restore(t.Context(), rolling))
	if c := e.deployment().Spec.Template.Spec.Containers[0]; c.Image != before || c.Args[0] != "--image="+before {
		t.Errorf("put back was %q, %q", c.Image, c.Args[0])
	}
	if state := e.observe(successor); !state.Rolling() {
		t.Errorf("the new operator that is taken back sees %+v", state)
	}
}

func fieldsOf(d *appsv1.Deployment) string {
	for _, f := range d.ManagedFields {
		if f.Manager == operator.Manager {
			return f.FieldsV1.GetRawString()
		}
	}
	return ""
}

// TestChanged leaves a container alone that is no longer as it was seen.
func TestChanged(t *testing.T) {
	cases := map[string]struct {
		reason string
		patch  string
		want   string // image
	}{
		"image": {"Somebody else has given it another image.", `{"spec":{"template":{"spec":{"containers":[{"name":"manager","image":"x/weir:v3"}]}}}}`, "x/weir:v3"},
		"args":  {"The argument has moved.", `{"spec":{"template":{"spec":{"containers":[{"name":"manager","args":["--controllers=instance","--image=` + before + `"]}]}}}}`, before},
		"none":  {"The argument is gone.", `{"spec":{"template":{"spec":{"containers":[{"name":"manager","args":["--controllers=instance"]}]}}}}`, before},
		"order": {"Another container stands where it was.", `{"spec":{"template":{"spec":{"containers":[{"name":"proxy","image":"p"},{"name":"manager"}],"$setElementOrder/containers":[{"name":"proxy"},{"name":"manager"}]}}}}`, before},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			e := start(t, "changed-"+name)
			_, pod := e.install()
			s := e.self(pod.Name, before)
			state := e.observe(s)
			e.patch(e.deployment(), tc.patch)
			if err := s.Upgrade(t.Context(), state, after, nil); !errors.Is(err, operator.ErrChanged) {
				t.Errorf("%s\n%v", tc.reason, err)
			}
			for _, c := range e.deployment().Spec.Template.Spec.Containers {
				if c.Name == "manager" && c.Image != tc.want {
					t.Errorf("%s\nit runs %q", tc.reason, c.Image)
				}
			}
			if now := e.observe(s); name == "none" && now.Unfit != "no container has an argument --image" {
				t.Errorf("%s\n%+v", tc.reason, now)
			}
		})
	}
	e := start(t, "refused")
	_, pod := e.install()
	s := e.self(pod.Name, before)
	if err := s.Upgrade(t.Context(), e.observe(s), "", nil); err == nil || errors.Is(err, operator.ErrChanged) {
		t.Errorf("an image that is refused: %v", err)
	}
}

// TestAbsent says why there is no Deployment.
func TestAbsent(t *testing.T) {
	e := start(t, "absent")
	spec := corev1.PodSpec{ServiceAccountName: "flux-operator", Containers: []corev1.Container{{Name: "manager", Image: before}}}
	alone := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace, Name: "alone"}, Spec: spec}
	must(t, e.c.Create(t.Context(), alone))
	other := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace, Name: "other"}} // the kind does not matter
	must(t, e.c.Create(t.Context(), other))
	controller := true
	run := &corev1.Pod{Spec: spec, ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace, Name: "run", OwnerReferences: []metav1.OwnerReference{
		{APIVersion: "v1", Kind: "ConfigMap", Name: "other", UID: other.UID, Controller: &controller},
	}}}
	must(t, e.c.Create(t.Context(), run))
	_, pod := e.install()
	renewed := e.self(pod.Name, before)
	e.observe(renewed)
	for name, tc := range map[string]struct {
		reason, pod, want string
	}{
		"Outside":  {"A process on somebody's machine.", "laptop", "there is no Pod/" + e.namespace + "/laptop"},
		"Nameless": {"One that knows nothing.", "", "the process does not know its pod"},
		"Alone":    {"A pod of its own.", "alone", "Pod/" + e.namespace + "/alone has no controller"},
		"Other":    {"Something else runs it.", "run", "Pod/" + e.namespace + `/run is controlled by the ConfigMap "other", and not by a ReplicaSet`},
	} {
		_, err := e.self(tc.pod, before).Observe(t.Context())
		if _, ok := errors.AsType[*operator.AbsentError](err); !ok || fmt.Sprint(err) != tc.want {
			t.Errorf("%s: %s\n%v", name, tc.reason, err)
		}
	}

	d := e.deployment()
	must(t, e.c.Delete(t.Context(), d, client.PropagationPolicy(metav1.DeletePropagationOrphan)))
	again := d.DeepCopy()
	again.ObjectMeta = metav1.ObjectMeta{Namespace: d.Namespace, Name: d.Name, Labels: d.Labels}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for err := e.c.Create(ctx, again.DeepCopy()); err != nil; err = e.c.Create(ctx, again.DeepCopy()) {
		must(t, ctx.Err()) // the old one goes when its dependents have been let go
	}
	if _, err := renewed.Observe(t.Context()); err == nil || err.Error() != "Deployment/"+e.namespace+"/flux-operator is another one than that which runs this process" {
		t.Errorf("a Deployment that was made anew: %v", err)
	}
}

// TestDefinitions are there before the new image, and only grow.
func TestDefinitions(t *testing.T) {
	e := start(t, "definitions")
	_, pod := e.install()
	s := e.self(pod.Name, before)
	group := e.namespace + ".test"
	defined := func(fields ...string) []*unstructured.Unstructured {
		properties := map[string]any{}
		for _, f := range fields {
			properties[f] = map[string]any{"type": "string"}
		}
		return []*unstructured.Unstructured{{Object: map[string]any{
			"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
			"metadata": map[string]any{"name": "things." + group},
			"spec": map[string]any{
				"group": group, "scope": "Namespaced",
				"names": map[string]any{"kind": "Thing", "listKind": "ThingList", "plural": "things", "singular": "thing"},
				"versions": []any{map[string]any{
					"name": "v1", "served": true, "storage": true, "schema": map[string]any{"openAPIV3Schema": map[string]any{
						"type": "object", "properties": map[string]any{"spec": map[string]any{"type": "object", "properties": properties}},
					}},
				}},
			},
		}}}
	}
	fields := func() int {
		d := &apiextensionsv1.CustomResourceDefinition{}
		must(t, e.c.Get(t.Context(), types.NamespacedName{Name: "things." + group}, d))
		return len(d.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"].Properties)
	}
	must(t, s.Upgrade(t.Context(), e.observe(s), after, defined("a")))
	if n := fields(); n != 1 {
		t.Errorf("the new definition has %d fields", n)
	}
	must(t, s.Restore(t.Context(), e.observe(s)))
	must(t, s.Upgrade(t.Context(), e.observe(s), after, defined("a", "b")))
	if n := fields(); n != 2 {
		t.Errorf("the definition did not grow, it has %d fields", n)
	}
	must(t, s.Restore(t.Context(), e.observe(s)))
	must(t, s.Upgrade(t.Context(), e.observe(s), after, defined("a")))
	if n := fields(); n != 2 {
		t.Errorf("an older operator takes fields from the definition, it has %d", n)
	}
	must(t, s.Restore(t.Context(), e.observe(s)))
	err := s.Upgrade(t.Context(), e.observe(s), after, defined("c"))
	if _, ok := errors.AsType[*operator.BlockedError](err); !ok || !strings.HasPrefix(err.Error(), "CustomResourceDefinition/things."+group+" has the field spec.a in v1") {
		t.Errorf("a definition that lacks fields and has others: %v", err)
	}
	if image := e.deployment().Spec.Template.Spec.Containers[0].Image; image != before {
		t.Errorf("the operator is to run %q without its definitions", image)
	}
}
