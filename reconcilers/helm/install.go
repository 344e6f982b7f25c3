package helm

import (
	"context"
	"fmt"

	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/release"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	v2 "github.com/weir-dev/weir/api/helm/v2"
	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/helm/state"
)

// install makes the first release.
func (a *attempt) install(ctx context.Context) outcome {
	obj, spec := a.obj, a.obj.GetInstall()
	timeout := spec.GetTimeout(obj.GetTimeout())
	obj.Status.LastAttemptedReleaseAction = v2.ActionInstall

	if err := a.begin(ctx, state.Install, timeout); err != nil {
		return unbegun(err)
	}

	engine.Unset(obj, v2.TestSuccessCondition, v2.RemediatedCondition)
	a.book.makes(state.Made{Action: v2.ActionInstall, OCIDigest: a.s.ociDigest})

	mode := v2.ServerSideApplyDisabled
	if spec.GetServerSideApply() {
		mode = v2.ServerSideApplyEnabled
	}

	serverSide, err := a.serverSide(mode, "", 0)
	if err == nil {
		err = a.runInstall(ctx, spec, how{timeout: timeout, serverSide: serverSide, takeOwnership: !spec.DisableTakeOwnership})
	}

	if err != nil {
		return a.failed(v2.InstallFailedReason, "install", err)
	}

	return outcome{
		condition: v2.ReleasedCondition, reason: v2.InstallSucceededReason, message: succeeded("install", obj.Status.History.Latest()),
	}
}

func (a *attempt) runInstall(ctx context.Context, spec v2.Install, h how) error {
	c, err := a.chart(ctx, a.s)
	if err != nil {
		return err
	}

	if !spec.DisableSchemaValidation {
		if err := checkSchemas(c, a.s.values); err != nil {
			return err
		}
	}

	createNamespace, err := a.needsNamespace(ctx, spec)
	if err != nil {
		return err
	}

	if err := a.define(ctx, c, spec.GetCRDs(), createNamespace, &h, func(cfg *action.Configuration, c *chart.Chart) (*release.Release, error) {
		in := a.installer(ctx, cfg, spec, h)
		in.DryRun, in.DryRunOption = true, dryRun

		return in.Run(c, a.s.values)
	}); err != nil {
		return err
	}

	cfg, err := a.configuration(ctx, a.obj.GetReleaseNamespace(), a.name(), h)
	if err != nil {
		return err
	}

	in := a.installer(ctx, cfg, spec, h)
	in.CreateNamespace = createNamespace
	_, err = in.Run(c, a.s.values)

	return err //nolint:wrapcheck // it says what it is about
}

// needsNamespace tells whether the namespace of the release is to be made. Who may not look whether it exists may still make it.
func (a *attempt) needsNamespace(ctx context.Context, spec v2.Install) (bool, error) {
	if !spec.CreateNamespace || a.obj.Spec.TargetNamespace == "" {
		return false, nil
	}

	name := a.obj.GetReleaseNamespace()

	switch _, err := a.s.client.GetMeta(ctx, access.Ref{ID: access.ID{Kind: "Namespace", Name: name}, Version: "v1"}); {
	case apierrors.IsNotFound(err):
		return true, nil
	case apierrors.IsForbidden(err):
		engine.Emit(ctx, engine.Event{
			Reason: v2.NamespaceCheckSkippedReason, Message: fmt.Sprintf("Skipped the check whether namespace '%s' exists: %s", name, err),
		})

		return true, nil
	case err != nil:
		return false, fmt.Errorf("look whether namespace '%s' exists: %w", name, err)
	default:
		return false, nil
	}
}

// installer returns Helm's install as the spec has it. Schemas are checked before.
func (a *attempt) installer(ctx context.Context, cfg *action.Configuration, spec v2.Install, h how) *action.Install {
	in := action.NewInstall(cfg)
	in.ReleaseName, in.Namespace, in.Timeout = a.name(), a.obj.GetReleaseNamespace(), h.timeout
	in.Wait, in.WaitForJobs, in.DisableHooks = !spec.DisableWait, !spec.DisableWaitForJobs, spec.DisableHooks
	in.DisableOpenAPIValidation, in.SkipSchemaValidation = spec.DisableOpenAPIValidation, true
	in.Replace, in.TakeOwnership, in.SkipCRDs, in.Devel = spec.Replace, h.takeOwnership, true, true
	in.EnableDNS, in.PostRenderer = a.AllowDNS, a.postRenderer(ctx)

	return in
}
