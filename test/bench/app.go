package main

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
)

const namespace = "bench"

func appName(i int) string { return fmt.Sprintf("app-%04d", i) }

// layout says how the manifests of an application are laid out.
type layout string

const (
	plain     layout = "plain"     // a directory of YAML
	kustomize layout = "kustomize" // the same with a kustomization.yaml that sets the namespace
)

// app is what the manifests of an application say.
type app struct {
	name    string
	version int
	layout  layout

	// pods lets the Deployment have a replica, and a new version replaces its pod.
	pods bool

	// broken lets the Deployment want a replica that no node takes, so that it never becomes Ready.
	broken bool
}

// files are a ConfigMap, a ServiceAccount and a Deployment, by path. A new version changes the ConfigMap.
func (a app) files() map[string]string {
	f := map[string]string{}

	metadata := fmt.Sprintf("  name: %s\n  namespace: %s\n", a.name, namespace)
	if a.layout == kustomize {
		metadata = fmt.Sprintf("  name: %s\n", a.name)
		f["kustomization.yaml"] = fmt.Sprintf(`apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: %s
resources: [configmap.yaml, serviceaccount.yaml, deployment.yaml]
`, namespace)
	}

	replicas, image, selector := 0, 0, ""
	if a.pods {
		replicas, image = 1, a.version
	}

	if a.broken {
		replicas, selector = 1, "\n      nodeSelector: {kubernetes.io/hostname: none}"
	}

	f["configmap.yaml"] = fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata:\n%sdata:\n  version: \"%d\"\n  application: %s\n",
		metadata, a.version, a.name)
	f["serviceaccount.yaml"] = "apiVersion: v1\nkind: ServiceAccount\nmetadata:\n" + metadata
	f["deployment.yaml"] = fmt.Sprintf(`apiVersion: apps/v1
kind: Deployment
metadata:
%[1]s  labels: {app: %[2]s}
spec:
  replicas: %[3]d
  selector:
    matchLabels: {app: %[2]s}
  template:
    metadata:
      labels: {app: %[2]s}
    spec:
      serviceAccountName: %[2]s%[5]s
      containers:
        - name: app
          image: registry.example/%[2]s:1.0.%[4]d
          envFrom:
            - configMapRef: {name: %[2]s}
`, metadata, a.name, replicas, image, selector)

	return f
}

func newNamespace() *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}
}

func newKustomization(i int, interval time.Duration, path string, ref kustomizev1.CrossNamespaceSourceReference) *kustomizev1.Kustomization {
	return &kustomizev1.Kustomization{
		ObjectMeta: metav1.ObjectMeta{Name: appName(i), Namespace: namespace},
		Spec: kustomizev1.KustomizationSpec{
			Interval: metav1.Duration{Duration: interval}, Path: path, Prune: true, Wait: true, SourceRef: ref,
			// A slow machine must not make healthy ones time out.
			Timeout: &metav1.Duration{Duration: patience},
		},
	}
}

func newGitRepository(name, url string, interval time.Duration) *sourcev1.GitRepository {
	return &sourcev1.GitRepository{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace},
		Spec: sourcev1.GitRepositorySpec{
			URL: url, Interval: metav1.Duration{Duration: interval}, Reference: &sourcev1.GitRepositoryRef{Branch: branch},
		},
	}
}

func newOCIRepository(name, registry string, interval time.Duration) *sourcev1.OCIRepository {
	return &sourcev1.OCIRepository{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace},
		Spec: sourcev1.OCIRepositorySpec{
			URL: "oci://" + registry + "/" + name, Insecure: true, Interval: metav1.Duration{Duration: interval},
			Reference: &sourcev1.OCIRepositoryRef{Tag: tag},
		},
	}
}

// ready tells whether the Kustomization is Ready at the revision.
func ready(k *kustomizev1.Kustomization, revision string) bool {
	if k.Status.LastAppliedRevision != revision {
		return false
	}

	for _, c := range k.Status.Conditions {
		if c.Type == meta.ReadyCondition {
			return c.Status == metav1.ConditionTrue && c.ObservedGeneration == k.Generation
		}
	}

	return false
}
