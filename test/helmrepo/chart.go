package helmrepo

import (
	"fmt"

	"helm.sh/helm/v3/pkg/chart"
)

// Chart returns a chart like podinfo: a Deployment and a Service, and values that say which image and how often.
func Chart(name, version string) *chart.Chart {
	return &chart.Chart{
		Metadata: &chart.Metadata{
			APIVersion: chart.APIVersionV2, Name: name, Version: version, AppVersion: version, Type: "application",
			Description: "A tiny web application", Home: "https://example.com/" + name,
			Sources: []string{"https://example.com/" + name + ".git"}, Keywords: []string{"web", "demo"},
			Maintainers: []*chart.Maintainer{{Name: "jane", Email: "jane@example.com"}},
			KubeVersion: ">=1.23.0-0",
		},
		Values: map[string]any{"replicaCount": 1, "image": map[string]any{"tag": version}},
		Raw: []*chart.File{
			{Name: "values.yaml", Data: fmt.Appendf(nil, "replicaCount: 1\nimage:\n  tag: %s\n", version)},
		},
		Files: []*chart.File{
			{Name: "values-prod.yaml", Data: []byte("replicaCount: 3\n")},
			{Name: "README.md", Data: []byte("# " + name + "\n")},
		},
		Templates: []*chart.File{
			{Name: "templates/deployment.yaml", Data: []byte(deployment)},
			{Name: "templates/service.yaml", Data: []byte(service)},
		},
	}
}

const deployment = `apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ .Release.Name }}
spec:
  replicas: {{ .Values.replicaCount }}
  selector:
    matchLabels:
      app: {{ .Release.Name }}
  template:
    metadata:
      labels:
        app: {{ .Release.Name }}
    spec:
      containers:
        - name: web
          image: example.com/web:{{ .Values.image.tag }}
`

const service = `apiVersion: v1
kind: Service
metadata:
  name: {{ .Release.Name }}
spec:
  selector:
    app: {{ .Release.Name }}
  ports:
    - port: 80
`
