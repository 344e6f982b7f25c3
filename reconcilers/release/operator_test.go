package release_test

import (
	"strings"
	"testing"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/config/crd"
	manifests "github.com/weir-dev/weir/config/distribution"
	operator "github.com/weir-dev/weir/config/operator"
	"github.com/weir-dev/weir/reconcilers/distribution"
	server "github.com/weir-dev/weir/test/registry"
	"github.com/weir-dev/weir/test/signing"
)

// TestOperator shows that the operator gets no image that nobody signed, even where no component runs it.
func TestOperator(t *testing.T) {
	cosign, err := signing.NewCosign(t.Context(), t.TempDir(), t.Output())
	check(t, err)
	key, err := cosign.Key(t.Context(), "mine")
	check(t, err)
	w := newWorld(t, server.Options{})
	w.secrets["keys"] = map[string][]byte{"mine.pub": key.Public}
	pinned := w.push("weir", "v1", image(t, "weir"))
	_, digest, _ := strings.Cut(pinned, "@")
	made, err := distribution.Files(distribution.Sources{
		Manifests: manifests.FS(), Definitions: crd.FS(), Operator: operator.FS(), Version: "v2.9.6",
		Image: w.s.Addr + "/weir:v1@" + digest,
	})
	check(t, err)
	files := map[string]string{"flux-operator/deployment.yaml": "theirs: [", "flux-operator/v0.59.0/crds.yaml": "theirs: ["}
	for file, content := range made {
		files[file] = string(content)
	}
	artifact, err := server.Flux(files, nil)
	check(t, err)
	check(t, cosign.Sign(t.Context(), w.push("dist", "latest", artifact), key, signing.Bundle))
	other := w.push("other", "v1", image(t, "other"))
	check(t, cosign.Sign(t.Context(), other, key, signing.Bundle))

	i := w.instance("latest", byKey())
	i.Spec.Kustomize = &fluxv1.Kustomize{Patches: []meta.Patch{{
		Patch:  `[{"op":"replace","path":"/spec/template/spec/containers/0/image","value":"` + w.s.Addr + `/other:v1"}]`,
		Target: &meta.Selector{Kind: "Deployment"},
	}}}
	if _, err := w.open().Fetch(t.Context(), i); fails(err) != "refused" || !strings.Contains(err.Error(), "/weir@sha256:") {
		t.Errorf("an image of the operator that nobody signed: %v", err)
	}
	check(t, cosign.Sign(t.Context(), pinned, key, signing.Bundle))
	got, err := w.open().Fetch(t.Context(), i)
	check(t, err)
	set, err := got.Build(i, distribution.Options{Image: distribution.Image{Repository: "example.com/weir", Tag: "v0"}})
	check(t, err)
	if want := w.s.Addr + "/weir:v1@" + digest; set.Operator.String() != want || got.Images != 2 {
		t.Errorf("the operator is to run %q of %d verified images, want %q", set.Operator, got.Images, want)
	}
	if n := len(got.Operator()); n != 4 || got.Latest() != "v2.9.6" || got.Beyond() != "" {
		t.Errorf("%d definitions, latest %q, beyond %q", n, got.Latest(), got.Beyond())
	}
}
