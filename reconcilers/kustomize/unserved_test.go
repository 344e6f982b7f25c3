package kustomize_test

import (
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	"github.com/weir-dev/weir/api/meta"
)

// TestHealthOfUnservedKind holds that a tenant learns nothing about objects that it may not see by asking for their health, in
// words of its own, before their kind exists.
func TestHealthOfUnservedKind(t *testing.T) {
	e := newEnv(t)
	group := e.namespace + ".example.com" // served by nobody, also when the test is repeated

	e.create(&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace, Name: "team"}})
	allow(t, e.c, e.namespace, "team")
	e.publish("repo", "main@sha1:1", map[string]string{"a.yaml": configMap("a", "1")})
	e.kustomization("app", func(s *kustomizev1.KustomizationSpec) {
		s.ServiceAccountName = "team"
		s.HealthChecks = []meta.NamespacedObjectKindReference{
			{APIVersion: group + "/v1", Kind: "Thing", Name: "x", Namespace: "kube-system"},
		}
	})

	if obj, _ := e.once("app"); says(obj, meta.HealthyCondition) == "" || strings.HasPrefix(says(obj, meta.HealthyCondition), "True") {
		t.Errorf("Healthy is %q when the kind of a check does not exist", says(obj, meta.HealthyCondition))
	}

	preserve := true
	e.create(&apiextensionsv1.CustomResourceDefinition{
		ObjectMeta: metav1.ObjectMeta{Name: "things." + group},
		Spec: apiextensionsv1.CustomResourceDefinitionSpec{
			Group: group, Scope: apiextensionsv1.NamespaceScoped,
			Names: apiextensionsv1.CustomResourceDefinitionNames{Plural: "things", Kind: "Thing"},
			Versions: []apiextensionsv1.CustomResourceDefinitionVersion{{
				Name: "v1", Served: true, Storage: true,
				Schema: &apiextensionsv1.CustomResourceValidation{
					OpenAPIV3Schema: &apiextensionsv1.JSONSchemaProps{Type: "object", XPreserveUnknownFields: &preserve},
				},
			}},
		},
	})

	e.eventually("the account is asked for its rights", func() error {
		obj, _ := e.once("app")
		if got := says(obj, meta.ReadyCondition); !strings.Contains(got, "can't determine status for Thing/kube-system/x: ") || !strings.Contains(got, "forbidden") {
			return errors.New(got)
		}

		return nil
	})
}
