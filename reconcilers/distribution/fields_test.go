package distribution

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
)

// immaterial are values of the fields that say how objects get into a cluster, and not what they are.
func immaterial() map[string]string {
	return map[string]string{
		"wait":                            `wait: false`,
		"migrateResources":                `migrateResources: false`,
		"upgrade":                         `upgrade: {mode: Manual, soak: 1m, windows: [{schedule: "0 2 * * *", duration: 1h}]}`,
		"prune":                           `prune: {definitions: true, synced: true}`,
		"kubeConfig":                      `kubeConfig: {secretRef: {name: remote}}`,
		"targetNamespace":                 `{kubeConfig: {secretRef: {name: remote}}, targetNamespace: elsewhere}`,
		"distribution.artifactPullSecret": `distribution: {artifactPullSecret: auth}`,
		"distribution.certSecret":         `distribution: {certSecret: ca}`,
		"distribution.proxySecret":        `distribution: {proxySecret: proxy}`,
		"distribution.insecure":           `distribution: {insecure: true}`,
		"distribution.mirrors":            `distribution: {mirrors: [mirror.example.com]}`,
		"distribution.provider":           `distribution: {provider: aws}`,
		"distribution.serviceAccountName": `distribution: {provider: aws, serviceAccountName: puller}`,
		"distribution.verify":             `distribution: {verify: {secretRef: {name: keys}}}`,
	}
}

// TestEveryField holds that a golden build shows what each field of the API does to the objects, or that it does nothing to them.
func TestEveryField(t *testing.T) {
	used := map[string]bool{}
	files, err := filepath.Glob("testdata/*/in.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		in := map[string]any{}
		if err := yaml.Unmarshal(content, &in); err != nil {
			t.Fatal(err)
		}
		mark(used, "", in["spec"])
	}
	plain := build(t, load(t), base).Digest
	for field, value := range immaterial() {
		t.Run(field, func(t *testing.T) {
			instance := read(t, base)
			if err := yaml.UnmarshalStrict([]byte(value), &instance.Spec); err != nil {
				t.Fatal(err)
			}
			set, err := load(t).Build(instance, options(t))
			if err != nil {
				t.Fatal(err)
			}
			if set.Digest != plain {
				t.Errorf("spec.%s is part of the build, and no golden file shows what it does", field)
			}
		})
		used[field] = true
	}
	for _, field := range fieldsOf(reflect.TypeFor[fluxv1.FluxInstanceSpec](), "") {
		covered := func(f string) bool { return f == field || strings.HasPrefix(field, f+".") && immaterial()[f] != "" }
		if !slices.ContainsFunc(keys(used), covered) {
			t.Errorf("no golden file shows what spec.%s does", field)
		}
	}
}

// mark notes the fields of a value that are set, those of all elements of a list under the path of the list.
func mark(used map[string]bool, path string, value any) {
	switch value := value.(type) {
	case map[string]any:
		for key, below := range value {
			at := joined(path, key)
			used[at] = true
			mark(used, at, below)
		}
	case []any:
		for _, element := range value {
			mark(used, path, element)
		}
	}
}

// joined is the path of a field. What a sync has is the same in spec.sync and in spec.syncs.
func joined(path, name string) string {
	if path == "syncs" {
		path = "sync"
	}
	return strings.TrimPrefix(path+"."+name, ".")
}

func keys(m map[string]bool) []string {
	var all []string
	for key := range m {
		all = append(all, key)
	}
	return all
}

// fieldsOf returns the fields of a type of the API in the same way. Types of Kubernetes, and those that write themselves, count as one value.
func fieldsOf(t reflect.Type, path string) []string {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	ours := strings.HasPrefix(t.PkgPath(), "github.com/weir-dev/weir/")
	if t.Kind() != reflect.Struct || !ours || reflect.PointerTo(t).Implements(reflect.TypeFor[json.Marshaler]()) {
		return []string{path}
	}
	var all []string
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" {
			all = append(all, fieldsOf(f.Type, path)...)
			continue
		}
		all = append(all, fieldsOf(f.Type, joined(path, name))...)
	}
	return all
}
