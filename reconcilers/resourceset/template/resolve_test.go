package template_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	v1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/reconcilers/resourceset/template"
)

const kubeconfig = `
apiVersion: v1
kind: Config
current-context: it
contexts:
- {name: other, context: {cluster: none, user: u}}
- {name: it, context: {cluster: c, user: u}}
clusters:
- {name: c, cluster: {server: "https://example.com:6443", certificate-authority-data: Q0E=}}
users:
- {name: u, user: {token: hunter2}}
`

// cluster holds what sets refer to.
func cluster() string {
	quote := func(text string) string { return strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n    ") }

	return `
{apiVersion: v1, kind: ConfigMap, metadata: {name: cm, namespace: ns}, data: {a: one, b: two}, binaryData: {bin: AAE=}, immutable: true}
---
{apiVersion: v1, kind: Secret, metadata: {name: s, namespace: ns}, type: example.com/token, data: {token: aHVudGVyMg==}}
---
{apiVersion: v1, kind: Secret, metadata: {name: broken, namespace: ns}, data: {token: "hunter2!"}}
---
{apiVersion: v1, kind: Secret, metadata: {name: empty, namespace: ns}}
---
{apiVersion: v1, kind: Secret, metadata: {name: plain, namespace: ns}, stringData: {kubeconfig: hunter2}}
---
apiVersion: v1
kind: Secret
metadata: {name: kube, namespace: ns}
stringData:
  value: |
    ` + quote(kubeconfig) + `
  http: |
    ` + quote(strings.ReplaceAll(kubeconfig, "https:", "http:")) + `
  file: |
    ` + quote(strings.ReplaceAll(kubeconfig, "certificate-authority-data: Q0E=", "certificate-authority: /etc/hunter2")) + `
  public: |
    ` + quote(strings.ReplaceAll(kubeconfig, ", certificate-authority-data: Q0E=", "")) + `
  lost: |
    ` + quote(strings.ReplaceAll(kubeconfig, "cluster: c,", "cluster: d,")) + `
  nowhere: |
    ` + quote(strings.ReplaceAll(kubeconfig, "current-context: it", "current-context: that")) + `
`
}

var errAbsent = errors.New("not found")

// reader reads from the cluster, and counts.
func reader(t testing.TB, asked map[string]int) template.ReaderFunc {
	t.Helper()

	all := map[string]*unstructured.Unstructured{}

	for part := range strings.SplitSeq(cluster(), "\n---\n") {
		u := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(part), &u.Object); err != nil {
			t.Fatal(err)
		}

		all[u.GetKind()+"/"+u.GetNamespace()+"/"+u.GetName()] = u
	}

	return func(_ context.Context, r template.Reference) (*unstructured.Unstructured, error) {
		asked[string(r.Use)+" "+r.String()]++

		if u := all[r.String()]; u != nil {
			return u, nil
		}

		return nil, errAbsent
	}
}

func sum(entries ...string) string {
	return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(strings.Join(entries, "\x00")+"\x00")))
}

func TestResolve(t *testing.T) {
	t.Parallel()

	type want struct {
		Objects string
		Asked   map[string]int
		Err     string
	}

	note := func(key, value string) string {
		return "annotations:\n    fluxcd.controlplane.io/" + key + ": " + value + "\n  "
	}
	object := func(kind, meta, rest string) string {
		return "apiVersion: v1\nkind: " + kind + "\nmetadata:\n  " + meta + "name: it\n  namespace: ns\n" + rest
	}
	fails := func(kind, meta, rest, err string) (string, want) {
		return object(kind, meta, rest), want{Err: kind + "/ns/it: " + err}
	}

	type tc struct {
		reason, objects string
		want            want
	}

	cases := map[string]tc{
		"CopyConfigMap": {
			"the data is added, and what is there under the same key is replaced",
			object("ConfigMap", note("copyFrom", "ns/cm"), "data: {a: mine, bin: mine, c: mine}\n"),
			want{
				Objects: object("ConfigMap", note("copyFrom", "ns/cm"), "data: {a: one, b: two, c: mine}\nbinaryData: {bin: AAE=}\n"),
				Asked:   map[string]int{"copyFrom ConfigMap/ns/cm": 1},
			},
		},
		"CopySecret": {
			"with its type; what the object says as text would win over what is copied",
			object("Secret", note("copyFrom", "ns/s"), "type: Opaque\nstringData: {token: mine, c: mine}\n"),
			want{
				Objects: object("Secret", note("copyFrom", "ns/s"), "type: example.com/token\ndata: {token: aHVudGVyMg==}\nstringData: {c: mine}\n"),
				Asked:   map[string]int{"copyFrom Secret/ns/s": 1},
			},
		},
		"CopyIntoOther": {
			"only ConfigMaps and Secrets have data",
			object("Service", note("copyFrom", "ns/s"), ""),
			want{Objects: object("Service", note("copyFrom", "ns/s"), "")},
		},
		"Kubeconfig": {
			"of the current context, and an authority only if there is none",
			object("ConfigMap", note("convertKubeConfigFrom", "ns/kube"), "data: {address: old, c: mine}\n") + "---\n" +
				strings.Replace(object("ConfigMap", note("convertKubeConfigFrom", "ns/kube:value"), "data: {ca.crt: mine}\n"), "name: it", "name: two", 1) +
				"---\n" +
				strings.Replace(object("ConfigMap", note("convertKubeConfigFrom", "ns/kube:public"), ""), "name: it", "name: three", 1),
			want{
				Objects: object("ConfigMap", note("convertKubeConfigFrom", "ns/kube"), `data: {address: "https://example.com:6443", ca.crt: CA, c: mine}`) + "\n---\n" +
					strings.Replace(object("ConfigMap", note("convertKubeConfigFrom", "ns/kube:value"), `data: {address: "https://example.com:6443", ca.crt: mine}`), "name: it", "name: two", 1) +
					"\n---\n" +
					strings.Replace(object("ConfigMap", note("convertKubeConfigFrom", "ns/kube:public"), `data: {address: "https://example.com:6443"}`), "name: it", "name: three", 1),
				Asked: map[string]int{"convertKubeConfigFrom Secret/ns/kube": 1},
			},
		},
		"Checksum": {
			"of pods' annotations, too; of an object of the set as it is, copies included",
			object("Deployment", note("checksumFrom", "Secret/ns/s, ConfigMap/ns/cm,Secret/ns/s"),
				"spec: {template: {metadata: {annotations: {fluxcd.controlplane.io/checksumFrom: ConfigMap/ns/own}}}}\n") + "---\n" +
				strings.Replace(object("ConfigMap", note("copyFrom", "ns/cm"), "data: {c: mine}\n"), "name: it", "name: own", 1),
			want{
				Objects: object("Deployment", note("checksumFrom", "Secret/ns/s, ConfigMap/ns/cm,Secret/ns/s")+
					"  fluxcd.controlplane.io/checksum: "+
					sum("ConfigMap/ns/cm", "a", "one", "ConfigMap/ns/cm", "b", "two", "ConfigMap/ns/cm", "bin", "\x00\x01", "Secret/ns/s", "token", "hunter2")+"\n  ",
					"spec: {template: {metadata: {annotations: {fluxcd.controlplane.io/checksumFrom: ConfigMap/ns/own, fluxcd.controlplane.io/checksum: \""+
						sum("ConfigMap/ns/own", "a", "one", "ConfigMap/ns/own", "b", "two", "ConfigMap/ns/own", "bin", "\x00\x01", "ConfigMap/ns/own", "c", "mine")+
						"\"}}}}\n") + "---\n" +
					strings.Replace(object("ConfigMap", note("copyFrom", "ns/cm"), "data: {a: one, b: two, c: mine}\nbinaryData: {bin: AAE=}\n"), "name: it", "name: own", 1),
				Asked: map[string]int{"copyFrom ConfigMap/ns/cm": 1, "checksumFrom ConfigMap/ns/cm": 1, "checksumFrom Secret/ns/s": 1},
			},
		},
	}

	failures := map[string]struct{ kind, annotation, value, rest, err string }{
		"CopyMalformed":     {"ConfigMap", "copyFrom", "cm", "", `annotation fluxcd.controlplane.io/copyFrom: "cm" is not <namespace>/<name>`},
		"CopyTooMuch":       {"Secret", "copyFrom", "ns/s/x", "", `annotation fluxcd.controlplane.io/copyFrom: "ns/s/x" is not <namespace>/<name>`},
		"CopyAbsent":        {"Secret", "copyFrom", "ns/gone", "", "copyFrom of Secret/ns/gone: not found"},
		"DataIsList":        {"ConfigMap", "copyFrom", "ns/cm", "data: [hunter2]\n", "the field data of ConfigMap/ns/it is no map"},
		"DataIsNumber":      {"ConfigMap", "copyFrom", "ns/cm", "data: {a: 1}\n", `the key "a" in the field data of ConfigMap/ns/it is no text`},
		"ConvertMalformed":  {"ConfigMap", "convertKubeConfigFrom", "Ns/s:k", "", `annotation fluxcd.controlplane.io/convertKubeConfigFrom: "Ns/s" is not <namespace>/<name>[:<key>]`},
		"ConvertNoKey":      {"ConfigMap", "convertKubeConfigFrom", "ns/kube:absent", "", `Secret/ns/kube has no kubeconfig under the keys ["absent"]`},
		"ConvertEmpty":      {"ConfigMap", "convertKubeConfigFrom", "ns/empty", "", `Secret/ns/empty has no kubeconfig under the keys ["kubeconfig" "value"]`},
		"ConvertText":       {"ConfigMap", "convertKubeConfigFrom", "ns/plain", "", "kubeconfig of Secret/ns/plain: it is not the YAML of a kubeconfig"},
		"ConvertHTTP":       {"ConfigMap", "convertKubeConfigFrom", "ns/kube:http", "", "kubeconfig of Secret/ns/kube: its server is no https address without credentials"},
		"ConvertFile":       {"ConfigMap", "convertKubeConfigFrom", "ns/kube:file", "", "kubeconfig of Secret/ns/kube: its certificate-authority is a file: use certificate-authority-data"},
		"ConvertNoCluster":  {"ConfigMap", "convertKubeConfigFrom", "ns/kube:lost", "", "kubeconfig of Secret/ns/kube: it has no cluster for its current context"},
		"ConvertNoContext":  {"ConfigMap", "convertKubeConfigFrom", "ns/kube:nowhere", "", "kubeconfig of Secret/ns/kube: it has no current context"},
		"ChecksumKind":      {"Pod", "checksumFrom", "Pod/ns/x", "", `annotation fluxcd.controlplane.io/checksumFrom: "Pod/ns/x" is not ConfigMap/<namespace>/<name> or Secret/<namespace>/<name>`},
		"ChecksumMalformed": {"Pod", "checksumFrom", "ConfigMap/cm", "", `annotation fluxcd.controlplane.io/checksumFrom: "ConfigMap/cm" is not ConfigMap/<namespace>/<name> or Secret/<namespace>/<name>`},
		"ChecksumEmpty":     {"Pod", "checksumFrom", `" ,"`, "", `annotation fluxcd.controlplane.io/checksumFrom: " ," is not a list of <kind>/<namespace>/<name>`},
		"ChecksumBroken":    {"Pod", "checksumFrom", "Secret/ns/broken", "", `the key "token" in the field data of Secret/ns/broken is not base64`},
	}

	for name, f := range failures {
		c := tc{reason: "what is wrong is told, and no value"}
		c.objects, c.want = fails(f.kind, note(f.annotation, f.value), f.rest, f.err)
		cases[name] = c
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			set := setOf(t, tc.objects)
			asked := map[string]int{}

			var got want

			if err := set.Resolve(t.Context(), reader(t, asked)); err != nil {
				got.Err = err.Error()
			} else {
				got.Objects = show(t, set, nil)
				if len(asked) > 0 {
					got.Asked = asked
				}

				tc.want.Objects = show(t, setOf(t, tc.want.Objects), nil)
			}

			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s: -want +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// setOf renders objects as they are.
func setOf(t testing.TB, objects string) *template.Set {
	t.Helper()

	rset := &v1.ResourceSet{}
	rset.Spec.ResourcesTemplate = objects

	set, err := template.Render(t.Context(), rset, nil, template.Options{})
	if err != nil {
		t.Fatal(err)
	}

	return set
}

func TestReferences(t *testing.T) {
	t.Parallel()

	set := setOf(t, `
apiVersion: apps/v1
kind: Deployment
metadata: {name: d, namespace: ns, annotations: {fluxcd.controlplane.io/checksumFrom: "Secret/ns/own,Secret/ns/s,ConfigMap/ns/cm"}}
spec: {template: {metadata: {annotations: {fluxcd.controlplane.io/checksumFrom: ConfigMap/ns/cm}}}}
---
{apiVersion: v1, kind: Secret, metadata: {name: own, namespace: ns, annotations: {fluxcd.controlplane.io/copyFrom: ns/s}}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: c, namespace: ns, annotations: {fluxcd.controlplane.io/convertKubeConfigFrom: ns/kube}}}
`)

	got, err := set.References()
	if err != nil {
		t.Fatal(err)
	}

	want := []template.Reference{
		{Use: template.Checksum, Kind: "ConfigMap", Namespace: "ns", Name: "cm"},
		{Use: template.Checksum, Kind: "Secret", Namespace: "ns", Name: "s"},
		{Use: template.Kubeconfig, Kind: "Secret", Namespace: "ns", Name: "kube"},
		{Use: template.Copy, Kind: "Secret", Namespace: "ns", Name: "s"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}

	external, err := set.External()
	if err != nil {
		t.Fatal(err)
	}

	if diff := cmp.Diff([]string{"ConfigMap/ns/cm", "Secret/ns/s"}, external); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}

	err = set.Resolve(t.Context(), template.ReaderFunc(func(context.Context, template.Reference) (*unstructured.Unstructured, error) {
		return nil, errAbsent
	}))
	if !errors.Is(err, errAbsent) {
		t.Errorf("the error of the reader is lost: %v", err)
	}

	if _, ok := errors.AsType[*template.Error](err); ok {
		t.Errorf("that something is not there yet is no fault of the ResourceSet: %v", err)
	}
}

func TestDigest(t *testing.T) {
	t.Parallel()

	const one, two = "{apiVersion: v1, kind: ConfigMap, metadata: {name: one}, data: {b: c, a: d}}", "{apiVersion: v1, kind: ConfigMap, metadata: {name: two}}"

	digest := func(objects string) string {
		d, err := setOf(t, objects).Digest()
		if err != nil {
			t.Fatal(err)
		}

		return d
	}

	first := digest(one + "\n---\n" + two)
	if len(first) != len("sha256:")+64 {
		t.Errorf("got %q", first)
	}

	if got := digest(two + "\n---\n" + one); got != first {
		t.Error("the order of objects counts")
	}

	if got := digest(one); got == first {
		t.Error("an object less does not count")
	}

	if got := digest(strings.Replace(one, "a: d", "a: e", 1) + "\n---\n" + two); got == first {
		t.Error("a value does not count")
	}
}
