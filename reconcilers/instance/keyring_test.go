package instance

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
)

func TestCredentialsOf(t *testing.T) {
	cases := map[string]struct {
		reason, spec string
		want         []string
	}{
		"Embedded": {
			reason: "What the operator carries needs no Secret; the pods have theirs.",
			spec:   `distribution: {version: 2.x, registry: a, imagePullSecret: pods, artifactPullSecret: pull, certSecret: ca, proxySecret: proxy}`,
		},
		"Artifact": {
			reason: "All that leads to the artifact.",
			spec:   `distribution: {version: 2.x, registry: a, artifact: "oci://a", imagePullSecret: pods, artifactPullSecret: pull, certSecret: ca, proxySecret: proxy}`,
			want:   []string{"Secret/ns/ca", "Secret/ns/proxy", "Secret/ns/pull"},
		},
		"Keys": {
			reason: "Images are verified, too.",
			spec:   `distribution: {version: 2.x, registry: a, imagePullSecret: pods, certSecret: ca, verify: {secretRef: {name: keys}}}`,
			want:   []string{"Secret/ns/ca", "Secret/ns/keys", "Secret/ns/pods"},
		},
		"Root": {
			reason: "Whom to trust with identities. The same Secret for all is watched once.",
			spec: `distribution: {version: 2.x, registry: a, artifact: "oci://a", artifactPullSecret: one, imagePullSecret: one,` +
				` verify: {trustedRootSecretRef: {name: root}}}`,
			want: []string{"Secret/ns/one", "Secret/ns/root"},
		},
		"Kubeconfig": {
			reason: "The way to the cluster.",
			spec:   `kubeConfig: {secretRef: {name: spoke}}`,
			want:   []string{"Secret/ns/spoke"},
		},
		"CloudCluster": {
			reason: "The way to one of a cloud.",
			spec:   `kubeConfig: {configMapRef: {name: spoke}}`,
			want:   []string{"ConfigMap/ns/spoke"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			obj := &fluxv1.FluxInstance{}
			obj.Namespace = "ns"
			if err := yaml.UnmarshalStrict([]byte(tc.spec), &obj.Spec); err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, id := range credentialsOf(obj) {
				got = append(got, id.String())
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s\n-want +got\n%s", tc.reason, diff)
			}
		})
	}
}
