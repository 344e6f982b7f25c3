package helm

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	v2 "github.com/weir-dev/weir/api/helm/v2"
)

func TestComplete(t *testing.T) {
	yes, no := true, false
	given := v2.HelmReleaseSpec{
		Install:            &v2.Install{ServerSideApply: &yes, Remediation: &v2.InstallRemediation{}},
		Upgrade:            &v2.Upgrade{Strategy: &v2.UpgradeStrategy{Name: v2.StrategyRemediateOnFailure}},
		PostRenderStrategy: v2.PostRenderSeparate, WaitStrategy: &v2.WaitStrategy{Name: v2.WaitStrategyPoller},
	}

	cases := map[string]struct {
		reason string
		deps   Deps
		spec   v2.HelmReleaseSpec
		want   v2.HelmReleaseSpec
	}{
		"None": {reason: "no gate changes anything"},
		"Helm3": {
			reason: "as with Helm 3", deps: Deps{Helm3Defaults: true},
			want: v2.HelmReleaseSpec{
				Install: &v2.Install{ServerSideApply: &no}, PostRenderStrategy: v2.PostRenderNoHooks,
				WaitStrategy: &v2.WaitStrategy{Name: v2.WaitStrategyLegacy},
			},
		},
		"Retry": {
			reason: "retried", deps: Deps{RetryByDefault: true},
			want: v2.HelmReleaseSpec{
				Install: &v2.Install{Strategy: &v2.InstallStrategy{Name: v2.StrategyRetryOnFailure}},
				Upgrade: &v2.Upgrade{Strategy: &v2.UpgradeStrategy{Name: v2.StrategyRetryOnFailure}},
			},
		},
		"Given": {reason: "what is given stays", deps: Deps{Helm3Defaults: true, RetryByDefault: true}, spec: given, want: given},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			obj := &v2.HelmRelease{Spec: *tc.spec.DeepCopy()}
			if err := (&reconciler{Deps: tc.deps}).complete(t.Context(), obj, nil); err != nil {
				t.Fatal(err)
			}

			if diff := cmp.Diff(tc.want, obj.Spec); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}
