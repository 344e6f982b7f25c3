package build

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestOrigins(t *testing.T) {
	object := func(kind, name string) string {
		return "apiVersion: v1\nkind: " + kind + "\nmetadata:\n  name: " + name + "\n"
	}

	for name, tc := range map[string]struct {
		reason string
		files  map[string]string
		path   string
		want   map[Identity]string
	}{
		"Plain": {
			reason: "files of a directory without a kustomization are named",
			files:  map[string]string{"a.yaml": object("ConfigMap", "a"), "sub/b.yaml": object("Secret", "b") + "---\n" + object("Secret", "c")},
			want: map[Identity]string{
				{Kind: "ConfigMap", Name: "a"}: "a.yaml", {Kind: "Secret", Name: "b"}: "sub/b.yaml", {Kind: "Secret", Name: "c"}: "sub/b.yaml",
			},
		},
		"Base": {
			reason: "a file of a base is named from the root of the artifact",
			files: map[string]string{
				"base/kustomization.yaml": "resources: [a.yaml]\n", "base/a.yaml": object("ConfigMap", "a"),
				"prod/kustomization.yaml": "namePrefix: p-\nresources: [../base]\n",
			},
			path: "./prod",
			want: map[Identity]string{{Kind: "ConfigMap", Name: "p-a"}: "base/a.yaml"},
		},
		"Generator": {
			reason: "what is generated comes from where the generator is configured",
			files: map[string]string{
				"app/kustomization.yaml": "generatorOptions: {disableNameSuffixHash: true}\nconfigMapGenerator: [{name: g, literals: [a=b]}]\n",
			},
			path: "app",
			want: map[Identity]string{{Kind: "ConfigMap", Name: "g"}: "app/kustomization.yaml"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir, err := filepath.EvalSymlinks(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}

			for file, content := range tc.files {
				file = filepath.Join(dir, file)
				if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
					t.Fatal(err)
				}

				if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}

			got, err := New(Options{}).Origins(t.Context(), Request{Dir: dir, Digest: "sha256:x", Path: tc.path})
			if err != nil {
				t.Fatal(err)
			}

			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}
