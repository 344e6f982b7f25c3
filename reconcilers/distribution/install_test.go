package distribution

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"

	"github.com/weir-dev/weir/config/crd"
	leastprivilege "github.com/weir-dev/weir/config/least-privilege"
	operator "github.com/weir-dev/weir/config/operator"
)

// TestInstall shows that the manifest we render is the one that kustomize renders from config/operator.
func TestInstall(t *testing.T) {
	rendered, err := Install(operator.FS(), crd.FS(), testImage)
	if err != nil {
		t.Fatal(err)
	}
	got, err := parse(rendered)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(byID(kustomized(t, "operator")), byID(got)); diff != "" {
		t.Errorf("Install differs from kustomize (-kustomize +install):\n%s", diff)
	}
	if len(got) != 9 { // Namespace, four definitions, account, binding, Deployment, budget
		t.Errorf("%d objects, want 9", len(got))
	}
}

// TestConfine shows the same of config/least-privilege, and that nobody is left with cluster-admin.
func TestConfine(t *testing.T) {
	rendered, err := Install(operator.FS(), crd.FS(), testImage)
	if err != nil {
		t.Fatal(err)
	}
	confined, err := Confine(rendered, leastprivilege.FS())
	if err != nil {
		t.Fatal(err)
	}
	got, err := parse(confined)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(byID(kustomized(t, "least-privilege")), byID(got)); diff != "" {
		t.Errorf("Confine differs from kustomize (-kustomize +confined):\n%s", diff)
	}
	for _, o := range got {
		if role, _, _ := unstructured.NestedString(o.Object, "roleRef", "name"); role != "" && role != "flux-operator" {
			t.Errorf("%s %q binds %q", o.GetKind(), o.GetName(), role)
		}
	}
	if _, err := Confine([]byte("kind: ConfigMap\napiVersion: v1\nmetadata: {name: a}\n"), leastprivilege.FS()); err == nil {
		t.Error("a manifest without an operator was confined")
	}
}

// kustomized is what kustomize renders from a folder in config.
func kustomized(t *testing.T, folder string) []*unstructured.Unstructured {
	t.Helper()
	dir := t.TempDir()
	for _, part := range []string{"crd", "operator", "least-privilege"} {
		if err := os.CopyFS(filepath.Join(dir, part), os.DirFS(filepath.Join("..", "..", "config", part))); err != nil {
			t.Fatal(err)
		}
	}
	images := "images: [{name: weir, newName: registry.example.com/weir-dev/weir, newTag: v0.1.0, digest: \"" + testDigest + "\"}]\n"
	file, err := os.OpenFile(filepath.Join(dir, folder, "kustomization.yaml"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteString(images); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), filepath.Join(dir, folder))
	if err != nil {
		t.Fatal(err)
	}
	content, err := built.AsYaml()
	if err != nil {
		t.Fatal(err)
	}
	objects, err := parse(content)
	if err != nil {
		t.Fatal(err)
	}
	return objects
}

func TestInstallRefusesMalformedImage(t *testing.T) {
	_, err := Install(operator.FS(), crd.FS(), "no image")
	want := `parse image reference "no image": could not parse reference: no image`
	if diff := cmp.Diff(want, fmt.Sprint(err)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func byID(objects []*unstructured.Unstructured) map[string]any {
	m := map[string]any{}
	for _, o := range objects {
		m[o.GetKind()+"/"+o.GetName()] = o.Object
	}
	return m
}
