package helm

import (
	"context"
	"maps"

	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/release"

	v2 "github.com/weir-dev/weir/api/helm/v2"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/helm/state"
)

// upgradeAs returns what an upgrade is part of. One that finishes an install that was interrupted is part of that install: if it fails, it
// is remediated as that.
func (a *attempt) upgradeAs() string {
	if made, ok := a.book.ours(a.latest); ok && made.Action == v2.ActionInstall && wasUnlocked(a.latest) {
		return v2.ActionInstall
	}

	return v2.ActionUpgrade
}

// upgrade makes a release that follows another one.
func (a *attempt) upgrade(ctx context.Context) outcome {
	obj, spec := a.obj, a.obj.GetUpgrade()
	timeout := spec.GetTimeout(obj.GetTimeout())
	as := a.upgradeAs()
	attempted(obj, as)

	if err := a.begin(ctx, state.Upgrade, timeout); err != nil {
		return unbegun(err)
	}

	engine.Unset(obj, v2.TestSuccessCondition, v2.RemediatedCondition)

	made := state.Made{Action: as, OCIDigest: a.s.ociDigest}
	if spec.PreserveValues {
		made.ConfigDigest = obj.Status.LastAttemptedConfigDigest
	}

	a.book.makes(made)

	serverSide, err := a.serverSide(spec.GetServerSideApply(), a.name(), a.latest.Version)
	if err == nil {
		err = a.runUpgrade(ctx, spec, how{timeout: timeout, serverSide: serverSide, takeOwnership: !spec.DisableTakeOwnership})
	}

	if err != nil {
		return a.failed(v2.UpgradeFailedReason, "upgrade", err)
	}

	return outcome{
		condition: v2.ReleasedCondition, reason: v2.UpgradeSucceededReason, message: succeeded("upgrade", obj.Status.History.Latest()),
	}
}

func (a *attempt) runUpgrade(ctx context.Context, spec v2.Upgrade, h how) error {
	c, err := a.chart(ctx, a.s)
	if err != nil {
		return err
	}

	if err := a.checkUpgrade(c, spec); err != nil {
		return err
	}

	if err := a.define(ctx, c, spec.GetCRDs(), false, &h, func(cfg *action.Configuration, c *chart.Chart) (*release.Release, error) {
		up := a.upgrader(ctx, cfg, spec, h)
		up.DryRun, up.DryRunOption = true, dryRun

		return up.Run(a.name(), c, a.s.values)
	}); err != nil {
		return err
	}

	cfg, err := a.configuration(ctx, a.obj.GetReleaseNamespace(), a.name(), h)
	if err != nil {
		return err
	}

	_, err = a.upgrader(ctx, cfg, spec, h).Run(a.name(), c, a.s.values)

	return err //nolint:wrapcheck // it says what it is about
}

// checkUpgrade checks the values of an upgrade against the schemas of the chart: those that are wanted, on top of those that stay.
func (a *attempt) checkUpgrade(c *chart.Chart, spec v2.Upgrade) error {
	values := a.s.values

	switch {
	case spec.DisableSchemaValidation:
		return nil
	case spec.PreserveValues && a.latest != nil:
		values = chartutil.MergeTables(maps.Clone(values), a.latest.Config)
	}

	return checkSchemas(c, values)
}

// upgrader returns Helm's upgrade as the spec has it. Schemas are checked before.
func (a *attempt) upgrader(ctx context.Context, cfg *action.Configuration, spec v2.Upgrade, h how) *action.Upgrade {
	up := action.NewUpgrade(cfg)
	up.Namespace, up.Timeout, up.MaxHistory = a.obj.GetReleaseNamespace(), h.timeout, a.obj.GetMaxHistory()
	up.Wait, up.WaitForJobs, up.DisableHooks = !spec.DisableWait, !spec.DisableWaitForJobs, spec.DisableHooks
	up.DisableOpenAPIValidation, up.SkipSchemaValidation = spec.DisableOpenAPIValidation, true
	up.ResetValues, up.ReuseValues = !spec.PreserveValues, spec.PreserveValues
	up.Force, up.CleanupOnFail = spec.Force && !h.serverSide, spec.CleanupOnFail
	up.TakeOwnership, up.SkipCRDs, up.Devel = h.takeOwnership, true, true
	up.EnableDNS, up.PostRenderer = a.AllowDNS, a.postRenderer(ctx)

	return up
}
