package distribution

import (
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/config/crd"
	operator "github.com/weir-dev/weir/config/operator"
	"github.com/weir-dev/weir/test/cluster"
)

var shared cluster.Shared

func TestMain(m *testing.M) { os.Exit(shared.Main(m)) }

// TestAdmission asks a real API server whether it takes what is built, field by field, in a namespace that enforces the restricted
// Pod Security Standard.
func TestAdmission(t *testing.T) {
	c := server(t)
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name: "flux-system", Labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted"},
	}}
	if err := c.Create(t.Context(), ns); err != nil {
		t.Fatal(err)
	}
	class := &schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: "platform"}, Value: 1000}
	if err := c.Create(t.Context(), class); err != nil && !apierrors.IsAlreadyExists(err) {
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
	for _, name := range []string{"AllComponents", "Unified", "Sharding", "SizeLarge", "WorkloadIdentity", "FIPS",
		"Workloads", "UnifiedWorkloads", "HighAvailability", "LeaderElection", "Syncs", "SyncVerifiedByKey", "SyncBucket", "NamedInPatches"} {
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

// server is the API server, which knows the kinds of the instance and of what it makes.
func server(t *testing.T) client.Client {
	t.Helper()
	known := runtime.NewScheme()
	if err := errors.Join(scheme.AddToScheme(known), fluxv1.AddToScheme(known)); err != nil {
		t.Fatal(err)
	}
	c, err := client.New(shared.Start(t).Config(), client.Options{Scheme: known})
	if err != nil {
		t.Fatal(err)
	}
	definitions, err := readCRDs(crd.FS())
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range definitions {
		if err := c.Create(t.Context(), o); err != nil && !apierrors.IsAlreadyExists(err) {
			t.Fatal(err)
		}
		served(t, c, o)
	}
	return c
}

// served waits until the API server serves what it was told to.
func served(t *testing.T, c client.Client, definition *unstructured.Unstructured) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if err := c.Get(t.Context(), client.ObjectKeyFromObject(definition), definition); err != nil {
			t.Fatal(err)
		}
		conditions, _, _ := unstructured.NestedSlice(definition.Object, "status", "conditions")
		for _, raw := range conditions {
			if m, ok := raw.(map[string]any); ok && m["type"] == "Established" && m["status"] == "True" {
				return
			}
		}
		select {
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatalf("%s is not served: %v", definition.GetName(), conditions)
		}
	}
}

// admit applies an object without storing it, and the pod that a Deployment would make.
func admit(t *testing.T, c client.Client, o *unstructured.Unstructured) error {
	t.Helper()
	if o.GetKind() == "CustomResourceDefinition" {
		return nil // those of the tests are too short
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
