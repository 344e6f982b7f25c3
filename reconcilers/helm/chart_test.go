package helm_test

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"helm.sh/helm/v3/pkg/release"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	v2 "github.com/weir-dev/weir/api/helm/v2"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/engine"
)

// definition of a kind of the group, with a description.
func definition(group, description string) string {
	return fmt.Sprintf(`apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: things.%[1]s}
spec:
  group: %[1]s
  names: {kind: Thing, plural: things}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, description: %[2]s, x-kubernetes-preserve-unknown-fields: true}}
`, group, description)
}

// TestDefinitions installs and upgrades a chart with a definition and an object of it.
func TestDefinitions(t *testing.T) {
	t.Parallel()

	cases := map[string]struct {
		reason            string
		install, upgrade  string
		installed, wanted string
	}{
		"Default": {reason: "made, and left alone then", installed: "one", wanted: "one"},
		"Replace": {reason: "replaced", install: v2.CRDsCreate, upgrade: v2.CRDsCreateReplace, installed: "one", wanted: "two"},
		"Skip":    {reason: "left out", install: v2.CRDsSkip},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			e := newEnv(t)
			group := e.namespace + ".example.org"
			files := func(description string) map[string]string {
				return map[string]string{
					"crds/thing.yaml": definition(group, description),
					"thing": "apiVersion: " + group + "/v1\nkind: Thing\nmetadata: {name: thing}\n" +
						"spec: {known: {{ .Capabilities.APIVersions.Has \"" + group + "/v1/Thing\" }}}\n",
				}
			}

			e.publish("1.0.0", files("one"))
			e.declare(func(spec *v2.HelmReleaseSpec) {
				spec.Install, spec.Upgrade = &v2.Install{CRDs: tc.install}, &v2.Upgrade{CRDs: tc.upgrade}
			})

			obj := e.once()

			crd := &apiextensionsv1.CustomResourceDefinition{}
			key := types.NamespacedName{Name: "things." + group}
			err := e.c.Get(t.Context(), key, crd)

			if tc.installed == "" {
				if !apierrors.IsNotFound(err) {
					t.Errorf("%s: there is a definition: %v", tc.reason, err)
				}

				same(t, "Ready", v2.InstallFailedReason, engine.Condition(obj, meta.ReadyCondition).Reason)

				return
			}

			must(t, err)
			e.wantReady(obj, "True InstallSucceeded: Helm install succeeded for release NS/app.v1 with chart app@1.0.0+abababababab")
			same(t, "installed", tc.installed, crd.Spec.Versions[0].Schema.OpenAPIV3Schema.Description)
			same(t, "origin", "app", crd.Labels[v2.OwnerNameLabel])

			entry := meta.ResourceRef{ID: "_things." + group + "_apiextensions.k8s.io_CustomResourceDefinition", Version: "v1"}
			same(t, "in the inventory", true, slices.Contains(obj.Status.Inventory.Entries, entry))

			thing := &unstructured.Unstructured{}
			thing.SetAPIVersion(group + "/v1")
			thing.SetKind("Thing")
			must(t, e.c.Get(t.Context(), types.NamespacedName{Namespace: e.namespace, Name: "thing"}, thing))

			known, _, _ := unstructured.NestedBool(thing.Object, "spec", "known")
			same(t, "templates know of it", true, known)

			e.publish("1.1.0", files("two"))
			e.wantReady(e.once(), "True UpgradeSucceeded: Helm upgrade succeeded for release NS/app.v2 with chart app@1.1.0+abababababab")
			must(t, e.c.Get(t.Context(), key, crd))
			same(t, tc.reason, tc.wanted, crd.Spec.Versions[0].Schema.OpenAPIV3Schema.Description)
		})
	}
}

// noise does not compress.
func noise(bytes int) string {
	var out strings.Builder
	for i := 0; out.Len() < bytes; i++ {
		fmt.Fprintf(&out, "%x\n", sha256.Sum256([]byte{byte(i), byte(i >> 8), byte(i >> 16)}))
	}

	return out.String()
}

// TestTooLarge refuses a release that does not fit into a Secret before anything of it is there.
func TestTooLarge(t *testing.T) {
	t.Parallel()

	e := newEnv(t)
	group := e.namespace + ".example.org"
	e.publish("1.0.0", map[string]string{
		"config": config, "crds/thing.yaml": definition(group, "one"), "files/large.txt": noise(3 << 20), "files/small.txt": noise(1 << 10),
	})
	e.declare(func(spec *v2.HelmReleaseSpec) {
		spec.TargetNamespace = e.namespace + "-target"
		spec.Install = &v2.Install{CreateNamespace: true}
	})

	message := engine.Condition(e.once(), meta.ReadyCondition).Message
	for _, part := range []string{"takes ", " bytes, and a Secret has room for ", `most of it are chart file "files/large.txt" about `} {
		if !strings.Contains(message, part) {
			t.Errorf("the message does not have %q: %s", part, message)
		}
	}

	same(t, "nothing is stored", map[int]release.Status{}, e.releases())

	err := e.c.Get(t.Context(), types.NamespacedName{Name: "things." + group}, &apiextensionsv1.CustomResourceDefinition{})
	if !apierrors.IsNotFound(err) {
		t.Errorf("the definition is there: %v", err)
	}

	if got := e.get().Status.InstallFailures; got != 0 {
		t.Errorf("%d installs have failed, and none was tried", got)
	}
}

// TestSchema checks values, and fetches nothing for that.
func TestSchema(t *testing.T) {
	var asked atomic.Int32

	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		fmt.Fprint(w, "true")
	}))
	defer server.Close()

	file := filepath.Join(t.TempDir(), "schema.json")
	must(t, os.WriteFile(file, []byte("true"), 0o600))

	cases := map[string]struct {
		reason string
		schema string
		off    bool
		want   string // in the message of Ready
	}{
		"Met":   {reason: "as it should be", schema: `{"properties":{"key":{"$ref":"#/$defs/text"}},"$defs":{"text":{"type":"string"}}}`, want: "succeeded"},
		"Unmet": {reason: "not as it should be", schema: `{"required":["other"]}`, want: "app:\n- at '': missing property 'other'"},
		"Off":   {reason: "nobody wants to know", schema: `{"required":["other"]}`, off: true, want: "succeeded"},
		"HTTP":  {reason: "nothing is fetched", schema: `{"$ref":"` + server.URL + `"}`, want: "references are not fetched"},
		"File":  {reason: "nothing is read", schema: `{"$ref":"file://` + file + `"}`, want: "references are not fetched"},
		"Next":  {reason: "nothing is read", schema: `{"$ref":"passwd"}`, want: "references are not fetched"},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t)
			e.publish("1.0.0", map[string]string{"config": config, "values.schema.json": tc.schema})
			e.declare(func(spec *v2.HelmReleaseSpec) {
				spec.Values = inline(`{"key":"set"}`)
				spec.Install = &v2.Install{DisableSchemaValidation: tc.off}
			})

			if got := engine.Condition(e.once(), meta.ReadyCondition).Message; !strings.Contains(got, tc.want) {
				t.Errorf("%s: %s", tc.reason, got)
			}
		})
	}

	if n := asked.Load(); n != 0 {
		t.Errorf("a schema was fetched %d times", n)
	}
}

// TestSubcharts installs a chart with a subchart that uses a library.
func TestSubcharts(t *testing.T) {
	t.Parallel()

	e := newEnv(t)
	e.publish("1.0.0", map[string]string{
		"charts/sub/Chart.yaml":            "{apiVersion: v2, name: sub, version: 1.0.0}",
		"charts/sub/values.yaml":           "key: of the subchart\nother: 1\n",
		"charts/sub/templates/config.yaml": "{{ include \"lib.config\" . }}",
		"charts/lib/Chart.yaml":            "{apiVersion: v2, name: lib, version: 1.0.0, type: library}",
		"charts/lib/templates/_config.tpl": "{{ define \"lib.config\" }}apiVersion: v1\nkind: ConfigMap\nmetadata: {name: config}\n" +
			"data: {key: '{{ .Values.key }} {{ .Values.other }}'}\n{{ end }}",
	})
	e.declare(func(spec *v2.HelmReleaseSpec) { spec.Values = inline(`{"sub":{"other":2}}`) })

	e.wantReady(e.once(), "True InstallSucceeded: Helm install succeeded for release NS/app.v1 with chart app@1.0.0+abababababab")
	same(t, "rendered", "of the subchart 2", e.data("config"))
}

// TestLargeChart releases a chart of five megabytes, which a record has compressed.
func TestLargeChart(t *testing.T) {
	t.Parallel()

	e := newEnv(t)
	e.publish("1.0.0", map[string]string{"config": config, "files/large.txt": strings.Repeat("all the same, again and again\n", 5<<20/30)})
	e.declare(nil)

	e.wantReady(e.once(), "True InstallSucceeded: Helm install succeeded for release NS/app.v1 with chart app@1.0.0+abababababab")
}
