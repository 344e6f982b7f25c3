package helm

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/storage/driver"

	v2 "github.com/weir-dev/weir/api/helm/v2"
	"github.com/weir-dev/weir/reconcilers/helm/state"
)

// uninstall undoes a release that has failed.
func (a *attempt) uninstall(ctx context.Context) outcome {
	latest, spec := a.obj.Status.History.Latest(), a.obj.GetUninstall()
	if err := a.begin(ctx, state.Uninstall, spec.GetTimeout(a.obj.GetTimeout())); err != nil {
		return unbegun(err)
	}

	err := a.runUninstall(ctx, v2.ActionUninstallRemediation)
	out := outcome{condition: v2.RemediatedCondition, reason: v2.UninstallSucceededReason, err: err}
	out.message = fmt.Sprintf("Helm uninstall remediation for release %s with chart %s ", latest.FullReleaseName(), latest.VersionedChartName())

	if err != nil {
		out.reason, out.message = v2.UninstallFailedReason, out.message+"failed: "+err.Error()
	} else {
		out.message += "succeeded"
	}

	return out
}

// runUninstall uninstalls the newest release.
func (a *attempt) runUninstall(ctx context.Context, as string) error {
	spec, latest := a.obj.GetUninstall(), a.obj.Status.History.Latest()
	timeout := spec.GetTimeout(a.obj.GetTimeout())

	a.book.made = state.Made{Action: as}

	cfg, err := a.configuration(ctx, latest.Namespace, latest.Name, how{timeout: timeout})
	if err != nil {
		return err
	}

	un := action.NewUninstall(cfg)
	un.Timeout, un.Wait, un.DisableHooks = timeout, !spec.DisableWait, spec.DisableHooks
	un.KeepHistory, un.DeletionPropagation = spec.KeepHistory, spec.GetDeletionPropagation()

	before := *latest

	result, err := un.Run(before.Name)
	if result != nil && result.Release != nil && result.Release.Info != nil && result.Release.Info.Status == release.StatusUninstalled {
		if e := a.book.observe(result.Release); e != nil { // one that is not kept is not stored as uninstalled
			return errors.Join(err, e)
		}
	}

	if after := a.obj.Status.History.Latest(); err == nil && after.Digest == before.Digest && before.Status != release.StatusUninstalled.String() {
		return errors.New("release not updated in Helm storage")
	}

	return err //nolint:wrapcheck // it says what it is about
}

// gone tells whether the error of an uninstall says that nothing was left to uninstall.
func gone(err error) bool {
	return errors.Is(err, driver.ErrReleaseNotFound) || (err != nil && strings.Contains(err.Error(), "is already deleted"))
}

// assumeUninstalled says of a release that has failed and is gone that it was uninstalled: the process may have been killed before it
// wrote that down.
func assumeUninstalled(obj *v2.HelmRelease) {
	latest := obj.Status.History.Latest()
	if latest == nil || latest.Status != release.StatusFailed.String() {
		return
	}

	outcome{condition: v2.RemediatedCondition, reason: v2.UninstallSucceededReason, message: fmt.Sprintf(
		"Release %s with chart %s was not found, assuming it is uninstalled", latest.FullReleaseName(), latest.VersionedChartName(),
	)}.set(obj)
}
