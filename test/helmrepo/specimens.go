package helmrepo

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
)

// Load returns the chart that has the files, by their paths.
func Load(files map[string]string) (*chart.Chart, error) {
	all := make([]*loader.BufferedFile, 0, len(files))
	for path, content := range files {
		all = append(all, &loader.BufferedFile{Name: path, Data: []byte(content)})
	}

	c, err := loader.LoadFiles(all)
	if err != nil {
		return nil, fmt.Errorf("load chart: %w", err)
	}

	return c, nil
}

// Pack returns the package of a chart, as Helm makes it.
func Pack(c *chart.Chart) ([]byte, error) {
	dir, err := os.MkdirTemp("", "chart-")
	if err != nil {
		return nil, fmt.Errorf("make a folder: %w", err)
	}
	defer os.RemoveAll(dir) //nolint:errcheck // nobody looks into it

	file, err := chartutil.Save(c, dir)
	if err != nil {
		return nil, fmt.Errorf("package chart: %w", err)
	}

	return os.ReadFile(file)
}

func described(name, version, more string) string {
	return fmt.Sprintf("apiVersion: v2\nname: %s\nversion: %s\nappVersion: %q\ndescription: A chart for tests\n%s", name, version, version, more)
}

// WithHooks returns the files of a chart with Jobs as hooks before and after it is installed and upgraded, before it is rolled back,
// and before and after it goes, and with two tests. Values say how the pods end where a node is only pretended: hooks.<event> and
// tests.<name> are Succeeded, Failed, or something else for one that does not end. Value is what its ConfigMap says.
func WithHooks(name, version string) map[string]string {
	return map[string]string{
		"Chart.yaml": described(name, version, ""),
		"values.yaml": `value: none
image: none
command: []
hooks: {pre: Succeeded, post: Succeeded, rollback: Succeeded, delete: Succeeded}
tests: {first: Succeeded, second: Succeeded}
`,
		"templates/config.yaml":   configured,
		"templates/_job.tpl":      hookJob,
		"templates/pre.yaml":      `{{ include "job" (dict "top" . "name" "pre" "on" "pre-install,pre-upgrade" "end" .Values.hooks.pre) }}`,
		"templates/post.yaml":     `{{ include "job" (dict "top" . "name" "post" "on" "post-install,post-upgrade" "end" .Values.hooks.post) }}`,
		"templates/rollback.yaml": `{{ include "job" (dict "top" . "name" "rollback" "on" "pre-rollback" "end" .Values.hooks.rollback) }}`,
		"templates/delete.yaml":   `{{ include "job" (dict "top" . "name" "delete" "on" "pre-delete" "end" .Values.hooks.delete) }}`,
		"templates/tests.yaml": `{{ range $name, $end := .Values.tests }}
{{ include "job" (dict "top" $ "name" (print "test-" $name) "on" "test" "end" $end) }}
---
{{ end }}`,
	}
}

const configured = `apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .Release.Name }}
data:
  value: {{ .Values.value | quote }}
  version: {{ .Chart.Version | quote }}
`

// The label fake-end tells the node that is only pretended how to end the pod.
const hookJob = `{{ define "job" -}}
apiVersion: batch/v1
kind: Job
metadata:
  name: {{ .top.Release.Name }}-{{ .name }}
  annotations:
    helm.sh/hook: {{ .on | quote }}
    helm.sh/hook-delete-policy: before-hook-creation
spec:
  backoffLimit: 0
  template:
    metadata:
      labels:
        fake-end: {{ .end | quote }}
    spec:
      restartPolicy: Never
      containers:
        - name: hook
          image: {{ .top.Values.image }}
          command: {{ .top.Values.command | toJson }}
{{- end }}
`

// WithDefinitions returns the files of a chart that defines the kind Widget in the group <name>.example.com, and has one. The definition
// has a property for each of the names.
func WithDefinitions(name, version string, properties ...string) map[string]string {
	var schema strings.Builder
	for _, p := range properties {
		fmt.Fprintf(&schema, "                %s: {type: string}\n", p)
	}

	return map[string]string{
		"Chart.yaml":  described(name, version, ""),
		"values.yaml": "value: none\n",
		"crds/widgets.yaml": fmt.Sprintf(`apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: widgets.%[1]s.example.com
spec:
  group: %[1]s.example.com
  names: {kind: Widget, listKind: WidgetList, plural: widgets, singular: widget}
  scope: Namespaced
  versions:
    - name: v1
      served: true
      storage: true
      schema:
        openAPIV3Schema:
          type: object
          properties:
            spec:
              type: object
              properties:
%[2]s`, name, schema.String()),
		"templates/widget.yaml": fmt.Sprintf(`apiVersion: %s.example.com/v1
kind: Widget
metadata:
  name: {{ .Release.Name }}
spec:
  %s: {{ .Values.value | quote }}
`, name, properties[len(properties)-1]),
	}
}

// WithFamily returns the files of a chart with two charts in it: a library that all share, and one that the value backend.enabled asks for.
// Its ConfigMap is also rendered with what the library defines.
func WithFamily(name, version string) map[string]string {
	return map[string]string{
		"Chart.yaml": described(name, version, `dependencies:
  - {name: common, version: 0.1.0}
  - {name: backend, version: 1.x.x, alias: store, condition: store.enabled}
`),
		"values.yaml": "global: {team: none}\nvalue: none\nstore: {enabled: true, size: small}\n",
		"templates/config.yaml": `apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .Release.Name }}
  labels: {{- include "common.labels" . | nindent 4 }}
data:
  value: {{ .Values.value | quote }}
`,
		"templates/NOTES.txt": "{{ .Release.Name }} is there.\n",

		"charts/common/Chart.yaml": described("common", "0.1.0", "type: library\n"),
		"charts/common/templates/_labels.tpl": `{{ define "common.labels" -}}
team: {{ .Values.global.team }}
chart: {{ .Chart.Name }}
{{- end }}
`,

		"charts/backend/Chart.yaml":  described("backend", "1.2.3", ""),
		"charts/backend/values.yaml": "size: none\n",
		"charts/backend/templates/config.yaml": `apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .Release.Name }}-{{ .Chart.Name }}
  labels: {{- include "common.labels" . | nindent 4 }}
data:
  size: {{ .Values.size | quote }}
`,
	}
}

// WithBulk returns the files of a chart of about so many bytes: dashboards of 100 kB each, of which five are rendered, and a document.
// They are text that compresses to less than a tenth; with noise, a part of the bytes is text that compresses to three quarters.
func WithBulk(name, version string, size, noise int) map[string]string {
	const dashboard = 100_000

	files := map[string]string{
		"Chart.yaml":            described(name, version, ""),
		"values.yaml":           "value: none\n",
		"templates/config.yaml": configured,
		"templates/dashboards.yaml": `{{ range $i := until 5 }}
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ $.Release.Name }}-{{ $i }}
data:
  dashboard.json: |
{{ $.Files.Get (printf "dashboards/%d.json" $i) | indent 4 }}
---
{{ end }}`,
	}

	random := rand.New(rand.NewPCG(uint64(size), uint64(noise))) //nolint:gosec // no secret: it is the same each time

	for i := 0; size > noise; i++ {
		n := min(dashboard, size-noise)
		size -= n
		files[fmt.Sprintf("dashboards/%d.json", i)] = panels(random, n)
	}

	if noise > 0 {
		text := make([]byte, noise)
		for i := range text {
			text[i] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[random.IntN(64)]
		}

		files["noise.txt"] = string(text)
	}

	return files
}

// panels is a dashboard of about so many bytes.
func panels(random *rand.Rand, size int) string {
	var b strings.Builder

	b.WriteString("[\n")

	for b.Len() < size-200 {
		fmt.Fprintf(&b, `{"type": "graph", "title": "Requests per second", "datasource": "prometheus", "id": %d, "legend": {"show": true}},`+"\n",
			random.IntN(100))
	}

	b.WriteString("{}]\n")

	return b.String()
}
