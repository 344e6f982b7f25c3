package api_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/weir-dev/weir/api"
)

// kinds is the number of kinds of the wire contract.
const kinds = 19

// crd is a generated CRD with its one version.
type crd struct {
	apiextensionsv1.CustomResourceDefinition

	version apiextensionsv1.CustomResourceDefinitionVersion
}

// properties returns those of a top-level field, such as status.
func (c *crd) properties(field string) map[string]apiextensionsv1.JSONSchemaProps {
	return c.version.Schema.OpenAPIV3Schema.Properties[field].Properties
}

func newScheme(t *testing.T) *runtime.Scheme {
	t.Helper()

	scheme := runtime.NewScheme()
	if err := api.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}

	return scheme
}

// served returns the kinds of the scheme that are neither lists nor part of the machinery.
func served(scheme *runtime.Scheme) []schema.GroupVersionKind {
	var out []schema.GroupVersionKind

	for gvk, typ := range scheme.AllKnownTypes() {
		if strings.HasPrefix(typ.PkgPath(), "github.com/weir-dev/weir/api/") && !strings.HasSuffix(gvk.Kind, "List") {
			out = append(out, gvk)
		}
	}

	slices.SortFunc(out, func(a, b schema.GroupVersionKind) int { return strings.Compare(a.String(), b.String()) })

	return out
}

func readCRDs(t *testing.T) map[schema.GroupVersionKind]*crd {
	t.Helper()

	files, err := filepath.Glob(filepath.Join("..", "config", "crd", "bases", "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}

	out := map[schema.GroupVersionKind]*crd{}

	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}

		c := &crd{}
		if err := yaml.UnmarshalStrict(data, &c.CustomResourceDefinition); err != nil {
			t.Fatalf("%s: %v", file, err)
		}

		if n := len(c.Spec.Versions); n != 1 {
			t.Fatalf("%s: %d versions, want 1", file, n)
		}

		c.version = c.Spec.Versions[0]
		out[schema.GroupVersionKind{Group: c.Spec.Group, Version: c.version.Name, Kind: c.Spec.Names.Kind}] = c
	}

	return out
}

func TestEveryKindHasACRD(t *testing.T) {
	want := served(newScheme(t))
	crds := readCRDs(t)

	var got []schema.GroupVersionKind
	for gvk := range crds {
		got = append(got, gvk)
	}

	slices.SortFunc(got, func(a, b schema.GroupVersionKind) int { return strings.Compare(a.String(), b.String()) })

	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("kinds of the scheme (-) and of the CRDs (+):\n%s", diff)
	}

	if len(got) != kinds {
		t.Errorf("%d CRDs, want %d", len(got), kinds)
	}
}

func TestCRD(t *testing.T) {
	for gvk, c := range readCRDs(t) {
		t.Run(gvk.Kind, func(t *testing.T) {
			if got := c.Annotations["kustomize.toolkit.fluxcd.io/substitute"]; got != "disabled" {
				t.Errorf("substitute annotation is %q: a Kustomization would replace the ${1} of patterns", got)
			}

			if !c.version.Served || !c.version.Storage {
				t.Errorf("served is %v and storage is %v, want both", c.version.Served, c.version.Storage)
			}

			if c.Spec.Scope != apiextensionsv1.NamespaceScoped {
				t.Errorf("scope is %s, want %s", c.Spec.Scope, apiextensionsv1.NamespaceScoped)
			}

			if path := described(gvk.Kind, c.version.Schema.OpenAPIV3Schema); path != "" {
				t.Errorf("%s has a description: the CRDs are too large with them", path)
			}

			hasStatus := c.properties("status") != nil
			hasSubresource := c.version.Subresources != nil && c.version.Subresources.Status != nil

			// Alert and Provider have none.
			if want := gvk.Version != "v1beta3"; hasStatus != want || hasSubresource != want {
				t.Errorf("status is %v and its subresource is %v, want both to be %v", hasStatus, hasSubresource, want)
			}
		})
	}
}

// described returns the path of a schema that has a description, if there is one.
func described(path string, s *apiextensionsv1.JSONSchemaProps) string {
	if s == nil {
		return ""
	}

	if s.Description != "" {
		return path
	}

	for name := range s.Properties {
		p := s.Properties[name]
		if found := described(path+"."+name, &p); found != "" {
			return found
		}
	}

	if s.Items != nil {
		if found := described(path+"[]", s.Items.Schema); found != "" {
			return found
		}
	}

	if s.AdditionalProperties != nil {
		return described(path+"{}", s.AdditionalProperties.Schema)
	}

	return ""
}
