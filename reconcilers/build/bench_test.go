package build

import (
	"context"
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
