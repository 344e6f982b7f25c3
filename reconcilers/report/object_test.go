package report

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"sigs.k8s.io/yaml"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
)

func TestRead(t *testing.T) {
	tests := map[string]struct {
		reason, kind, yaml string
		want               object
	}{
		"GitRepository": {
			reason: "What was fetched, and from where; of the reference, the part that counts.",
			kind:   "GitRepository",
			yaml: `
metadata: {uid: "1", name: app, namespace: apps}
spec: {url: "https://user:secret@git.example.com/app", ref: {branch: main, tag: v1}}
status:
  artifact: {revision: v1@sha1:abc, size: 2048}
  conditions: [{type: Stalled, status: "True"}, {type: Ready, status: "True", reason: Succeeded, message: stored}]`,
			want: object{
				kind: "GitRepository", uid: "1", name: "app", namespace: "apps", ready: "True", reason: "Succeeded", message: "stored",
				revision: "v1@sha1:abc", url: "https://git.example.com/app", ref: "v1", size: 2048, sourceSpace: "apps",
			},
		},
		"Bucket": {
			reason: "The name of the bucket is its reference.",
			kind:   "Bucket",
			yaml:   `{metadata: {name: b}, spec: {endpoint: "s3.example.com:9000", bucketName: fleet, suspend: true}}`,
			want:   object{kind: "Bucket", name: "b", ready: "Unknown", suspended: true, url: "s3.example.com:9000", ref: "fleet"},
		},
		"Kustomization": {
			reason: "A source of another namespace.",
			kind:   "Kustomization",
			yaml: `
metadata: {name: app, namespace: apps}
spec: {path: ./deploy, sourceRef: {kind: GitRepository, name: fleet, namespace: flux-system}}
status: {lastAppliedRevision: r1, lastAttemptedRevision: r2, inventory: {entries: [{id: a}, {id: b}]}}`,
			want: object{
				kind: "Kustomization", name: "app", namespace: "apps", ready: "Unknown", revision: "r1", path: "./deploy",
				source: "fleet", sourceKind: "GitRepository", sourceSpace: "flux-system", resources: 2,
			},
		},
		"HelmChart": {
			reason: "Its chart is a name.",
			kind:   "HelmChart",
			yaml:   `{metadata: {name: c}, spec: {chart: podinfo, version: 6.x, sourceRef: {kind: HelmRepository, name: charts}}}`,
			want:   object{kind: "HelmChart", name: "c", ready: "Unknown", ref: "6.x", source: "charts", sourceKind: "HelmRepository"},
		},
		"HelmRelease": {
			reason: "Its chart is a template.",
			kind:   "HelmRelease",
			yaml:   `{metadata: {name: r}, spec: {chart: {spec: {chart: podinfo, sourceRef: {kind: HelmRepository, name: charts}}}}}`,
			want:   object{kind: "HelmRelease", name: "r", ready: "Unknown", source: "charts", sourceKind: "HelmRepository"},
		},
		"ImageRepository": {
			reason: "An image is no URL.",
			kind:   "ImageRepository",
			yaml:   `{metadata: {name: i}, spec: {image: "localhost:5000/app"}}`,
			want:   object{kind: "ImageRepository", name: "i", ready: "Unknown", url: "localhost:5000/app"},
		},
		"OtherTypes": {
			reason: "What has another type than usual is left out, and the rest is not.",
			kind:   "Provider",
			yaml:   `{metadata: {name: p}, spec: {url: [1], path: x, ref: main}}`,
			want:   object{kind: "Provider", name: "p", ready: "Unknown", path: "x"},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			raw, err := yaml.YAMLToJSON([]byte(tc.yaml))
			if err != nil {
				t.Fatal(err)
			}
			got, err := words{}.read(tc.kind, raw)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(object{})); diff != "" {
				t.Errorf("%s\n(-want +got):\n%s", tc.reason, diff)
			}
		})
	}
	if _, err := (words{}).read("Kustomization", []byte(`{"metadata"`)); err == nil {
		t.Error("what is no JSON is taken for an object")
	}
}

func TestCount(t *testing.T) {
	objects := []object{
		{ready: "True", size: 3 << 20},
		{ready: "False", reason: "BuildFailed", size: 900 << 10},
		{ready: "False", reason: "DependencyNotReady"},
		{ready: "Unknown", reason: "Progressing"},
		{ready: "False", reason: "BuildFailed", suspended: true},
	}
	want := fluxv1.ReconcilerStats{Running: 4, Failing: 1, Suspended: 1, TotalSize: "3.9 MiB"}
	if diff := cmp.Diff(want, count(objects)); diff != "" {
		t.Errorf("what is suspended or waits does not fail (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(fluxv1.ReconcilerStats{}, count(nil), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("nothing (-want +got):\n%s", diff)
	}
}

func TestInWords(t *testing.T) {
	for n, want := range map[int64]string{
		1: "1 B", 1023: "1023 B", 1024: "1.0 KiB", 1536: "1.5 KiB", 5 << 30: "5.0 GiB", 1 << 62: "4.0 EiB",
	} {
		if got := inWords(n); got != want {
			t.Errorf("%d bytes are %q, want %q", n, got, want)
		}
	}
}
