package distribution

import (
	"fmt"
	"os"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/config/crd"
	operator "github.com/weir-dev/weir/config/operator"
	"github.com/weir-dev/weir/test/cluster"
)

var shared cluster.Shared

func TestMain(m *testing.M) { os.Exit(shared.Main(m)) }

// TestAdmission asks a real API server whether it takes what is built, field by field, in a namespace that enforces the restricted
// Pod Security Standard. Custom resources are left out: their definitions are not there.
func TestAdmission(t *testing.T) {
	c, err := client.New(shared.Start(t).Config(), client.Options{Scheme: scheme.Scheme})
	if err != nil {
		t.Fatal(err)
	}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name: "flux-system", Labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted"},
	}}
	if err := c.Create(t.Context(), ns); err != nil {
		t.Fatal(err)
	}
	install, err := Install(operator.FS(), crd.FS(), testImage)
	if err != nil {
		t.Fatal(err)
	}
	objects, err := parse(install)
	if err != nil {
		t.Fatal(err)
	}
	sets := map[string][]*unstructured.Unstructured{"Operator": objects}
	d := load(t)
	for _, name := range []string{"AllComponents", "Unified", "Sharding", "SizeLarge", "WorkloadIdentity", "FIPS"} {
		sets[name] = build(t, d, name).Objects
	}
	for name, objects := range sets {
		t.Run(name, func(t *testing.T) {
			for _, o := range objects {
				if err := admit(t, c, o); err != nil {
					t.Errorf("%s %q: %v", o.GetKind(), o.GetName(), err)
				}
			}
		})
	}
}

// admit applies an object without storing it, and the pod that a Deployment would make.
func admit(t *testing.T, c client.Client, o *unstructured.Unstructured) error {
	t.Helper()
	if o.GetKind() == "CustomResourceDefinition" || strings.HasSuffix(o.GroupVersionKind().Group, ".fluxcd.io") {
		return nil
	}
	err := c.Patch(t.Context(), o.DeepCopy(), client.Apply, client.FieldOwner("test"), client.ForceOwnership, //nolint:staticcheck // the objects are unstructured
		client.DryRunAll, client.FieldValidation(metav1.FieldValidationStrict))
	if err != nil || o.GetKind() != "Deployment" {
		return err
	}
	deployment := &appsv1.Deployment{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, deployment); err != nil {
		return err
	}
	template := deployment.Spec.Template
	pod := &corev1.Pod{ObjectMeta: *template.ObjectMeta.DeepCopy(), Spec: template.Spec}
	pod.Namespace, pod.GenerateName = deployment.Namespace, deployment.Name+"-"
	if err := c.Create(t.Context(), pod, client.DryRunAll); err != nil {
		return fmt.Errorf("pod: %w", err)
	}
	return nil
}
