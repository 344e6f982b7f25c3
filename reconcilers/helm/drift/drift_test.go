package drift

import (
	"io"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	helmkube "helm.sh/helm/v3/pkg/kube"
	"helm.sh/helm/v3/pkg/release"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/cli-runtime/pkg/resource"
	"sigs.k8s.io/yaml"

	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/apply"
)

// reader reads one object.
type reader struct{}

// Build implements Builder.
func (reader) Build(in io.Reader, _ bool) (helmkube.ResourceList, error) {
	text, err := io.ReadAll(in)
	if err != nil {
		return nil, err
	}

	obj := &unstructured.Unstructured{}
	if err := yaml.Unmarshal(text, &obj.Object); err != nil {
		return nil, err
	}

	return helmkube.ResourceList{&resource.Info{Name: obj.GetName(), Object: obj}}, nil
}

func TestObjects(t *testing.T) {
	t.Parallel()

	r := &release.Release{Name: "app", Namespace: "apps", Version: 1, Manifest: `
apiVersion: v1
kind: ConfigMap
metadata: {name: a, labels: {own: label, app.kubernetes.io/managed-by: other}, annotations: {own: annotation}}
`}

	objects, err := Objects(r, reader{})
	if err != nil {
		t.Fatal(err)
	}

	want := map[string]any{
		"name":   "a",
		"labels": map[string]any{"own": "label", "app.kubernetes.io/managed-by": "Helm"},
		"annotations": map[string]any{
			"own": "annotation", "meta.helm.sh/release-name": "app", "meta.helm.sh/release-namespace": "apps",
		},
	}
	if diff := cmp.Diff(want, objects[0].Object["metadata"]); diff != "" {
		t.Errorf("what Helm adds is not there: -want, +got:\n%s", diff)
	}

	r.Manifest = "{"
	if _, err := Objects(r, reader{}); err == nil {
		t.Error("a manifest that nobody can read is read")
	}
}

func TestSummary(t *testing.T) {
	t.Parallel()

	ref := func(kind, namespace, name string) access.Ref {
		return access.Ref{ID: access.ID{Kind: kind, Namespace: namespace, Name: name}}
	}
	cases := map[string]struct {
		reason string
		found  apply.Deviations
		want   string
	}{
		"nothing": {reason: "there is nothing to say"},
		"all": {
			reason: "each object has a line",
			found: apply.Deviations{
				All: []apply.Deviation{
					{Ref: ref("Namespace", "", "n"), Gone: true}, {Ref: ref("Secret", "n", "s"), Added: 1, Changed: 2, Removed: 3},
				},
				Excluded: []access.Ref{ref("ConfigMap", "n", "c")},
			},
			want: "Namespace/n removed\nSecret/n/s changed (1 additions, 2 changes, 3 removals)\nConfigMap/n/c excluded",
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			if diff := cmp.Diff(tc.want, Summary(&tc.found)); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestSpread(t *testing.T) {
	t.Parallel()

	for _, name := range []string{"", "a", "HelmRelease/apps/app"} {
		if d := spread(name); d < recheck*4/5 || d > recheck*6/5 || d != spread(name) {
			t.Errorf("%q is due after %s", name, d)
		}
	}

	if spread("a") == spread("b") || recheck != 6*time.Hour {
		t.Error("all are due at once")
	}
}
