package main

import (
	"fmt"

	"github.com/weir-dev/weir/test/helmrepo"
)

const chartName = "app"

// chartVersion is the version of a chart.
func chartVersion(version int) string { return fmt.Sprintf("1.%d.0", version) }

// chartFiles are those of a chart like most are: helpers, labels of all objects, notes, and a Deployment, a Service, a ConfigMap and a
// ServiceAccount. A new version changes the ConfigMap, and by the label with the version all objects.
func chartFiles(version int) map[string]string {
	return map[string]string{
		"Chart.yaml": fmt.Sprintf(`apiVersion: v2
name: %s
version: %s
appVersion: "%d"
description: A web application
type: application
kubeVersion: ">=1.23.0-0"
`, chartName, chartVersion(version), version),
		"values.yaml": `# Pods that are wanted.
replicaCount: 1
image:
  repository: registry.example/app
  pullPolicy: IfNotPresent
  tag: ""
application: ""
service:
  type: ClusterIP
  port: 80
serviceAccount:
  annotations: {}
podAnnotations: {}
resources:
  requests: {cpu: 10m, memory: 16Mi}
probes:
  path: /healthz
  periodSeconds: 10
nodeSelector: {}
tolerations: []
affinity: {}
`,
		"README.md":                     "# Application\n\nA web application, its Service and its configuration.\n",
		"templates/_helpers.tpl":        helpers,
		"templates/deployment.yaml":     chartDeployment,
		"templates/service.yaml":        chartService,
		"templates/configmap.yaml":      fmt.Sprintf(chartConfigMap, version),
		"templates/serviceaccount.yaml": chartServiceAccount,
		"templates/NOTES.txt": `{{ .Chart.Name }} {{ .Chart.Version }} runs as {{ include "app.fullname" . }} in {{ .Release.Namespace }}.
`,
	}
}

// packChart returns the package of a version.
func packChart(version int) ([]byte, error) {
	c, err := helmrepo.Load(chartFiles(version))
	if err != nil {
		return nil, err //nolint:wrapcheck // says what it could not do
	}

	return helmrepo.Pack(c) //nolint:wrapcheck // says what it could not do
}

const helpers = `{{- define "app.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "app.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "app.selectorLabels" -}}
app.kubernetes.io/name: {{ include "app.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "app.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "app.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}
`

const chartDeployment = `apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "app.fullname" . }}
  labels:
    {{- include "app.labels" . | nindent 4 }}
spec:
  replicas: {{ .Values.replicaCount }}
  selector:
    matchLabels:
      {{- include "app.selectorLabels" . | nindent 6 }}
  template:
    metadata:
      {{- with .Values.podAnnotations }}
      annotations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      labels:
        {{- include "app.selectorLabels" . | nindent 8 }}
    spec:
      serviceAccountName: {{ include "app.fullname" . }}
      containers:
        - name: {{ .Chart.Name }}
          image: "{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}"
          imagePullPolicy: {{ .Values.image.pullPolicy }}
          ports:
            - name: http
              containerPort: 8080
              protocol: TCP
          envFrom:
            - configMapRef: {name: {{ include "app.fullname" . }}}
          livenessProbe:
            httpGet: {path: {{ .Values.probes.path }}, port: http}
            periodSeconds: {{ .Values.probes.periodSeconds }}
          readinessProbe:
            httpGet: {path: {{ .Values.probes.path }}, port: http}
            periodSeconds: {{ .Values.probes.periodSeconds }}
          resources:
            {{- toYaml .Values.resources | nindent 12 }}
      {{- with .Values.nodeSelector }}
      nodeSelector:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .Values.affinity }}
      affinity:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .Values.tolerations }}
      tolerations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
`

const chartService = `apiVersion: v1
kind: Service
metadata:
  name: {{ include "app.fullname" . }}
  labels:
    {{- include "app.labels" . | nindent 4 }}
spec:
  type: {{ .Values.service.type }}
  ports:
    - port: {{ .Values.service.port }}
      targetPort: http
      protocol: TCP
      name: http
  selector:
    {{- include "app.selectorLabels" . | nindent 4 }}
`

const chartConfigMap = `apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ include "app.fullname" . }}
  labels:
    {{- include "app.labels" . | nindent 4 }}
data:
  version: "%d"
  application: {{ .Values.application | quote }}
`

const chartServiceAccount = `apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ include "app.fullname" . }}
  labels:
    {{- include "app.labels" . | nindent 4 }}
  {{- with .Values.serviceAccount.annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
`
