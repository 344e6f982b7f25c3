package instance_test

import (
	"io/fs"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"sigs.k8s.io/yaml"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/config/crd"
	manifests "github.com/weir-dev/weir/config/distribution"
	"github.com/weir-dev/weir/reconcilers/distribution"
	"github.com/weir-dev/weir/test/upstream"
)

// slim are the definitions with schemas that admit all: most of what a test here takes would be schemas, which API servers compile and
// the race detector watches. What tests here are about does not depend on them; TestLife has them whole.
var slim = sync.OnceValues(func() (fs.FS, error) {
	files, err := fs.Glob(crd.FS(), "*.yaml")
	if err != nil {
		return nil, err
	}
	all := fstest.MapFS{}
	for _, file := range files {
		content, err := fs.ReadFile(crd.FS(), file)
		if err != nil {
			return nil, err
		}
		if !strings.HasPrefix(file, fluxv1.GroupVersion.Group) {
			if content, err = withoutSchemas(content); err != nil {
				return nil, err
			}
		}
		all[file] = &fstest.MapFile{Data: content}
	}
	return all, nil
})

func withoutSchemas(content []byte) ([]byte, error) {
	definition := map[string]any{}
	if err := yaml.Unmarshal(content, &definition); err != nil {
		return nil, err
	}
	spec, _ := definition["spec"].(map[string]any)
	versions, _ := spec["versions"].([]any)
	for _, v := range versions {
		v.(map[string]any)["schema"] = map[string]any{
			"openAPIV3Schema": map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true},
		}
	}
	return yaml.Marshal(definition)
}

// embedded are the distributions that operators carry, slim and whole.
var embedded = struct {
	slim, whole func() (*distribution.Distribution, error)
}{
	slim: sync.OnceValues(func() (*distribution.Distribution, error) {
		definitions, err := slim()
		if err != nil {
			return nil, err
		}
		return distribution.Load(manifests.FS(), definitions)
	}),
	whole: sync.OnceValues(func() (*distribution.Distribution, error) { return distribution.Load(manifests.FS(), crd.FS()) }),
}

// upstreamFiles are those of an artifact with one version.
func upstreamFiles(t *testing.T, version string) map[string]string {
	t.Helper()
	definitions, err := slim()
	must(t, err)
	files, err := upstream.FilesWith(definitions, version, fluxv1.VariantUpstreamAlpine, nil)
	must(t, err)
	return files
}
