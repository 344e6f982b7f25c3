package instance

import (
	"strconv"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/health"
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

// TestCredentials shows when somebody is woken: when what the last run has used is there in another version, or no longer.
func TestCredentials(t *testing.T) {
	key := types.NamespacedName{Namespace: "ns", Name: "flux"}
	secret := func(name string) access.ID { return access.ID{Kind: "Secret", Namespace: "ns", Name: name} }
	version := func(v string) *health.Live { return &health.Live{ResourceVersion: v} }
	var mu sync.Mutex
	woken := 0
	c := &credentials{wake: func(types.NamespacedName) {
		mu.Lock()
		defer mu.Unlock()
		woken++
	}}
	use := func() { // as a run does, once all of them were seen
		c.mu.Lock()
		defer c.mu.Unlock()
		k := c.of[key]
		k.used, k.state = true, k.fingerprint()
	}
	step := func(reason string, want int, do func()) {
		t.Helper()
		woken = 0
		if do(); woken != want {
			t.Errorf("woken %d times, want %d: %s", woken, want, reason)
		}
	}
	step("before anything is declared", 0, func() { c.see(key, secret("a"), version("1")) })
	if !c.declare(key, []access.ID{secret("a"), secret("b")}) || c.declare(key, []access.ID{secret("a"), secret("b")}) {
		t.Error("what is declared for the first time, and only that, is news")
	}
	step("no run has used it", 0, func() { c.see(key, secret("a"), version("1")) })
	use()
	step("the same version", 0, func() { c.see(key, secret("a"), version("1")) })
	step("another one", 1, func() { c.see(key, secret("a"), version("2")) })
	step("and again, until a run uses it", 1, func() { c.see(key, secret("a"), version("3")) })
	use()
	step("one that was missing", 1, func() { c.see(key, secret("b"), version("4")) })
	use()
	step("one that is gone", 1, func() { c.see(key, secret("b"), nil) })
	use()
	step("one that nobody names", 0, func() { c.see(key, secret("c"), version("5")) })
	c.declare(key, []access.ID{secret("a")})
	use()
	step("one that is no longer named", 0, func() { c.see(key, secret("b"), version("6")) })
	step("one that is named still, from before", 0, func() { c.see(key, secret("a"), version("3")) })
	step("from many sides", 20, func() {
		var all sync.WaitGroup
		for i := range 20 {
			all.Go(func() { c.see(key, secret("a"), version(strconv.Itoa(10+i))) })
		}
		all.Wait()
	})
}
