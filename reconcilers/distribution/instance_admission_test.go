package distribution

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

// TestInstanceAdmission shows what a real API server says about the workloads and syncs of an instance: every bad value is named.
func TestInstanceAdmission(t *testing.T) {
	const (
		git    = "kind: GitRepository, url: u, ref: r, path: p"
		oci    = "kind: OCIRepository, url: u, ref: r, path: p"
		bucket = "kind: Bucket, url: u, ref: r, path: p"
	)
	tests := map[string]struct {
		reason string
		spec   string
		want   string // empty for what is taken
	}{
		"Everything": {
			reason: "All fields together are taken.",
			spec: `workloads:
- {}
- components: [helm-controller, source-watcher]
  replicas: 0
  leaderElection: {leaseDuration: 1m30s, renewDeadline: 60s, retryPeriod: 500ms}
  logLevel: trace
  featureGates: {One: true, Two: false}
  args: [--concurrent=20, --no-remote-bases, "--x=a b = c"]
  resources: {limits: {cpu: 1, memory: 1Gi, example.com/device: 1}, requests: {cpu: 100m}}
  nodeSelector: {a: b}
  tolerations: [{key: a, operator: Exists, effect: NoExecute, tolerationSeconds: 5}]
  affinity: {nodeAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 1, preference: {matchExpressions: [{key: a, operator: Exists}]}}]}}
  priorityClassName: ""
  podDisruptionBudget: {minAvailable: 50%}`,
		},
		"UnknownComponent": {
			reason: "A misspelt name would change nothing.",
			spec:   `workloads: [{components: [helm]}]`,
			want:   `spec.workloads[0].components[0]: Unsupported value: "helm": supported values: "source-controller", "kustomize-controller", "helm-controller", "notification-controller", "image-reflector-controller", "image-automation-controller", "source-watcher"`,
		},
		"NoComponents": {
			reason: "An empty list could be meant to be none, or all.",
			spec:   `workloads: [{components: []}]`,
			want:   "spec.workloads[0].components: Invalid value: 0: spec.workloads[0].components in body should have at least 1 items",
		},
		"NegativeReplicas": {
			reason: "There are no fewer than none.",
			spec:   `workloads: [{replicas: -1}]`,
			want:   "spec.workloads[0].replicas: Invalid value: -1: spec.workloads[0].replicas in body should be greater than or equal to 0",
		},
		"UnknownLevel": {
			reason: "The process would not start.",
			spec:   `workloads: [{logLevel: verbose}]`,
			want:   `spec.workloads[0].logLevel: Unsupported value: "verbose": supported values: "trace", "debug", "info", "error"`,
		},
		"ArgumentWithoutDashes": {
			reason: "The process would not start.",
			spec:   `workloads: [{args: [--a, concurrent=1]}]`,
			want:   "spec.workloads[0].args[1]: Invalid value: \"concurrent=1\": spec.workloads[0].args[1] in body should match '^--[A-Za-z0-9][-A-Za-z0-9]*(=.*)?$'",
		},
		"ArgumentControllers": {
			reason: "What a process runs is said elsewhere.",
			spec:   `workloads: [{args: [--controllers=all]}]`,
			want:   `spec.workloads[0].args: Invalid value: --controllers follows from .spec.components and .spec.topology`,
		},
		"ArgumentFeatureGates": {
			reason: "It would switch off what the cluster's settings need.",
			spec:   `workloads: [{args: [--feature-gates=A=true]}]`,
			want:   `spec.workloads[0].args: Invalid value: use .featureGates in place of --feature-gates`,
		},
		"LeaseShorterThanRenewal": {
			reason: "Two would lead.",
			spec:   `workloads: [{leaderElection: {leaseDuration: 5s, renewDeadline: 5s, retryPeriod: 1s}}]`,
			want:   `spec.workloads[0].leaderElection: Invalid value: .leaseDuration must be greater than .renewDeadline`,
		},
		"RenewalShorterThanRetries": {
			reason: "One late answer would end a lead.",
			spec:   `workloads: [{leaderElection: {leaseDuration: 5s, renewDeadline: 3s, retryPeriod: 2s}}]`,
			want:   `spec.workloads[0].leaderElection: Invalid value: .renewDeadline must be at least twice .retryPeriod`,
		},
		"NoTimeBetweenRetries": {
			reason: "The process would not start.",
			spec:   `workloads: [{leaderElection: {leaseDuration: 5s, renewDeadline: 3s, retryPeriod: 0s}}]`,
			want:   `spec.workloads[0].leaderElection: Invalid value: .retryPeriod must be greater than zero`,
		},
		"NoDuration": {
			reason: "A number without its unit could be anything.",
			spec:   `workloads: [{leaderElection: {leaseDuration: "15", renewDeadline: 10s, retryPeriod: 2s}}]`,
			want:   "spec.workloads[0].leaderElection.leaseDuration: Invalid value: \"15\": spec.workloads[0].leaderElection.leaseDuration in body should match '^([0-9]+(\\.[0-9]+)?(ms|s|m|h))+$'",
		},
		"NoQuantity": {
			reason: "The API server would refuse the Deployment.",
			spec:   `workloads: [{resources: {limits: {memory: 1GB}}}]`,
			want:   "spec.workloads[0].resources.limits.memory: Invalid value: \"1GB\": spec.workloads[0].resources.limits.memory in body should match '^(\\+|-)?(([0-9]+(\\.[0-9]*)?)|(\\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\\+|-)?(([0-9]+(\\.[0-9]*)?)|(\\.[0-9]+))))?$'",
		},
		"BudgetOfBoth": {
			reason: "Kubernetes takes one of them.",
			spec:   `workloads: [{podDisruptionBudget: {minAvailable: 1, maxUnavailable: 1}}]`,
			want:   `spec.workloads[0].podDisruptionBudget: Invalid value: exactly one of .minAvailable and .maxUnavailable must be set`,
		},
		"BudgetOfNone": {
			reason: "It would say nothing.",
			spec:   `workloads: [{podDisruptionBudget: {}}]`,
			want:   `spec.workloads[0].podDisruptionBudget: Invalid value: exactly one of .minAvailable and .maxUnavailable must be set`,
		},
		"UnknownField": {
			reason: "What is misspelt is told.",
			spec:   `workloads: [{replica: 1}]`,
			want:   `strict decoding error: unknown field "spec.workloads[0].replica"`,
		},
		"Syncs": {
			reason: "Two syncs, each with its own signature and decryption, are taken.",
			spec: `sync: {` + git + `, verify: {mode: Tag, secretRef: {name: keys}}, decryption: {provider: sops}, timeout: 3m, wait: true}
syncs: [{name: a, ` + oci + `, verify: {matchOIDCIdentity: [{issuer: i, subject: s}]}}, {name: b, ` + bucket + `}]`,
		},
		"VerifyBucket": {
			reason: "A bucket has no signature, and must not look as if it had.",
			spec:   `sync: {` + bucket + `, verify: {secretRef: {name: keys}}}`,
			want:   `spec.sync: Invalid value: sync.verify is only supported for GitRepository and OCIRepository`,
		},
		"VerifyGitWithoutKeys": {
			reason: "There would be nobody to trust.",
			spec:   `sync: {` + git + `, verify: {mode: HEAD}}`,
			want:   `spec.sync: Invalid value: sync.verify.secretRef must be set for GitRepository`,
		},
		"VerifyGitWithIdentity": {
			reason: "Commits are not verified by identities.",
			spec:   `sync: {` + git + `, verify: {secretRef: {name: keys}, matchOIDCIdentity: [{issuer: i, subject: s}]}}`,
			want:   `spec.sync: Invalid value: sync.verify.provider, matchOIDCIdentity and trustedRootSecretRef are only supported for OCIRepository`,
		},
		"VerifyOCIWithMode": {
			reason: "An artifact has no commits.",
			spec:   `syncs: [{name: a, ` + oci + `, verify: {mode: HEAD, secretRef: {name: keys}}}]`,
			want:   `spec.syncs[0]: Invalid value: sync.verify.mode is only supported for GitRepository`,
		},
		"VerifyOCIOfAnybody": {
			reason: "A signature of somebody unknown proves nothing.",
			spec:   `sync: {` + oci + `, verify: {provider: cosign}}`,
			want:   `spec.sync: Invalid value: sync.verify.secretRef or sync.verify.matchOIDCIdentity must be set for OCIRepository: without, anybody's signature would do`,
		},
		"SyncWithoutName": {
			reason: "All but the first sync need a name.",
			spec:   `syncs: [{` + git + `}]`,
			want:   `spec.syncs[0].name: Required value`,
		},
		"SyncsOfOneName": {
			reason: "One would overwrite the other.",
			spec:   `syncs: [{name: a, ` + git + `}, {name: a, ` + oci + `}]`,
			want:   `spec.syncs[1]: Duplicate value: {"name":"a"}`,
		},
		"SyncOfNoName": {
			reason: "The source could not be made.",
			spec:   `syncs: [{name: A b, ` + git + `}]`,
			want:   "spec.syncs[0].name: Invalid value: \"A b\": spec.syncs[0].name in body should match '^[a-z0-9]([-a-z0-9]*[a-z0-9])?$'",
		},
		"SyncProvider": {
			reason: "The rules of the one sync hold for the others.",
			spec:   `syncs: [{name: a, ` + git + `, provider: gcp}]`,
			want:   `spec.syncs[0]: Invalid value: sync.provider 'gcp' is only supported for OCIRepository and Bucket`,
		},
	}
	c := server(t)
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "instance-"}}
	if err := c.Create(t.Context(), ns); err != nil {
		t.Fatal(err)
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			instance := &unstructured.Unstructured{}
			spec := map[string]any{}
			if err := yaml.Unmarshal([]byte(tc.spec), &spec); err != nil {
				t.Fatal(err)
			}
			spec["distribution"] = map[string]any{"version": "2.x", "registry": "ghcr.io/fluxcd"}
			instance.Object = map[string]any{
				"apiVersion": "fluxcd.controlplane.io/v1", "kind": "FluxInstance",
				"metadata": map[string]any{"name": "flux", "namespace": ns.Name}, "spec": spec,
			}
			err := c.Create(t.Context(), instance, client.DryRunAll, client.FieldValidation(metav1.FieldValidationStrict))
			if diff := cmp.Diff(tc.want, cause(err)); diff != "" {
				t.Errorf("%s\n(-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

// TestDocumented admits and builds the examples of the documentation.
func TestDocumented(t *testing.T) {
	c, d := server(t), load(t)
	content, err := os.ReadFile("../../docs/workloads.md")
	if err != nil {
		t.Fatal(err)
	}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "documented-"}}
	if err := c.Create(t.Context(), ns); err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(content), "```")
	if len(blocks) != 5 {
		t.Fatalf("%d examples", len(blocks)/2)
	}
	for _, i := range []int{1, 3} {
		instance := read(t, base) // an example may be a part of an instance
		if err := yaml.UnmarshalStrict([]byte(strings.TrimPrefix(blocks[i], "yaml")), instance); err != nil {
			t.Fatal(err)
		}
		instance.Namespace = ns.Name
		if err := c.Create(t.Context(), instance.DeepCopy(), client.DryRunAll, client.FieldValidation(metav1.FieldValidationStrict)); err != nil {
			t.Error(err)
		}
		if _, err := d.Build(instance, options(t)); err != nil {
			t.Error(err)
		}
	}
}

// cause is what the API server says first about a field that it refuses. What follows are its consequences.
func cause(err error) string {
	if err == nil {
		return ""
	}
	status := &apierrors.StatusError{}
	if !errors.As(err, &status) || status.ErrStatus.Details == nil || len(status.ErrStatus.Details.Causes) == 0 {
		_, message, _ := strings.Cut(err.Error(), "strict decoding")
		return "strict decoding" + message
	}
	first := status.ErrStatus.Details.Causes[0]
	return first.Field + ": " + first.Message
}
