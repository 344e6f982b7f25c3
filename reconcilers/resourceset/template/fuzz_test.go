package template_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	v1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/reconcilers/resourceset/template"
)

// FuzzRender holds that whatever users write ends in objects or in an error, and that the same yields the same.
func FuzzRender(f *testing.F) {
	cases, err := filepath.Glob("testdata/*/in.yaml")
	if err != nil {
		f.Fatal(err)
	}

	for _, file := range cases {
		stream, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}

		rset, _ := read(f, stream)

		resources, err := yaml.Marshal(map[string]any{"r": rset.Spec.Resources})
		if err != nil {
			f.Fatal(err)
		}

		f.Add(rset.Spec.ResourcesTemplate, string(resources), "text")
	}

	f.Add(`<< range $k, $v := inputs >><< $k | repeat 3 | quote >><< printf "%-9v" $v >><< end >>`, "r: []", "a\n---\nb: &x *x")

	f.Fuzz(func(t *testing.T, text, resources, value string) {
		items := struct {
			Resources []*apiextensionsv1.JSON `json:"r"`
		}{}
		if err := yaml.Unmarshal([]byte(resources), &items); err != nil {
			items.Resources = nil
		}

		rset := templated(text)
		rset.Spec.Resources = items.Resources

		raw, err := yaml.Marshal(value)
		if err != nil {
			return // the API server would not have it either
		}

		if raw, err = yaml.YAMLToJSON(raw); err != nil {
			return
		}

		rset.Spec.Inputs = append(rset.Spec.Inputs, v1.ResourceSetInput{"text": {Raw: raw}})

		o := options()
		o.MaxSteps, o.MaxBytes, o.MaxObjects = 10_000, 1<<20, 100

		first := outcome(t, rset, o)
		if again := outcome(t, rset, o); again != first {
			t.Errorf("the same renders to %q and then to %q", first, again)
		}
	})
}

// outcome renders and resolves, and returns the digest or the error.
func outcome(t *testing.T, rset *v1.ResourceSet, o template.Options) string {
	t.Helper()

	set, err := render(t.Context(), rset, nil, o)
	if err != nil {
		if _, ok := errors.AsType[*template.Error](err); !ok {
			t.Fatalf("no error of the ResourceSet: %v", err)
		}

		return err.Error()
	}

	for _, u := range set.Objects() {
		if u.GetName() == "" || u.GetKind() == "" {
			t.Fatalf("an object without kind or name: %v", u.Object)
		}
	}

	err = set.Resolve(t.Context(), template.ReaderFunc(func(_ context.Context, r template.Reference) (*unstructured.Unstructured, error) {
		return &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "v1", "kind": r.Kind, "data": map[string]any{"a": "YQ=="},
		}}, nil
	}))
	if err != nil {
		return err.Error()
	}

	digest, err := set.Digest()
	if err != nil {
		t.Fatal(err)
	}

	return digest
}

// FuzzItem holds that an item without actions is the same whether it is rendered or taken as it is.
func FuzzItem(f *testing.F) {
	for _, text := range []string{"", "0123", "yes", "a: b # c", "x\n y\n", "\ttab", " \n", "1e3", "0x1F", "12:30", "---", "~", "é\u2028", "'\"", "=", "<"} {
		f.Add(text, text+"z")
	}

	f.Fuzz(func(t *testing.T, key, value string) {
		if !utf8.ValidString(key+value) || strings.Contains(key+value, "<<") {
			return // no text, or an action
		}

		raw, err := json.Marshal(map[string]any{
			"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "a"},
			"data": map[string]any{key: value, "list": []any{value, map[string]any{"k": value}, 1.5, 12345678901234567, true, nil}},
		})
		if err != nil {
			t.Fatal(err)
		}

		rset := &v1.ResourceSet{}
		rset.Spec.Resources = []*apiextensionsv1.JSON{{Raw: raw}}

		plain := outcome(t, rset, options())

		rset.Spec.Inputs = []v1.ResourceSetInput{{}}
		if rendered := outcome(t, rset, options()); rendered != plain {
			t.Errorf("got %s, want %s", rendered, plain)
		}
	})
}
