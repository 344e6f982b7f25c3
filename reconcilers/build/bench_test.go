package build

import (
	"context"
	"fmt"
	"maps"
	"testing"
)

var benchFiles = files{
	"deployment.yaml": `apiVersion: apps/v1
kind: Deployment
metadata:
  name: app
spec:
  replicas: 0
  selector:
    matchLabels: {app: app}
  template:
    metadata:
      labels: {app: app}
    spec:
      containers:
      - name: app
        image: nginx:1
        ports: [{containerPort: 80}]
        resources: {limits: {cpu: 100m, memory: 64Mi}}
`,
	"service.yaml": "apiVersion: v1\nkind: Service\nmetadata:\n  name: app\nspec:\n  ports: [{port: 80}]\n",
	"config.yaml":  "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: app\ndata:\n  key: value\n",
}

func with(f files, name, content string) files {
	all := files{name: content}
	maps.Copy(all, f)

	return all
}

// BenchmarkBuild shows what three objects cost on each path.
func BenchmarkBuild(b *testing.B) {
	cases := map[string]struct {
		files     files
		digest    string
		spec      Spec
		variables []variable
	}{
		"Direct":     {files: benchFiles},
		"Cached":     {files: benchFiles, digest: "sha256:1"},
		"Substitute": {files: benchFiles, variables: []variable{{name: "a", value: "b"}}},
		"Library": {files: with(benchFiles, "kustomization.yaml",
			"resources: [deployment.yaml, service.yaml, config.yaml]\n")},
		"Namespace": {files: benchFiles, spec: Spec{TargetNamespace: "team"}},
	}

	for name, bc := range cases {
		b.Run(name, func(b *testing.B) {
			dir := bc.files.write(b)
			builder := New(Options{})
			request := Request{Dir: dir, Digest: bc.digest, Spec: bc.spec, Variables: variablesOf(b, bc.variables...)}

			b.ReportAllocs()

			for b.Loop() {
				if _, err := builder.Build(context.Background(), request); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkParallel shows what builds of several objects cost each other.
func BenchmarkParallel(b *testing.B) {
	for name, f := range map[string]files{
		"Direct":  benchFiles,
		"Library": with(benchFiles, "kustomization.yaml", "namespace: team\nresources: [deployment.yaml, service.yaml, config.yaml]\n"),
	} {
		b.Run(name, func(b *testing.B) {
			dir := f.write(b)
			builder := New(Options{})

			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := builder.Build(context.Background(), Request{Dir: dir}); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}

// BenchmarkSubstitute shows what variables cost in a thousand objects, each of which has some.
func BenchmarkSubstitute(b *testing.B) {
	text := many(1000, func(i int) string {
		return configMap(fmt.Sprint("a", i)) + "data: {k: \"${A} and ${B:-b}\", url: \"https://${A}.example.org/${U:=x}\"}\n---\n"
	})

	for name, list := range map[string][]variable{"Without": nil, "With": {{name: "A", value: "a"}, {name: "B", value: "b"}}} {
		b.Run(name, func(b *testing.B) {
			dir := files{"a.yaml": text}.write(b)
			builder := New(Options{})
			variables := variablesOf(b, list...)

			b.ReportAllocs()

			for b.Loop() {
				if _, err := builder.Build(context.Background(), Request{Dir: dir, Variables: variables}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
