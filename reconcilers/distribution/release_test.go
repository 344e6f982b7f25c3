package distribution

import (
	"io/fs"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	manifests "github.com/weir-dev/weir/config/distribution"
	"github.com/weir-dev/weir/test/upstream"
)

// artifact returns the files of an artifact of upstream with the versions.
func artifact(t *testing.T, versions ...string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for _, v := range versions {
		made, err := upstream.Files(v, fluxv1.VariantUpstreamAlpine, map[string]upstream.Image{
			"source-controller": {Tag: "v1.9.0", Digest: testDigest},
		})
		if err != nil {
			t.Fatal(err)
		}
		for file, content := range made {
			files[file] = []byte(content)
		}
	}
	return files
}

func TestSelect(t *testing.T) {
	cases := map[string]struct {
		reason, wanted, variant string
		want, err               string
	}{
		"Range":    {reason: "The highest of the minor version that is embedded.", wanted: "2.x", want: "v2.9.7"},
		"Patch":    {reason: "Exactly the one.", wanted: "2.9.5", want: "v2.9.5"},
		"Newer":    {reason: "A minor version that the operator was not tested with.", wanted: "2.10.x", err: "no match found for semver: 2.10.x in oci://a matching embedded minor versions in 2.9"},
		"Older":    {reason: "One that it no longer knows.", wanted: "2.8.x", err: "no match found for semver: 2.8.x in oci://a matching embedded minor versions in 2.9"},
		"Pre":      {reason: "Pre-releases only when asked for.", wanted: ">= 2.9.8-0, < 2.10.0-0", want: "v2.9.8-rc.1"},
		"Nonsense": {reason: "No range at all.", wanted: "latest", err: `invalid semver "latest": `},
		"Variant":  {reason: "A variant that the artifact lacks.", wanted: "2.x", variant: "enterprise-alpine", err: `the artifact holds no images of the variant "enterprise-alpine": no "flux-images/v2.9.7/enterprise-alpine.yaml"`},
	}
	releases, err := ReadReleases(artifact(t, "v2.8.9", "v2.9.5", "v2.9.7", "v2.9.8-rc.1", "v2.10.0"))
	if err != nil {
		t.Fatal(err)
	}
	if got := releases.Newest(); got != "v2.10.0" {
		t.Errorf("newest is %s", got)
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			d, err := releases.Select(tc.wanted, tc.variant, "oci://a", load(t))
			switch {
			case tc.err != "":
				if err == nil || !strings.HasPrefix(err.Error(), tc.err) {
					t.Errorf("%s\nerror %v", tc.reason, err)
				}
			case err != nil:
				t.Errorf("%s\n%v", tc.reason, err)
			case d.Version() != tc.want:
				t.Errorf("%s\nselected %s, want %s", tc.reason, d.Version(), tc.want)
			}
		})
	}
}

// TestBuildUpstream builds the layout that upstream publishes. Everything but the images is what the embedded distribution
// has, for that is what the artifact was made of.
func TestBuildUpstream(t *testing.T) {
	releases, err := ReadReleases(artifact(t, "v2.9.7"))
	if err != nil {
		t.Fatal(err)
	}
	i := &fluxv1.FluxInstance{}
	i.Name, i.Namespace = "flux", "gitops"
	i.Spec.Distribution = fluxv1.Distribution{Version: "2.x", Registry: "registry.example.com/flux", Artifact: "oci://a"}
	i.Spec.Components = fluxv1.AllComponents()
	i.Spec.Sharding = &fluxv1.Sharding{Shards: []string{"s"}}
	d, err := releases.Select("2.x", fluxv1.VariantUpstreamAlpine, "oci://a", load(t))
	if err != nil {
		t.Fatal(err)
	}
	own := Image{Repository: "example.com/weir", Tag: "v1"}
	set, err := d.Build(i, Options{Image: own, Digests: map[string]string{
		"registry.example.com/flux/helm-controller:v2.9.7": testDigest,
	}})
	if err != nil {
		t.Fatal(err)
	}
	i.Spec.Distribution.Artifact = ""
	embedded, err := load(t).Build(i, Options{Image: own})
	if err != nil {
		t.Fatal(err)
	}
	names := func(s *Set) map[string]bool {
		all := map[string]bool{}
		for _, o := range s.Objects {
			all[o.GetKind()+"/"+o.GetNamespace()+"/"+o.GetName()] = true
		}
		return all
	}
	got, want := names(set), names(embedded)
	for n := range want {
		if !got[n] {
			t.Errorf("%s is missing", n)
		}
	}
	for n := range got {
		if !want[n] {
			t.Errorf("%s is too much", n)
		}
	}
	images := map[string]string{}
	for _, c := range set.Images {
		images[c.Name] = Image{Repository: c.Repository, Tag: c.Tag, Digest: c.Digest}.String()
	}
	for component, want := range map[string]string{
		"source-controller":    "registry.example.com/flux/source-controller:v1.9.0@" + testDigest,
		"helm-controller":      "registry.example.com/flux/helm-controller:v2.9.7@" + testDigest,
		"kustomize-controller": "registry.example.com/flux/kustomize-controller:v2.9.7",
	} {
		if images[component] != want {
			t.Errorf("%s runs %q, want %q", component, images[component], want)
		}
	}
	for _, o := range set.Objects {
		if o.GetKind() != "Deployment" {
			continue
		}
		containers, _, _ := unstructured.NestedSlice(o.Object, "spec", "template", "spec", "containers")
		args, _, _ := unstructured.NestedStringSlice(containers[0].(map[string]any), "args")
		if all := strings.Join(args, " "); strings.Contains(all, "--controllers") || !strings.Contains(all, "--watch-label-selector=") && !strings.Contains(o.GetName(), "notification") {
			t.Errorf("%s has the arguments %q", o.GetName(), args)
		}
	}
}

// TestBuildOwnRelease builds an artifact with the manifests of Weir: one image for all, of the version of the artifact.
func TestBuildOwnRelease(t *testing.T) {
	files := artifact(t, "v2.9.7")
	for file, content := range files {
		if strings.HasPrefix(file, "flux/") {
			files[file] = regexp.MustCompile(`image: fluxcd/.*`).ReplaceAll(content, []byte("image: weir:v0.2.0"))
		}
	}
	unifiedManifest, err := fs.ReadFile(manifests.FS(), "weir.yaml")
	if err != nil {
		t.Fatal(err)
	}
	files["flux/v2.9.7/weir.yaml"] = unifiedManifest
	files["flux-images/v2.9.7/upstream-alpine.yaml"] = []byte("images:\n- {name: weir, newTag: v0.2.1, digest: \"" + testDigest + "\"}\n")
	releases, err := ReadReleases(files)
	if err != nil {
		t.Fatal(err)
	}
	for _, topology := range []string{fluxv1.TopologyUnified, ""} {
		i := &fluxv1.FluxInstance{}
		i.Namespace = "flux-system"
		i.Spec.Topology = topology
		i.Spec.Distribution = fluxv1.Distribution{Version: "2.x", Registry: "ghcr.io/fluxcd", Artifact: "oci://a"}
		d, err := releases.Select("2.x", Variant(i), "oci://a", load(t))
		if err != nil {
			t.Fatal(err)
		}
		set, err := d.Build(i, Options{Image: Image{Repository: "example.com/weir", Tag: "v0.1.0", Digest: "sha256:1"}})
		if err != nil {
			t.Fatal(err)
		}
		want := []string{"example.com/weir:v0.2.1@" + testDigest}
		if diff := cmp.Diff(want, ImagesOf(set.Objects)); diff != "" {
			t.Errorf("topology %q: images -want +got\n%s", topology, diff)
		}
		for _, o := range set.Objects {
			if o.GetKind() != "Deployment" {
				continue
			}
			containers, _, _ := unstructured.NestedSlice(o.Object, "spec", "template", "spec", "containers")
			args, _, _ := unstructured.NestedStringSlice(containers[0].(map[string]any), "args")
			if !strings.Contains(strings.Join(args, " "), "--controllers=") {
				t.Errorf("%s is not told what to run: %q", o.GetName(), args)
			}
		}
	}
}

func TestReleaseErrors(t *testing.T) {
	cases := map[string]struct {
		reason string
		change func(files map[string][]byte, i *fluxv1.FluxInstance)
		want   string
	}{
		"NoVersion": {
			reason: "Nothing to choose from.",
			change: func(files map[string][]byte, _ *fluxv1.FluxInstance) { clear(files) },
			want:   "the artifact holds no folder flux/v<version> with manifests",
		},
		"NoRBAC": {
			reason: "Components without rights do nothing.",
			change: func(files map[string][]byte, _ *fluxv1.FluxInstance) { delete(files, "flux/v2.9.7/rbac.yaml") },
			want:   `the artifact holds no "flux/v2.9.7/rbac.yaml"`,
		},
		"NoComponent": {
			reason: "It must not be left out silently.",
			change: func(files map[string][]byte, _ *fluxv1.FluxInstance) {
				delete(files, "flux/v2.9.7/helm-controller.yaml")
			},
			want: `component "helm-controller" is not part of distribution v2.9.7`,
		},
		"NoDefinition": {
			reason: "A component without its kinds crashes.",
			change: func(files map[string][]byte, _ *fluxv1.FluxInstance) {
				_, rest, _ := strings.Cut(string(files["flux/v2.9.7/helm-controller.yaml"]), "---\n")
				files["flux/v2.9.7/helm-controller.yaml"] = []byte(rest)
			},
			want: `distribution v2.9.7 has no definition "helmreleases.helm.toolkit.fluxcd.io" of component "helm-controller"`,
		},
		"NoYAML": {
			reason: "Foreign bytes.",
			change: func(files map[string][]byte, _ *fluxv1.FluxInstance) {
				files["flux/v2.9.7/policies.yaml"] = []byte("a: [")
			},
			want: `read "flux/v2.9.7/policies.yaml" of the artifact: `,
		},
		"Unified": {
			reason: "Upstream has one image per component.",
			change: func(_ map[string][]byte, i *fluxv1.FluxInstance) { i.Spec.Topology = fluxv1.TopologyUnified },
			want:   "spec.topology is Unified, and distribution v2.9.7 has no Deployment for it",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			files := artifact(t, "v2.9.7")
			i := &fluxv1.FluxInstance{}
			i.Namespace = "flux-system"
			i.Spec.Distribution = fluxv1.Distribution{Version: "2.x", Registry: "ghcr.io/fluxcd", Artifact: "oci://a"}
			tc.change(files, i)
			err := func() error {
				releases, err := ReadReleases(files)
				if err != nil {
					return err
				}
				d, err := releases.Select("2.x", Variant(i), "oci://a", load(t))
				if err != nil {
					return err
				}
				_, err = d.Build(i, Options{Image: Image{Repository: "example.com/weir", Tag: "v1"}})
				return err
			}()
			if err == nil || !strings.HasPrefix(err.Error(), tc.want) {
				t.Errorf("%s\nerror %v, want %q", tc.reason, err, tc.want)
			}
		})
	}
}
