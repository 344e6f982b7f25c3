package operator

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/yaml"
)

func TestManagerOf(t *testing.T) {
	controller := true
	cases := map[string]struct {
		reason string
		meta   metav1.ObjectMeta
		want   string
	}{
		"Nobody":       {"What kubectl has applied is nobody's.", metav1.ObjectMeta{Labels: map[string]string{"app.kubernetes.io/name": "flux-operator", "app.kubernetes.io/instance": "flux-operator"}}, ""},
		"OLM":          {"The label of the Operator Lifecycle Manager.", metav1.ObjectMeta{Labels: map[string]string{"olm.owner": "flux-operator.v1"}}, "OLM"},
		"CSV":          {"Its owner reference.", metav1.ObjectMeta{OwnerReferences: []metav1.OwnerReference{{APIVersion: "operators.coreos.com/v1alpha1", Kind: "ClusterServiceVersion", Name: "x"}}}, "OLM"},
		"Helm":         {"The annotation of Helm.", metav1.ObjectMeta{Annotations: map[string]string{"meta.helm.sh/release-name": "x"}}, "Helm"},
		"HelmLabel":    {"The label of charts.", metav1.ObjectMeta{Labels: map[string]string{"app.kubernetes.io/managed-by": "Helm"}}, "Helm"},
		"HelmRelease":  {"A HelmRelease is more telling than Helm.", metav1.ObjectMeta{Labels: map[string]string{"app.kubernetes.io/managed-by": "Helm", "helm.toolkit.fluxcd.io/name": "op", "helm.toolkit.fluxcd.io/namespace": "ns"}}, "HelmRelease/ns/op"},
		"Kustomize":    {"A Kustomization.", metav1.ObjectMeta{Labels: map[string]string{"kustomize.toolkit.fluxcd.io/name": "fleet", "kustomize.toolkit.fluxcd.io/namespace": "ns"}}, "Kustomization/ns/fleet"},
		"ResourceSet":  {"A ResourceSet.", metav1.ObjectMeta{Labels: map[string]string{"resourceset.fluxcd.controlplane.io/name": "x", "resourceset.fluxcd.controlplane.io/namespace": "ns"}}, "ResourceSet/ns/x"},
		"ArgoTracking": {"The annotation of Argo CD.", metav1.ObjectMeta{Annotations: map[string]string{"argocd.argoproj.io/tracking-id": "x:apps/Deployment:a/b"}}, "Argo CD"},
		"ArgoApplies":  {"Its field manager, for one that tracks by the label that others have, too.", metav1.ObjectMeta{ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "argocd-controller"}}}, "Argo CD"},
		"Others":       {"The label that is for this.", metav1.ObjectMeta{Labels: map[string]string{"app.kubernetes.io/managed-by": "pulumi"}}, "pulumi"},
		"Controller":   {"A controller that nobody here knows.", metav1.ObjectMeta{OwnerReferences: []metav1.OwnerReference{{APIVersion: "example.com/v1", Kind: "Platform", Name: "x", Controller: &controller}}}, "Platform/x"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := managerOf(&appsv1.Deployment{ObjectMeta: tc.meta}); got != tc.want {
				t.Errorf("%s\ngot %q, want %q", tc.reason, got, tc.want)
			}
		})
	}
}

func TestLocate(t *testing.T) {
	cases := map[string]struct {
		reason string
		pod    string
		name   string
		want   place
		err    string
	}{
		"Usual": {
			reason: "One argument.", pod: `containers: [{name: manager, image: a, args: [--x, --image=b]}]`,
			want: place{Build: Build{"a", "b"}, name: "manager", argument: 1, prefix: "--image="},
		},
		"Apart": {
			reason: "The value may stand alone.", pod: `containers: [{name: manager, image: a, args: [--image, b]}]`,
			want: place{Build: Build{"a", "b"}, name: "manager", argument: 1},
		},
		"Last": {
			reason: "The last one counts.", pod: `containers: [{name: manager, image: a, args: [--image=b, --image=c]}]`,
			want: place{Build: Build{"a", "c"}, name: "manager", argument: 1, prefix: "--image="},
		},
		"Sidecar": {
			reason: "Others run beside it.", pod: `containers: [{name: proxy, image: p, args: [--verbose]}, {name: manager, image: a, args: [--image=b]}]`,
			want: place{Build: Build{"a", "b"}, container: 1, name: "manager", prefix: "--image="},
		},
		"Told": {
			reason: "Another one has such an argument, too.", pod: `containers: [{name: x, image: p, args: [--image=q]}, {name: weir, image: a, args: [--image=told]}]`,
			want: place{Build: Build{"a", "told"}, container: 1, name: "weir", prefix: "--image="},
		},
		"Named": {
			reason: "In a template of another image the name tells.", name: "weir",
			pod:  `containers: [{name: x, image: p, args: [--image=q]}, {name: weir, image: a, args: [--image=new]}]`,
			want: place{Build: Build{"a", "new"}, container: 1, name: "weir", prefix: "--image="},
		},
		"Nowhere":     {reason: "No argument.", pod: `containers: [{name: manager, image: a, args: [--images=b]}]`, err: "no container has an argument --image"},
		"NoValue":     {reason: "An argument without a value.", pod: `containers: [{name: manager, image: a, args: [--image]}]`, err: "no container has an argument --image"},
		"Gone":        {reason: "The container that runs this process was renamed.", name: "manager", pod: `containers: [{name: x, image: a, args: [--image=b]}]`, err: "no container has an argument --image"},
		"Ambiguous":   {reason: "Two containers run the same.", pod: `containers: [{name: x, image: a, args: [--image=told]}, {name: weir, image: a, args: [--image=told]}]`, err: "more than one container has the argument --image"},
		"Environment": {reason: "It is written elsewhere.", pod: `containers: [{name: manager, image: a, args: ["--image=$(IMAGE)"]}]`, err: `the argument --image of container "manager" comes from its environment`},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			pod := corev1.PodSpec{}
			if err := yaml.UnmarshalStrict([]byte(tc.pod), &pod); err != nil {
				t.Fatal(err)
			}
			got, err := locate(pod, tc.name, "told")
			if tc.err != "" || err != nil {
				if fmt.Sprint(err) != tc.err {
					t.Errorf("%s\nerror %v, want %s", tc.reason, err, tc.err)
				}
				return
			}
			if got != tc.want {
				t.Errorf("%s\ngot %+v, want %+v", tc.reason, got, tc.want)
			}
		})
	}
}

func TestUnfit(t *testing.T) {
	one, two, third, all := int32(1), int32(2), intstr.FromString("34%"), intstr.FromString("100%")
	none, single := intstr.FromInt32(0), intstr.FromInt32(1)
	rolling := func(away *intstr.IntOrString) appsv1.DeploymentStrategy {
		return appsv1.DeploymentStrategy{RollingUpdate: &appsv1.RollingUpdateDeployment{MaxUnavailable: away}}
	}
	const nobody = ", which leaves nobody to put the image back"
	cases := map[string]struct {
		reason string
		spec   appsv1.DeploymentSpec
		want   string
	}{
		"Ours":     {"As we install it.", appsv1.DeploymentSpec{Replicas: &one, Strategy: rolling(&none)}, ""},
		"Usual":    {"A part of one pod is none.", appsv1.DeploymentSpec{Replicas: &one, Strategy: rolling(&third)}, ""},
		"Two":      {"One of two may be away.", appsv1.DeploymentSpec{Replicas: &two, Strategy: rolling(&single)}, ""},
		"Single":   {"One of one may not.", appsv1.DeploymentSpec{Replicas: &one, Strategy: rolling(&single)}, "its maxUnavailable 1 allows all of its pods to be away" + nobody},
		"All":      {"Nor all of two.", appsv1.DeploymentSpec{Replicas: &two, Strategy: rolling(&all)}, "its maxUnavailable 100% allows all of its pods to be away" + nobody},
		"Recreate": {"The old pod goes first.", appsv1.DeploymentSpec{Strategy: appsv1.DeploymentStrategy{Type: "Recreate"}}, "its strategy is Recreate" + nobody},
		"Paused":   {"Nothing would happen.", appsv1.DeploymentSpec{Paused: true}, "its rollout is paused"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, unfit(tc.spec)); diff != "" {
				t.Errorf("%s\n(-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func definition(t *testing.T, schema string, labels ...string) *unstructured.Unstructured {
	t.Helper()
	d := &unstructured.Unstructured{}
	content := "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: x}\nspec: {versions: [{name: v1, schema: {openAPIV3Schema: " + schema + "}}]}"
	if err := yaml.Unmarshal([]byte(content), &d.Object); err != nil {
		t.Fatal(err)
	}
	if len(labels) > 0 {
		d.SetLabels(map[string]string{labels[0]: labels[1]})
	}
	return d
}

func TestReplaces(t *testing.T) {
	const small, large = `{properties: {spec: {properties: {a: {type: string}}}}}`, `{properties: {spec: {properties: {a: {type: string}, b: {type: string}}}}}`
	const other = `{properties: {spec: {properties: {c: {type: string}}}}}`
	helm := []string{"app.kubernetes.io/managed-by", "Helm"}
	cases := map[string]struct {
		reason       string
		live, wanted *unstructured.Unstructured
		want         bool
		err          string
	}{
		"Newer":       {"It has more.", definition(t, small), definition(t, large), true, ""},
		"Same":        {"Its rules may differ.", definition(t, small), definition(t, small), true, ""},
		"Older":       {"Objects would lose what they have.", definition(t, large), definition(t, small), false, ""},
		"Apart":       {"Neither will do for both.", definition(t, small), definition(t, other), false, "has the field spec.a in v1, which that of the release lacks, and lacks the field spec.c in v1"},
		"Theirs":      {"Others have to bring what is needed.", definition(t, small, helm...), definition(t, large), false, "lacks the field spec.b in v1, and is managed by Helm"},
		"TheirsNewer": {"They have brought it.", definition(t, large, helm...), definition(t, large), false, ""},
		"Items": {
			"Within lists.", definition(t, `{properties: {l: {items: {properties: {a: {type: string}}}}}}`), definition(t, `{properties: {l: {items: {properties: {b: {type: string}}}}}}`),
			false, "has the field l.a in v1, which that of the release lacks, and lacks the field l.b in v1",
		},
		"Nothing":  {"What kept everything has anything.", definition(t, `{properties: {v: {x-kubernetes-preserve-unknown-fields: true}}}`), definition(t, `{properties: {v: {type: object}}}`), false, ""},
		"Anything": {"What keeps everything lacks nothing.", definition(t, large), definition(t, `{x-kubernetes-preserve-unknown-fields: true}`), true, ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := replaces(tc.live, tc.wanted)
			if got != tc.want || (err != nil || tc.err != "") && fmt.Sprint(err) != tc.err {
				t.Errorf("%s\ngot %v, %v; want %v, %s", tc.reason, got, err, tc.want, tc.err)
			}
		})
	}
	more := definition(t, small)
	versions, _, _ := unstructured.NestedSlice(more.Object, "spec", "versions")
	_ = unstructured.SetNestedSlice(more.Object, append(versions, map[string]any{"name": "v2"}), "spec", "versions")
	if got, err := replaces(more, definition(t, small)); got || err != nil {
		t.Errorf("a definition that lacks a version replaces the live one: %v", err)
	}
}
