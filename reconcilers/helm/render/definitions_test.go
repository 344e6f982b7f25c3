package render_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"helm.sh/helm/v3/pkg/chart"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	v2 "github.com/weir-dev/weir/api/helm/v2"
	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/helm/render"
	"github.com/weir-dev/weir/test/cluster"
)

var shared cluster.Shared

func TestMain(m *testing.M) { os.Exit(shared.Main(m)) }

func definition(plural, column string) string {
	return fmt.Sprintf(`apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: %[1]s.render.example.org}
spec:
  group: render.example.org
  names: {kind: %[2]s, plural: %[1]s}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object}}
    additionalPrinterColumns: [{name: %[3]s, type: string, jsonPath: .a}]
`, plural, strings.ToUpper(plural[:1])+plural[1:], column)
}

func newChart(name string, crds ...string) *chart.Chart {
	c := &chart.Chart{Metadata: &chart.Metadata{APIVersion: "v2", Name: name, Version: "1.0.0"}, Values: map[string]any{}}
	for i, crd := range crds {
		c.Files = append(c.Files, &chart.File{Name: fmt.Sprintf("crds/%d.yaml", i), Data: []byte(crd)})
	}

	return c
}

func names(crds []*unstructured.Unstructured) []string {
	out := make([]string, 0, len(crds))
	for _, crd := range crds {
		out = append(out, strings.TrimSuffix(crd.GetName(), ".render.example.org"))
	}

	return out
}

func TestDefinitions(t *testing.T) {
	parent := func() *chart.Chart {
		c := newChart("parent", definition("roots", "a")+"---\n"+definition("others", "a"), "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: stray}\n")
		c.Metadata.Dependencies = []*chart.Dependency{
			{Name: "on", Version: "1.0.0", Condition: "on.enabled"}, {Name: "off", Version: "1.0.0", Condition: "off.enabled"},
		}
		c.Values = map[string]any{"on": map[string]any{"enabled": true}, "off": map[string]any{"enabled": false}}
		on := newChart("on", definition("subs", "a"), definition("roots", "b"))
		on.AddDependency(newChart("deep", definition("deeps", "a")))
		on.Metadata.Dependencies = []*chart.Dependency{{Name: "deep", Version: "1.0.0"}}
		c.AddDependency(on, newChart("off", definition("offs", "a")))
		c.Files = append(c.Files, &chart.File{Name: "crds/README.md", Data: []byte("# how")})

		return c
	}

	cases := map[string]struct {
		reason        string
		chart         *chart.Chart
		values        map[string]any
		want, dropped []string
		err           string
	}{
		"None": {"A chart may have none.", newChart("plain"), nil, []string{}, nil, ""},
		"Enabled": {"Those of subcharts that are on come with it, each once, and nothing else.", parent(), nil,
			[]string{"roots", "others", "subs", "deeps"},
			[]string{`ConfigMap "stray" in "parent/crds/1.yaml"`, `CustomResourceDefinition "roots.render.example.org" in "parent/charts/on/crds/1.yaml"`}, ""},
		"Values": {"Values say which are on.", parent(), map[string]any{"on": map[string]any{"enabled": false}, "off": map[string]any{"enabled": true}},
			[]string{"roots", "others", "offs"}, []string{`ConfigMap "stray" in "parent/crds/1.yaml"`}, ""},
		"YAML": {"What cannot be read is told.", newChart("broken", "a: ["), nil, nil, nil, `parse manifest of "broken/crds/0.yaml"`},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			before := len(tc.chart.Dependencies())

			crds, dropped, err := render.Definitions(tc.chart, tc.values, newHelmRelease())
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Fatalf("%s got %v", tc.reason, err)
				}

				return
			}

			if err != nil {
				t.Fatal(err)
			}

			if diff := cmp.Diff([][]string{tc.want, tc.dropped}, [][]string{names(crds), dropped}); diff != "" {
				t.Errorf("%s: %s", tc.reason, diff)
			}

			for _, crd := range crds {
				want := map[string]string{v2.OwnerNameLabel: "web", v2.OwnerNamespaceLabel: "apps"}
				if diff := cmp.Diff(want, crd.GetLabels()); diff != "" {
					t.Errorf("%s has the labels of its origin: %s", crd.GetName(), diff)
				}
			}

			if len(tc.chart.Dependencies()) != before || (before > 0 && tc.chart.Metadata.Dependencies[0].Enabled) {
				t.Error("the chart is only read")
			}
		})
	}
}

func TestWrite(t *testing.T) {
	factory, err := access.New(shared.Start(t).Config(), access.Options{})
	if err != nil {
		t.Fatal(err)
	}

	client := factory.Own()
	load := func(crds ...string) []*unstructured.Unstructured {
		out, _, err := render.Definitions(newChart("c", crds...), nil, newHelmRelease())
		if err != nil {
			t.Fatal(err)
		}

		return out
	}
	column := func(plural string) string {
		obj, err := client.Get(t.Context(), access.Of(load(definition(plural, "a"))[0]))
		if err != nil {
			return err.Error()
		}

		versions, _, _ := unstructured.NestedSlice(obj.Object, "spec", "versions")
		columns, _, _ := unstructured.NestedSlice(versions[0].(map[string]any), "additionalPrinterColumns")

		return columns[0].(map[string]any)["name"].(string)
	}

	steps := []struct {
		reason  string
		policy  string
		crds    []string
		written int
		want    map[string]string
	}{
		{"To skip does nothing.", v2.CRDsSkip, []string{definition("ones", "a")}, 0, nil},
		{"Those that are missing are created.", v2.CRDsCreate, []string{definition("ones", "a")}, 1, map[string]string{"ones": "a"}},
		{"Those that exist stay.", v2.CRDsCreate, []string{definition("ones", "b"), definition("twos", "b")}, 1, map[string]string{"ones": "a", "twos": "b"}},
		{"Or are replaced.", v2.CRDsCreateReplace, []string{definition("ones", "c"), definition("threes", "c")}, 2,
			map[string]string{"ones": "c", "twos": "b", "threes": "c"}},
	}
	for _, s := range steps {
		written, err := render.Write(t.Context(), client, "helm-controller", s.policy, load(s.crds...))
		if err != nil || len(written) != s.written {
			t.Fatalf("%s wrote %v, %v", s.reason, written, err)
		}

		for plural, want := range s.want {
			if got := column(plural); got != want {
				t.Errorf("%s has column %q of %s, want %q", s.reason, got, plural, want)
			}
		}
	}

	if _, err := render.Write(t.Context(), client, "helm-controller", "skip", nil); err == nil || !strings.Contains(err.Error(), `"skip"`) {
		t.Errorf("a policy that there is not is refused: %v", err)
	}

	nobody, err := factory.As("apps", "nobody")
	if err != nil {
		t.Fatal(err)
	}

	if _, err := render.Write(t.Context(), nobody, "helm-controller", v2.CRDsCreate, load(definition("fours", "a"))); err == nil ||
		!strings.Contains(err.Error(), "system:serviceaccount:apps:nobody") {
		t.Errorf("who may not, does not: %v", err)
	}
}
