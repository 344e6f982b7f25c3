package charts_test

import (
	"bytes"
	"testing"

	"helm.sh/helm/v3/pkg/chart/loader"

	"github.com/weir-dev/weir/reconcilers/charts"
)

// FuzzLoad holds that no package breaks the loader, that the same chart makes the same package, and that Helm takes what we make.
func FuzzLoad(f *testing.F) {
	f.Add([]byte(wide(f)["Chart.yaml"]), []byte(wide(f)["values.yaml"]), []byte(""), "templates/all.yaml")
	f.Add([]byte(legacy()["Chart.yaml"]), []byte("a: 1"), []byte(legacy()["requirements.yaml"]), "requirements.yaml")
	f.Add([]byte("name: x\nversion: 1.0.0\nmaintainers: [null]"), []byte("null"), []byte("null"), "Chart.lock")
	f.Add([]byte("apiVersion: v2\nname: x\nversion: 1.0.0\ndependencies: [{name: a}]"), []byte("[]"), []byte("name: a\nversion: 1.0.0"), "charts/a/Chart.yaml")
	f.Add([]byte("apiVersion: v2\nname: x\nversion: 1.0.0"), []byte("{}"), []byte("{"), "values.schema.json")
	f.Add([]byte("apiVersion: v2\nname: x\nversion: 1.0.0"), []byte("&a [*a]"), []byte("x"), `a\..\b`)

	f.Fuzz(func(t *testing.T, metadata, values, content []byte, name string) {
		raw, err := tryArchive(member{name: "c/Chart.yaml", content: string(metadata)},
			member{name: "c/values.yaml", content: string(values)}, member{name: "c/" + name, content: string(content)})
		if err != nil {
			return // it is no name in an archive
		}

		c, err := charts.Load(t.Context(), bytes.NewReader(raw), charts.Limits{})
		if err != nil {
			return
		}

		again, err := charts.Load(t.Context(), bytes.NewReader(raw), charts.Limits{})
		if err != nil {
			t.Fatal(err)
		}

		first, failed := tryPack(t, c)
		second, failedAgain := tryPack(t, again)

		if !bytes.Equal(first, second) || (failed == nil) != (failedAgain == nil) {
			t.Errorf("the same chart makes another package: %v, %v", failed, failedAgain)
		}

		if failed != nil {
			return
		}

		if _, err := loader.LoadArchive(bytes.NewReader(first)); err != nil {
			t.Errorf("Helm does not take the package: %v", err)
		}
	})
}
