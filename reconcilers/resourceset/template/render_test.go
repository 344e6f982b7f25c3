package template_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	v1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/reconcilers/resourceset/template"
)

var update = flag.Bool("update", false, "rewrite what the golden tests want")

// scopes knows a few kinds, and says of those of the group unknown that they are not served.
func scopes(_ context.Context, gk schema.GroupKind, version string) (bool, error) {
	if gk.Group == "unknown" {
		return false, &apimeta.NoKindMatchError{GroupKind: gk, SearchedVersions: []string{version}}
	}

	return gk.Kind != "Namespace" && gk.Kind != "ClusterRole" && gk.Kind != "CustomResourceDefinition", nil
}

func options() template.Options {
	return template.Options{Scopes: scopes, Now: func() time.Time { return time.Unix(1_800_000_000, 0) }}
}

// read returns the ResourceSet and the providers of a stream.
func read(t testing.TB, stream []byte) (*v1.ResourceSet, []template.Provider) {
	t.Helper()

	parts := bytes.Split(stream, []byte("\n---\n"))

	rset := &v1.ResourceSet{}
	if err := yaml.UnmarshalStrict(parts[0], rset); err != nil {
		t.Fatal(err)
	}

	var providers []template.Provider

	for _, part := range parts[1:] {
		p := &v1.ResourceSetInputProvider{}
		if err := yaml.UnmarshalStrict(part, p); err != nil {
			t.Fatal(err)
		}

		providers = append(providers, template.Provider{
			APIVersion: p.APIVersion, Kind: p.Kind, Namespace: p.Namespace, Name: p.Name, Inputs: p.Status.ExportedInputs,
		})
	}

	return rset, providers
}

func render(ctx context.Context, rset *v1.ResourceSet, providers []template.Provider, o template.Options) (*template.Set, error) {
	inputs, err := template.Combine(rset, providers)
	if err != nil {
		return nil, err
	}

	return template.Render(ctx, rset, inputs, o)
}

// show writes the objects of a set, or the error.
func show(t testing.TB, set *template.Set, err error) string {
	t.Helper()

	if err != nil {
		if _, ok := errors.AsType[*template.Error](err); !ok {
			t.Errorf("the error is none of the ResourceSet: %v", err)
		}

		return "# error: " + err.Error() + "\n"
	}

	var out strings.Builder

	for _, step := range set.Steps {
		if step.Name != "" {
			fmt.Fprintf(&out, "# step %s\n", step.Name)
		}

		for _, u := range step.Objects {
			text, err := yaml.Marshal(u.Object)
			if err != nil {
				t.Fatal(err)
			}

			out.WriteString("---\n" + string(text))
		}
	}

	return out.String()
}

func TestGolden(t *testing.T) {
	t.Parallel()

	cases, err := filepath.Glob("testdata/*/in.yaml")
	if err != nil || len(cases) == 0 {
		t.Fatal("no cases", err)
	}

	for _, in := range cases {
		t.Run(filepath.Base(filepath.Dir(in)), func(t *testing.T) {
			t.Parallel()

			stream, err := os.ReadFile(in)
			if err != nil {
				t.Fatal(err)
			}

			rset, providers := read(t, stream)
			set, err := render(t.Context(), rset, providers, options())
			got := show(t, set, err)

			file := filepath.Join(filepath.Dir(in), "want.yaml")
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}

			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}

			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// TestSame holds that nothing in a template is up to chance: objects that change by themselves would be applied for ever.
func TestSame(t *testing.T) {
	t.Parallel()

	const text = `apiVersion: v1
kind: ConfigMap
metadata: {name: a}
data:
  keys: << keys inputs | join "," >>
  values: << values inputs | join "," | quote >>
  random: << randInt 0 1000000 | quote >>
  json: << toJson inputs | squote >>
`

	seen := map[string]bool{}

	for range 30 {
		set, err := render(t.Context(), templated(text), nil, template.Options{})
		if err != nil {
			t.Fatal(err)
		}

		digest, err := set.Digest()
		if err != nil {
			t.Fatal(err)
		}

		seen[digest] = true
	}

	if len(seen) != 1 {
		t.Errorf("the same rendered to %d different sets", len(seen))
	}
}
