package distribution

import (
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/api/meta"
)

// ownArtifact returns the files of an artifact with versions of Weir's own.
func ownArtifact(t *testing.T, versions ...string) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	for _, v := range versions {
		files, err := Files(sources(v))
		if err != nil {
			t.Fatal(err)
		}
		maps.Copy(all, files)
	}
	return all
}

func TestReleaseOfOperator(t *testing.T) {
	definitions := []string{
		"fluxinstances.fluxcd.controlplane.io", "fluxreports.fluxcd.controlplane.io",
		"resourcesetinputproviders.fluxcd.controlplane.io", "resourcesets.fluxcd.controlplane.io",
	}
	theirs := "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: fluxinstances.fluxcd.controlplane.io}\nspec: {group: fluxcd.controlplane.io}\n"
	cases := map[string]struct {
		reason                string
		files                 map[string][]byte
		wanted                string
		definitions           []string
		beyond, latest, image string
	}{
		"Own": {
			reason: "The definitions of the version that is selected.", files: ownArtifact(t, "v2.9.5", "v2.9.6"), wanted: "2.x",
			definitions: definitions, latest: "v2.9.6", image: testImage,
		},
		"Pinned": {
			reason: "Who wants an older one is told which is the latest.", files: ownArtifact(t, "v2.9.5", "v2.9.6", "v3.0.0", "v2.9.7-rc.1"), wanted: "2.9.5",
			definitions: definitions, latest: "v2.9.6", image: testImage,
		},
		"Beyond": {
			reason: "A minor version that another operator runs.", files: ownArtifact(t, "v2.9.6", "v2.10.0", "v2.11.0"), wanted: "2.x",
			definitions: definitions, latest: "v2.11.0", beyond: "v2.11.0", image: testImage,
		},
		"Older": {
			reason: "An older minor version is nothing to upgrade to.", files: ownArtifact(t, "v2.8.1", "v2.9.6"), wanted: "2.x",
			definitions: definitions, latest: "v2.9.6", image: testImage,
		},
		"Upstream": {
			reason: "What upstream has for its own operator is not ours.", wanted: "2.x", latest: "v2.9.6",
			files: func() map[string][]byte {
				files := artifact(t, "v2.9.6")
				files["flux-operator/crds.yaml"] = []byte(theirs)
				files["flux-operator/v0.59.0/crds.yaml"] = []byte(theirs)
				return files
			}(),
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			releases, err := ReadReleases(tc.files)
			if err != nil {
				t.Fatal(err)
			}
			d, err := releases.Select(tc.wanted, fluxv1.VariantUpstreamAlpine, "oci://a", load(t))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, o := range d.Operator() {
				got = append(got, o.GetName())
			}
			if diff := cmp.Diff(tc.definitions, got); diff != "" {
				t.Errorf("%s\ndefinitions (-want +got):\n%s", tc.reason, diff)
			}
			if d.Latest() != tc.latest || d.Beyond() != tc.beyond {
				t.Errorf("%s\nlatest %q, beyond %q", tc.reason, d.Latest(), d.Beyond())
			}
			i := &fluxv1.FluxInstance{}
			i.Name, i.Namespace = "flux", "flux-system"
			i.Spec.Distribution = fluxv1.Distribution{Version: tc.wanted, Registry: "registry.example.com/weir-dev", Artifact: "oci://a"}
			set, err := d.Build(i, Options{Image: Image{Repository: "example.com/weir", Tag: "v1"}})
			if err != nil {
				t.Fatal(err)
			}
			if set.Operator.String() != tc.image {
				t.Errorf("%s\nthe operator is to run %q, want %q", tc.reason, set.Operator, tc.image)
			}
		})
	}
}

// TestOperatorOfPatchedComponents shows that a patch for a component is none for the operator.
func TestOperatorOfPatchedComponents(t *testing.T) {
	i := &fluxv1.FluxInstance{}
	i.Name, i.Namespace = "flux", "flux-system"
	i.Spec.Distribution = fluxv1.Distribution{Version: "2.x", Registry: "ghcr.io/fluxcd"}
	i.Spec.Kustomize = &fluxv1.Kustomize{Patches: []meta.Patch{{
		Patch:  `[{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "example.com/other:v1"}]`,
		Target: &meta.Selector{Kind: "Deployment"},
	}}}
	set, err := load(t).Build(i, Options{
		Image: Image{Repository: "example.com/weir", Tag: "v1"}, Digests: map[string]string{"example.com/weir:v1": testDigest},
	})
	if err != nil {
		t.Fatal(err)
	}
	if images := ImagesOf(set.Objects); len(images) != 1 || images[0] != "example.com/other:v1" {
		t.Fatalf("the components run %q", images)
	}
	if want := "example.com/weir:v1@" + testDigest; set.Operator.String() != want {
		t.Errorf("the operator is to run %q, want %q", set.Operator, want)
	}
}

func TestNothingToSelect(t *testing.T) {
	releases, err := ReadReleases(ownArtifact(t, "v2.10.0"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = releases.Select("2.x", "", "oci://a", load(t))
	want := "no match found for semver: 2.x in oci://a matching embedded minor versions in 2.9: upgrade the operator to run v2.10.0"
	if err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("error %v, want %s", err, want)
	}
}
