package api_test

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	kjson "sigs.k8s.io/json"

	controlplanev1 "github.com/weir-dev/weir/api/controlplane/v1"
	helmv2 "github.com/weir-dev/weir/api/helm/v2"
	imagev1 "github.com/weir-dev/weir/api/image/v1"
	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	"github.com/weir-dev/weir/api/meta"
	notificationv1 "github.com/weir-dev/weir/api/notification/v1"
	notificationv1beta3 "github.com/weir-dev/weir/api/notification/v1beta3"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	sourceextensionsv1beta1 "github.com/weir-dev/weir/api/sourceextensions/v1beta1"
)

// object is what every kind can do.
type object interface {
	metav1.Object
	runtime.Object
	Suspended() bool
}

func TestKindNames(t *testing.T) {
	names := map[string]object{
		controlplanev1.FluxInstanceKind:               &controlplanev1.FluxInstance{},
		controlplanev1.FluxReportKind:                 &controlplanev1.FluxReport{},
		controlplanev1.ResourceSetKind:                &controlplanev1.ResourceSet{},
		controlplanev1.ResourceSetInputProviderKind:   &controlplanev1.ResourceSetInputProvider{},
		helmv2.HelmReleaseKind:                        &helmv2.HelmRelease{},
		imagev1.ImagePolicyKind:                       &imagev1.ImagePolicy{},
		imagev1.ImageRepositoryKind:                   &imagev1.ImageRepository{},
		imagev1.ImageUpdateAutomationKind:             &imagev1.ImageUpdateAutomation{},
		kustomizev1.KustomizationKind:                 &kustomizev1.Kustomization{},
		notificationv1.ReceiverKind:                   &notificationv1.Receiver{},
		notificationv1beta3.AlertKind:                 &notificationv1beta3.Alert{},
		notificationv1beta3.ProviderKind:              &notificationv1beta3.Provider{},
		sourcev1.BucketKind:                           &sourcev1.Bucket{},
		sourcev1.ExternalArtifactKind:                 &sourcev1.ExternalArtifact{},
		sourcev1.GitRepositoryKind:                    &sourcev1.GitRepository{},
		sourcev1.HelmChartKind:                        &sourcev1.HelmChart{},
		sourcev1.HelmRepositoryKind:                   &sourcev1.HelmRepository{},
		sourcev1.OCIRepositoryKind:                    &sourcev1.OCIRepository{},
		sourceextensionsv1beta1.ArtifactGeneratorKind: &sourceextensionsv1beta1.ArtifactGenerator{},
	}
	if len(names) != kinds {
		t.Errorf("%d names, want %d", len(names), kinds)
	}

	scheme := newScheme(t)

	for name, obj := range names {
		gvks, _, err := scheme.ObjectKinds(obj)
		if err != nil || len(gvks) != 1 || gvks[0].Kind != name {
			t.Errorf("%T: kinds are %v (%v), want %s", obj, gvks, err, name)
		}
	}
}

func TestSources(t *testing.T) {
	artifact := &meta.Artifact{Revision: "main@sha1:1"}
	sources := []interface{ GetArtifact() *meta.Artifact }{
		&sourcev1.Bucket{Status: sourcev1.BucketStatus{Artifact: artifact}},
		&sourcev1.ExternalArtifact{Status: sourcev1.ExternalArtifactStatus{Artifact: artifact}},
		&sourcev1.GitRepository{Status: sourcev1.GitRepositoryStatus{Artifact: artifact}},
		&sourcev1.HelmChart{Status: sourcev1.HelmChartStatus{Artifact: artifact}},
		&sourcev1.HelmRepository{Status: sourcev1.HelmRepositoryStatus{Artifact: artifact}},
		&sourcev1.OCIRepository{Status: sourcev1.OCIRepositoryStatus{Artifact: artifact}},
	}

	for _, source := range sources {
		if source.GetArtifact() != artifact {
			t.Errorf("%T does not return its artifact", source)
		}
	}
}

// TestStatusFields checks that the fields that a kind points at are those of its contract, and that a change of them
// is a change of the status.
func TestStatusFields(t *testing.T) {
	scheme := newScheme(t)

	for gvk, c := range readCRDs(t) {
		t.Run(gvk.Kind, func(t *testing.T) {
			obj := newObject(t, scheme, gvk)

			has, ok := obj.(interface{ StatusFields() meta.StatusFields })
			if !ok {
				if c.properties("status") != nil {
					t.Fatalf("%T has a status and no StatusFields", obj)
				}

				return
			}

			fields := has.StatusFields()
			if fields.Conditions != nil {
				*fields.Conditions = []metav1.Condition{{Type: meta.ReadyCondition}}
			}

			if fields.ObservedGeneration != nil {
				*fields.ObservedGeneration = 7
			}

			if fields.LastHandledReconcileAt != nil {
				*fields.LastHandledReconcileAt = "now"
			}

			status, _ := toJSON(t, obj)["status"].(map[string]any)

			for _, field := range []string{"conditions", "observedGeneration", "lastHandledReconcileAt"} {
				_, want := c.properties("status")[field]
				if _, got := status[field]; got != want {
					t.Errorf("status.%s is set: %v; the contract has it: %v", field, got, want)
				}
			}
		})
	}
}

// TestSuspended suspends every kind in the way that its contract has.
func TestSuspended(t *testing.T) {
	scheme := newScheme(t)

	for gvk, c := range readCRDs(t) {
		t.Run(gvk.Kind, func(t *testing.T) {
			obj := newObject(t, scheme, gvk)
			if obj.Suspended() {
				t.Error("suspended from the start")
			}

			_, bySpec := c.properties("spec")["suspend"]
			if bySpec {
				fromJSON(t, map[string]any{"spec": map[string]any{"suspend": true}}, obj)
			} else {
				obj.SetAnnotations(map[string]string{gvk.Group + "/reconcile": "Disabled"})
			}

			// What others make, nobody here can suspend.
			if want := gvk.Kind != sourcev1.ExternalArtifactKind; obj.Suspended() != want {
				t.Errorf("suspended is %v, want %v", obj.Suspended(), want)
			}

			if bySpec {
				return
			}

			obj.SetAnnotations(map[string]string{gvk.Group + "/reconcile": "enabled"})

			if obj.Suspended() {
				t.Error("suspended by an annotation that enables")
			}
		})
	}
}

// TestRoundTrip fills every field of the schema of every kind, and expects to find it again.
func TestRoundTrip(t *testing.T) {
	scheme := newScheme(t)

	for gvk, c := range readCRDs(t) {
		t.Run(gvk.Kind, func(t *testing.T) {
			root := c.version.Schema.OpenAPIV3Schema
			want := map[string]any{}

			for _, field := range []string{"spec", "status"} {
				if s, ok := root.Properties[field]; ok {
					want[field] = sample(field, &s)
				}
			}

			obj := newObject(t, scheme, gvk)
			fromJSON(t, want, obj)

			if diff := cmp.Diff(want, toJSON(t, obj)); diff != "" {
				t.Errorf("decoded and encoded (-want, +got):\n%s", diff)
			}

			if diff := cmp.Diff(want, toJSON(t, obj.DeepCopyObject())); diff != "" {
				t.Errorf("copied (-want, +got):\n%s", diff)
			}
		})
	}
}

// TestEmptyStatusIsLeftOut guards the default of the status, which the API server applies only if there is none.
func TestEmptyStatusIsLeftOut(t *testing.T) {
	scheme := newScheme(t)

	for _, gvk := range served(scheme) {
		got := toJSON(t, newObject(t, scheme, gvk))
		if _, ok := got["status"]; ok {
			t.Errorf("%s: an empty object is %v", gvk.Kind, got)
		}
	}
}

// sample returns a value for the schema, with every property set to something that is not its zero value.
func sample(name string, s *apiextensionsv1.JSONSchemaProps) any {
	switch {
	case len(s.Enum) > 0:
		return strings.Trim(string(s.Enum[0].Raw), `"`)
	case s.Type == "object" && len(s.Properties) > 0:
		out := map[string]any{}

		for _, key := range slices.Sorted(maps.Keys(s.Properties)) {
			p := s.Properties[key]
			out[key] = sample(key, &p)
		}

		return out
	case s.AdditionalProperties != nil:
		return map[string]any{"key": sample("key", s.AdditionalProperties.Schema)}
	case s.XIntOrString:
		return "42" // a number in its text form, which a quantity keeps too
	case s.Type == "array":
		return []any{sample(name, s.Items.Schema)}
	case s.Type == "integer":
		return float64(42)
	case s.Type == "boolean":
		return true
	case s.Format == "date-time":
		return "2025-11-20T10:05:00Z"
	case s.Type == "string":
		if strings.Contains(s.Pattern, "(ms|s|m") || strings.HasSuffix(name, "Duration") {
			return "1m30s"
		}

		return "text of " + name
	default:
		return map[string]any{"any": []any{"thing", float64(1), true}}
	}
}

func newObject(t *testing.T, scheme *runtime.Scheme, gvk schema.GroupVersionKind) object {
	t.Helper()

	obj, err := scheme.New(gvk)
	if err != nil {
		t.Fatal(err)
	}

	o, ok := obj.(object)
	if !ok {
		t.Fatalf("%T lacks a method of %T", obj, (*object)(nil))
	}

	return o
}

// fromJSON decodes as the API machinery does, and fails on fields that the object does not have.
func fromJSON(t *testing.T, from map[string]any, into any) {
	t.Helper()

	data, err := json.Marshal(from)
	if err != nil {
		t.Fatal(err)
	}

	unknown, err := kjson.UnmarshalStrict(data, into)
	if err != nil || len(unknown) > 0 {
		t.Fatalf("decode %T: %v %v", into, err, unknown)
	}
}

func toJSON(t *testing.T, from any) map[string]any {
	t.Helper()

	data, err := json.Marshal(from)
	if err != nil {
		t.Fatal(err)
	}

	out := map[string]any{}
	if err := json.Unmarshal(data, &out); err != nil {
		t.Fatal(err)
	}

	return out
}
