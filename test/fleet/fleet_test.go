package fleet

import (
	"io"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"sigs.k8s.io/yaml"
)

func TestFiles(t *testing.T) {
	files, err := Files(Settings{Cluster: "here", Registry: "localhost:21005", Replicas: 0})
	if err != nil {
		t.Fatal(err)
	}

	for path, content := range files {
		if !strings.HasSuffix(path, ".yaml") {
			continue
		}

		for doc := range strings.SplitSeq(content, "\n---\n") {
			var object struct{ Kind string }
			if err := yaml.Unmarshal([]byte(doc), &object); err != nil || object.Kind == "" {
				t.Errorf("%s: kind %q, error %v:\n%s", path, object.Kind, err, doc)
			}
		}
	}

	want := `apiVersion: v1
kind: ConfigMap
metadata:
  name: cluster-settings
  namespace: flux-system
data:
  cluster: here
  registry: localhost:21005
  replicas: "0"
`
	if diff := cmp.Diff(want, strings.Split(files[Path+"/settings.yaml"], "---\n")[0]); diff != "" {
		t.Errorf("settings: -want, +got:\n%s", diff)
	}
}

func TestRelease(t *testing.T) {
	got, err := Release("1.1.0")
	if err != nil {
		t.Fatal(err)
	}

	for _, environment := range []string{"staging", "production"} {
		path := "apps/web/overlays/" + environment + "/kustomization.yaml"
		if !strings.Contains(got[path], "newTag: 1.1.0\n") {
			t.Errorf("%s is not of the new version:\n%s", path, got[path])
		}
	}

	if len(got) != 2 {
		t.Errorf("%d files change, want 2", len(got))
	}
}

func TestPush(t *testing.T) {
	server := httptest.NewServer(registry.New())
	defer server.Close()

	host := strings.TrimPrefix(server.URL, "http://")
	if err := Push(t.Context(), host, io.Discard, "1.0.0", "1.1.0"); err != nil {
		t.Fatal(err)
	}

	for _, version := range []string{"1.0.0", "1.1.0"} {
		ref, err := name.ParseReference(host + "/web:" + version)
		if err != nil {
			t.Fatal(err)
		}

		img, err := remote.Image(ref, remote.WithContext(t.Context()))
		if err != nil {
			t.Fatal(err)
		}

		file, err := img.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}

		if diff := cmp.Diff([]string{"PATH=/", "VERSION=" + version}, file.Config.Env); diff != "" {
			t.Errorf("environment of %s: -want, +got:\n%s", ref, diff)
		}
	}
}
