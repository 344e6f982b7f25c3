package distribution

import (
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/config/crd"
	manifests "github.com/weir-dev/weir/config/distribution"
	operator "github.com/weir-dev/weir/config/operator"
)

func sources(version string) Sources {
	return Sources{
		Manifests: manifests.FS(), Definitions: crd.FS(), Operator: operator.FS(), Version: version, Image: testImage,
	}
}

// TestFilesBuildAlike shows that an instance is the same whether the operator carries its distribution or reads it from an artifact that
// was made of the same sources.
func TestFilesBuildAlike(t *testing.T) {
	files, err := Files(sources(""))
	if err != nil {
		t.Fatal(err)
	}
	releases, err := ReadReleases(files)
	if err != nil {
		t.Fatal(err)
	}
	own, err := ParseImage(testImage)
	if err != nil {
		t.Fatal(err)
	}
	embedded, err := Load(manifests.FS(), crd.FS())
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		reason   string
		registry string
		change   func(*fluxv1.FluxInstanceSpec)
	}{
		"Default":  {reason: "As most have it.", registry: "ghcr.io/weir-dev"},
		"Flux":     {reason: "The images of Flux have a variant, and there is one image for each of them.", registry: "ghcr.io/fluxcd"},
		"Mirror":   {reason: "The image is elsewhere.", registry: "mirror.example.com/a/b"},
		"Unified":  {reason: "The other topology.", registry: "ghcr.io/weir-dev", change: func(s *fluxv1.FluxInstanceSpec) { s.Topology = fluxv1.TopologyUnified }},
		"All":      {reason: "All components.", registry: "ghcr.io/weir-dev", change: func(s *fluxv1.FluxInstanceSpec) { s.Components = fluxv1.AllComponents() }},
		"Sharding": {reason: "More Deployments.", registry: "ghcr.io/weir-dev", change: func(s *fluxv1.FluxInstanceSpec) { s.Sharding = &fluxv1.Sharding{Shards: []string{"a"}} }},
	} {
		t.Run(name, func(t *testing.T) {
			i := &fluxv1.FluxInstance{}
			i.Name, i.Namespace = fluxv1.InstanceName, "gitops"
			i.Spec.Distribution = fluxv1.Distribution{Version: "2.x", Registry: tc.registry}
			if tc.change != nil {
				tc.change(&i.Spec)
			}
			want, err := embedded.Build(i, Options{Image: own})
			if err != nil {
				t.Fatal(err)
			}
			i.Spec.Distribution.Artifact = "oci://example.com/artifact:latest"
			d, err := releases.Select("2.x", Variant(i), i.Spec.Distribution.Artifact, embedded)
			if err != nil {
				t.Fatal(err)
			}
			got, err := d.Build(i, Options{Image: own})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s\n-embedded +artifact:\n%.4000s", tc.reason, diff)
			}
		})
	}
}

func TestFilesInstallTheOperator(t *testing.T) {
	files, err := Files(sources("v2.9.6"))
	if err != nil {
		t.Fatal(err)
	}
	want, err := Install(operator.FS(), crd.FS(), testImage)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(files["flux-operator/v2.9.6/install.yaml"])); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if _, ok := files["flux/v2.9.6/source-controller.yaml"]; !ok {
		t.Error("the version is not that which was asked for")
	}
}

func TestFilesErrors(t *testing.T) {
	other := fstest.MapFS{}
	for _, file := range append(componentFiles(), versionFile, namespaceFile, rbacFile, policiesFile, "weir.yaml") {
		content, err := fs.ReadFile(manifests.FS(), file)
		if err != nil {
			t.Fatal(err)
		}
		other[file] = &fstest.MapFile{Data: content}
	}
	other["helm-controller.yaml"] = &fstest.MapFile{Data: []byte(strings.ReplaceAll(string(other["helm-controller.yaml"].Data), "image: weir", "image: theirs"))}
	for name, tc := range map[string]struct {
		reason string
		change func(*Sources)
		want   string
	}{
		"NoDigest":   {"A tag can be moved.", func(s *Sources) { s.Image = "example.com/weir:v1" }, `image "example.com/weir:v1" has no digest: what is published must not change later`},
		"NoImage":    {"There is nothing to run.", func(s *Sources) { s.Image = "" }, `parse image reference "": could not parse reference: `},
		"Range":      {"An artifact has exact versions.", func(s *Sources) { s.Version = "v2.9" }, `version "v2.9" of the distribution is not like v2.9.5`},
		"NoPrefix":   {"The folders are named so.", func(s *Sources) { s.Version = "2.9.5" }, `version "2.9.5" of the distribution is not like v2.9.5`},
		"OtherImage": {"What we do not publish is not put under our name.", func(s *Sources) { s.Manifests = other }, `read manifests "helm-controller.yaml": its Deployment does not run the image weir`},
		"NoCRD":      {"A component cannot do without its kinds.", func(s *Sources) { s.Definitions = fstest.MapFS{} }, `read definition "buckets.source.toolkit.fluxcd.io": open source.toolkit.fluxcd.io_buckets.yaml: file does not exist`},
	} {
		t.Run(name, func(t *testing.T) {
			s := sources("")
			tc.change(&s)
			_, err := Files(s)
			if !strings.HasPrefix(fmt.Sprint(err), tc.want) {
				t.Errorf("%s\ngot %v, want %s", tc.reason, err, tc.want)
			}
		})
	}
}
