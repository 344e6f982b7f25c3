package distribution

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/config/crd"
	manifests "github.com/weir-dev/weir/config/distribution"
)

const (
	testDigest = "sha256:0000000000000000000000000000000000000000000000000000000000000000"
	testImage  = "registry.example.com/weir-dev/weir:v0.1.0@" + testDigest
)

// TestBuildIsDeterministic builds twice: the digest goes into the revision, and a change of it is an upgrade.
func TestBuildIsDeterministic(t *testing.T) {
	d := load(t)
	first, second := build(t, d, "Patches"), build(t, d, "Patches")
	if diff := cmp.Diff(first, second); diff != "" {
		t.Errorf("second build differs (-first +second):\n%s", diff)
	}
	if want := "v2.9.5@sha256:"; !strings.HasPrefix(first.Revision(), want) {
		t.Errorf("revision %q does not start with %q", first.Revision(), want)
	}
	if other := build(t, d, "Default"); other.Digest == first.Digest {
		t.Errorf("different objects have the same digest %q", other.Digest)
	}
}

// TestPatchedNumbers shows that patched objects can be copied, as all others: their numbers are those of JSON.
func TestPatchedNumbers(t *testing.T) {
	instance := read(t, "Default")
	instance.Spec.Kustomize = &fluxv1.Kustomize{Patches: []meta.Patch{{
		Target: &meta.Selector{Kind: "Deployment"}, Patch: `[{"op":"replace","path":"/spec/replicas","value":0}]`,
	}}}
	set, err := load(t).Build(instance, Options{Image: Image{Repository: "registry.example.com/weir", Digest: testDigest}})
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range set.Objects {
		replicas, found, err := unstructured.NestedInt64(o.DeepCopy().Object, "spec", "replicas")
		if o.GetKind() == "Deployment" && (!found || err != nil || replicas != 0) {
			t.Errorf("%s has %d replicas, found is %t, error %v", o.GetName(), replicas, found, err)
		}
	}
}

// TestBuildErrors shows what is refused, and that nothing is ignored in silence.
func TestBuildErrors(t *testing.T) {
	tests := map[string]struct {
		reason string
		change func(*fluxv1.FluxInstanceSpec)
		want   string
	}{
		"VersionOutOfRange": {
			reason: "A range that does not hold the version that the operator carries cannot be installed.",
			change: func(s *fluxv1.FluxInstanceSpec) { s.Distribution.Version = "2.8.x" },
			want:   "no match found for semver: 2.8.x: this operator carries 2.9.5",
		},
		"VersionMalformed": {
			reason: "A version that is no range is told as such.",
			change: func(s *fluxv1.FluxInstanceSpec) { s.Distribution.Version = "latest" },
			want:   `invalid semver "latest": improper constraint: "latest"`,
		},
		"Artifact": {
			reason: "A distribution of the user's choice must not be replaced by the embedded one.",
			change: func(s *fluxv1.FluxInstanceSpec) { s.Distribution.Artifact = "oci://example.com/manifests:latest" },
			want:   "spec.distribution.artifact is set, and this operator has no access to registries",
		},
		"UnknownComponent": {
			reason: "The API admits known components only, a build does too.",
			change: func(s *fluxv1.FluxInstanceSpec) { s.Components = []string{"flagger"} },
			want:   `unknown component "flagger"`,
		},
		"SyncWithoutKustomizeController": {
			reason: "What is synced needs who applies it. The API server would say that there is no such kind.",
			change: func(s *fluxv1.FluxInstanceSpec) {
				s.Components, s.Sync = []string{"source-controller", "helm-controller"}, gitSync()
			},
			want: `spec.sync is set, and spec.components lacks "kustomize-controller", which reconciles its Kustomization`,
		},
		"SyncsWithoutBoth": {
			reason: "The source needs who fetches it. The source-watcher knows no sources that can be synced.",
			change: func(s *fluxv1.FluxInstanceSpec) {
				s.Components = []string{"source-watcher"}
				s.Syncs = []fluxv1.NamedSync{{Name: "apps", SyncSpec: gitSync().SyncSpec}}
			},
			want: `spec.syncs is set, and spec.components lacks "source-controller", which reconciles its GitRepository, ` +
				`and "kustomize-controller", which reconciles its Kustomization`,
		},
		"PatchOfNothing": {
			reason: "A patch for an object that is not there is a mistake of its author.",
			change: func(s *fluxv1.FluxInstanceSpec) {
				s.Kustomize = &fluxv1.Kustomize{}
				if err := yaml.Unmarshal([]byte(`patches: [{patch: "{apiVersion: v1, kind: Secret, metadata: {name: x}}"}]`), s.Kustomize); err != nil {
					panic(err)
				}
			},
			want: "apply spec.kustomize.patches: no resource matches strategic merge patch \"Secret.v1.[noGrp]/x.[noNs]\": no matches for Id Secret.v1.[noGrp]/x.[noNs]; failed to find unique target for patch Secret.v1.[noGrp]/x.[noNs]",
		},
	}
	d := load(t)
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			instance := read(t, "Default")
			tc.change(&instance.Spec)
			_, err := d.Build(instance, options(t))
			if diff := cmp.Diff(tc.want, fmt.Sprint(err)); diff != "" {
				t.Errorf("%s\n(-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func gitSync() *fluxv1.Sync {
	return &fluxv1.Sync{SyncSpec: fluxv1.SyncSpec{
		Kind: "GitRepository", URL: "https://example.com/fleet.git", Ref: "refs/heads/main", Path: "./",
	}}
}

// TestMissingDefinition shows that a component is never installed without its definitions.
func TestMissingDefinition(t *testing.T) {
	crds := definitionsFS()
	delete(crds, "helmreleases.helm.toolkit.fluxcd.io.yaml")
	_, err := Load(manifests.FS(), crds)
	want := `read distribution v2.9.5: no definition "helmreleases.helm.toolkit.fluxcd.io" of component "helm-controller"`
	if diff := cmp.Diff(want, fmt.Sprint(err)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestNoImage shows that nothing is deployed from a guess.
func TestNoImage(t *testing.T) {
	_, err := load(t).Build(read(t, "Default"), Options{})
	if diff := cmp.Diff("the operator does not know its own image, which the components run", fmt.Sprint(err)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestImages shows what the status tells about the images.
func TestImages(t *testing.T) {
	got := build(t, load(t), "FewComponents").Images
	want := []fluxv1.ComponentImage{
		{Name: "source-controller", Repository: "registry.example.com/weir-dev/weir", Tag: "v0.1.0", Digest: testDigest},
		{Name: "kustomize-controller", Repository: "registry.example.com/weir-dev/weir", Tag: "v0.1.0", Digest: testDigest},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestEmbedded builds from the definitions that this build of the operator carries.
func TestEmbedded(t *testing.T) {
	d, err := Load(manifests.FS(), crd.FS())
	if err != nil {
		t.Fatal(err)
	}
	set, err := d.Build(read(t, "FewComponents"), options(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range set.Objects {
		if o.GetName() == "gitrepositories.source.toolkit.fluxcd.io" {
			return
		}
	}
	t.Error("no definition of GitRepository among the objects")
}

func load(t *testing.T) *Distribution {
	t.Helper()
	d, err := Load(manifests.FS(), definitionsFS())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// definitionsFS has a short definition of each kind, so that the golden files do not follow every change of the API.
func definitionsFS() fstest.MapFS {
	fsys := fstest.MapFS{}
	for _, c := range fluxv1.AllComponents() {
		for _, name := range definitions(c) {
			fsys[name+".yaml"] = &fstest.MapFile{Data: fmt.Appendf(nil,
				"apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: %s}\nspec: {versions: [{name: v1}]}\n", name)}
		}
	}
	return fsys
}

func read(t *testing.T, name string) *fluxv1.FluxInstance {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("testdata", name, "in.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	instance := &fluxv1.FluxInstance{}
	if err := yaml.UnmarshalStrict(content, instance); err != nil {
		t.Fatal(err)
	}
	return instance
}

func options(t *testing.T) Options {
	t.Helper()
	image, err := ParseImage(testImage)
	if err != nil {
		t.Fatal(err)
	}
	return Options{Image: image}
}

func build(t *testing.T, d *Distribution, name string) *Set {
	t.Helper()
	set, err := d.Build(read(t, name), options(t))
	if err != nil {
		t.Fatal(err)
	}
	return set
}
