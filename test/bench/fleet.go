package main

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weir-dev/weir/api/meta"

	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
)

const (
	namespace  = "bench"
	sourceName = "fleet"
)

func appName(i int) string { return fmt.Sprintf("app-%04d", i) }

// layout says how the manifests of an application are laid out.
type layout string

const (
	plain     layout = "plain"     // a directory of YAML
	kustomize layout = "kustomize" // the same with a kustomization.yaml that sets the namespace
)

// files are the manifests of a fleet of n applications at a version: each a ConfigMap, a ServiceAccount and a Deployment of
// no replicas. A new version changes the ConfigMap of each. The first broken ones want a replica, which never comes up for
// want of a node.
func files(n, version, broken int, l layout) map[string]string {
	f := make(map[string]string, 4*n)

	for i := range n {
		name, replicas := appName(i), 0
		if i < broken {
			replicas = 1
		}

		meta := fmt.Sprintf("  name: %s\n  namespace: %s\n", name, namespace)
		if l == kustomize {
			meta = fmt.Sprintf("  name: %s\n", name)
			f[name+"/kustomization.yaml"] = fmt.Sprintf(`apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: %s
resources: [configmap.yaml, serviceaccount.yaml, deployment.yaml]
`, namespace)
		}

		f[name+"/configmap.yaml"] = fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata:\n%sdata:\n  version: \"%d\"\n  application: %s\n",
			meta, version, name)
		f[name+"/serviceaccount.yaml"] = "apiVersion: v1\nkind: ServiceAccount\nmetadata:\n" + meta
		f[name+"/deployment.yaml"] = fmt.Sprintf(`apiVersion: apps/v1
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
      serviceAccountName: %[2]s
      containers:
        - name: app
          image: registry.example/%[2]s:1.0.0
          envFrom:
            - configMapRef: {name: %[2]s}
`, meta, name, replicas)
	}

	return f
}

func newNamespace() *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}
}

func newSource(url string, interval time.Duration) *sourcev1.GitRepository {
	return &sourcev1.GitRepository{
		ObjectMeta: metav1.ObjectMeta{Name: sourceName, Namespace: namespace},
		Spec: sourcev1.GitRepositorySpec{
			URL: url, Interval: metav1.Duration{Duration: interval},
			Reference: &sourcev1.GitRepositoryRef{Branch: "main"},
		},
	}
}

func newKustomization(i int, interval time.Duration) *kustomizev1.Kustomization {
	return &kustomizev1.Kustomization{
		ObjectMeta: metav1.ObjectMeta{Name: appName(i), Namespace: namespace},
		Spec: kustomizev1.KustomizationSpec{
			Interval: metav1.Duration{Duration: interval}, Path: "./" + appName(i), Prune: true, Wait: true,
			SourceRef: kustomizev1.CrossNamespaceSourceReference{
				Kind: sourcev1.GitRepositoryKind, Name: sourceName,
			},
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
