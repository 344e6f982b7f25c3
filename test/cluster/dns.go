package cluster

import (
	"context"
	"errors"
	"net/http"
	"strings"
)

// The images that a node needs, in the cluster's registry.
const (
	pauseImage   = "weir/pause:" + nodeVersion
	corednsImage = "weir/coredns:" + corednsVersion
)

const corednsPath = "/apis/apps/v1/namespaces/kube-system/deployments/coredns"

// manifest is an object and where the API server has it.
type manifest struct{ path, yaml string }

func dnsManifests() []manifest {
	return []manifest{
		{"/api/v1/namespaces/kube-system/serviceaccounts/coredns", `apiVersion: v1
kind: ServiceAccount
metadata: {name: coredns, namespace: kube-system}
`},
		{"/apis/rbac.authorization.k8s.io/v1/clusterroles/system:coredns", `apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: "system:coredns"}
rules:
- {apiGroups: [""], resources: [services, pods, namespaces], verbs: [list, watch]}
- {apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [list, watch]}
`},
		{"/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/system:coredns", `apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: "system:coredns"}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "system:coredns"}
subjects: [{kind: ServiceAccount, name: coredns, namespace: kube-system}]
`},
		{"/api/v1/namespaces/kube-system/configmaps/coredns", `apiVersion: v1
kind: ConfigMap
metadata: {name: coredns, namespace: kube-system}
data:
  Corefile: |
    .:5353 {
        errors
        health :8081
        ready :8181
        kubernetes {{.Domain}} in-addr.arpa ip6.arpa {
            pods insecure
        }
        cache 5
    }
`},
		{corednsPath, `apiVersion: apps/v1
kind: Deployment
metadata: {name: coredns, namespace: kube-system, labels: {k8s-app: kube-dns}}
spec:
  replicas: 1
  selector: {matchLabels: {k8s-app: kube-dns}}
  template:
    metadata: {labels: {k8s-app: kube-dns}}
    spec:
      serviceAccountName: coredns
      priorityClassName: system-cluster-critical
      securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
      containers:
      - name: coredns
        image: {{.CoreDNS}}
        args: [-conf, /etc/coredns/Corefile]
        ports: [{name: dns, containerPort: 5353, protocol: UDP}, {name: dns-tcp, containerPort: 5353}]
        readinessProbe: {httpGet: {path: /ready, port: 8181}, periodSeconds: 1}
        securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
        volumeMounts: [{name: config, mountPath: /etc/coredns}]
      volumes: [{name: config, configMap: {name: coredns}}]
`},
		{"/api/v1/namespaces/kube-system/services/kube-dns", `apiVersion: v1
kind: Service
metadata: {name: kube-dns, namespace: kube-system, labels: {k8s-app: kube-dns}}
spec:
  clusterIP: {{.DNS}}
  selector: {k8s-app: kube-dns}
  ports:
  - {name: dns, port: 53, targetPort: dns, protocol: UDP}
  - {name: dns-tcp, port: 53, targetPort: dns-tcp}
`},
	}
}

// applyDNS pushes the images that a node needs and creates the name server.
func (c *Cluster) applyDNS(ctx context.Context) error {
	err := errors.Join(
		c.pushTool(ctx, pauseImage, "node", "pause"),
		c.pushTool(ctx, corednsImage, "coredns", "coredns"),
	)
	if err != nil {
		return err
	}
	for _, m := range dnsManifests() {
		body, err := fill(m.yaml, c.nodeValues())
		if err != nil {
			return err
		}
		url := c.client.base + m.path + "?fieldManager=weir-test-cluster&force=true"
		if err := c.client.do(ctx, http.MethodPatch, url, "application/apply-patch+yaml", strings.NewReader(body), nil); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cluster) dnsReady(ctx context.Context) error {
	var d struct {
		Status struct{ AvailableReplicas int }
	}
	if err := c.client.get(ctx, corednsPath, &d); err != nil {
		return err
	}
	if d.Status.AvailableReplicas == 0 {
		return errors.New("coredns is not available yet")
	}
	return nil
}
