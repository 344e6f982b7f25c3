package process

import (
	"fmt"
	"strings"
	"testing"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/test/e2e/platform"
)

// revokes takes the key back that the running release was signed with, and puts it back. The interval is far away: that the Secret has
// changed is what tells the operator both times, and it reads the one that there is then.
func (l *life) revokes(t *testing.T, version string) {
	t.Helper()

	interval := func(value string) {
		t.Helper()

		patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, fluxv1.ReconcileArtifactEveryAnnotation, value)
		must(l.client.Edit(deadline(t, patience), platform.FluxInstance(), platform.Namespace, fluxv1.InstanceName, patch))(t)
	}
	key := func(content []byte) {
		t.Helper()

		secret := platform.Object(platform.Core("Secret"), platform.Namespace, "keys")
		secret.Object["stringData"] = map[string]any{"ours.pub": string(content)}
		l.apply(t, secret)
	}

	before := l.versions(t)
	other := must(l.cosign.Key(deadline(t, patience), "other"))(t)

	interval("10h")

	for range 2 {
		key(other.Public)
		l.await(t, "the key is taken back", func(s platform.Snapshot) error {
			state, reason, message := platform.Condition(l.instance(s), fluxv1.DistributionVerifiedCondition)
			if state != "False" || reason != fluxv1.VerificationErrorReason || !strings.Contains(message, "is not signed by a key of secret") {
				return fmt.Errorf("%s is %s %s: %s", fluxv1.DistributionVerifiedCondition, state, reason, message)
			}

			return nil
		})
		key(l.key.Public)
		l.arrive(t, version)
	}

	interval("1s")

	after := l.versions(t)
	for name, state := range before {
		if after[name] != state {
			t.Errorf("%s was %s and is %s", name, state, after[name])
		}
	}
}
