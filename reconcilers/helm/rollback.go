package helm

import (
	"context"
	"fmt"

	"helm.sh/helm/v3/pkg/action"

	v2 "github.com/weir-dev/weir/api/helm/v2"
	"github.com/weir-dev/weir/reconcilers/helm/state"
)

// rollback makes a release as one before was.
func (a *attempt) rollback(ctx context.Context, target *v2.Snapshot) outcome {
	obj, spec := a.obj, a.obj.GetRollback()
	timeout := spec.GetTimeout(obj.GetTimeout())

	if err := a.begin(ctx, state.Rollback, timeout); err != nil {
		return unbegun(err)
	}

	a.book.makes(state.Made{Action: v2.ActionRollback, OCIDigest: target.OCIDigest, ConfigDigest: target.ConfigDigest})

	serverSide, err := a.serverSide(spec.GetServerSideApply(), target.Name, target.Version)
	if err == nil {
		err = a.runRollback(ctx, spec, target, how{timeout: timeout, serverSide: serverSide, takeOwnership: true})
	}

	out := outcome{condition: v2.RemediatedCondition, reason: v2.RollbackSucceededReason, err: err}
	out.message = fmt.Sprintf("Helm rollback to previous release %s with chart %s ", target.FullReleaseName(), target.VersionedChartName())

	if err != nil {
		out.reason, out.message = v2.RollbackFailedReason, out.message+"failed: "+err.Error()
	} else {
		out.message += "succeeded"
	}

	return out
}

func (a *attempt) runRollback(ctx context.Context, spec v2.Rollback, target *v2.Snapshot, h how) error {
	cfg, err := a.configuration(ctx, target.Namespace, target.Name, h)
	if err != nil {
		return err
	}

	back := action.NewRollback(cfg)
	back.Version, back.Timeout, back.MaxHistory = target.Version, h.timeout, a.obj.GetMaxHistory()
	back.Wait, back.WaitForJobs, back.DisableHooks = !spec.DisableWait, !spec.DisableWaitForJobs, spec.DisableHooks
	back.Force, back.CleanupOnFail = spec.Force && !h.serverSide, spec.CleanupOnFail

	return back.Run(target.Name) //nolint:wrapcheck // it says what it is about
}
