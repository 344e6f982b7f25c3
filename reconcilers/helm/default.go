package helm

import (
	"context"

	v2 "github.com/weir-dev/weir/api/helm/v2"
)

// complete fills in what the spec leaves open and the process decides. Only the run sees it: of an object, nothing but the status is
// written.
func (r *reconciler) complete(_ context.Context, obj *v2.HelmRelease, _ *scope) error {
	if r.Helm3Defaults {
		completeHelm3(&obj.Spec)
	}

	if r.RetryByDefault {
		completeRetry(&obj.Spec)
	}

	return nil
}

func completeHelm3(spec *v2.HelmReleaseSpec) {
	no := false
	spec.Install = orNew(spec.Install)

	if spec.Install.ServerSideApply == nil {
		spec.Install.ServerSideApply = &no
	}

	if spec.PostRenderStrategy == "" {
		spec.PostRenderStrategy = v2.PostRenderNoHooks
	}

	if spec.WaitStrategy == nil {
		spec.WaitStrategy = &v2.WaitStrategy{Name: v2.WaitStrategyLegacy}
	}
}

// completeRetry retries where neither a strategy nor a remediation is given.
func completeRetry(spec *v2.HelmReleaseSpec) {
	spec.Install, spec.Upgrade = orNew(spec.Install), orNew(spec.Upgrade)

	if spec.Install.Strategy == nil && spec.Install.Remediation == nil {
		spec.Install.Strategy = &v2.InstallStrategy{Name: v2.StrategyRetryOnFailure}
	}

	if spec.Upgrade.Strategy == nil && spec.Upgrade.Remediation == nil {
		spec.Upgrade.Strategy = &v2.UpgradeStrategy{Name: v2.StrategyRetryOnFailure}
	}
}

func orNew[T any](set *T) *T {
	if set == nil {
		return new(T)
	}

	return set
}
