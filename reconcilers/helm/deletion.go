package helm

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	v2 "github.com/weir-dev/weir/api/helm/v2"
	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/remote"
)

// remove uninstalls the release of a HelmRelease that is deleted.
func (r *reconciler) remove(ctx context.Context, obj *v2.HelmRelease, s *scope) error {
	if obj.Spec.Suspend || obj.Status.StorageNamespace == "" {
		return nil
	}

	if missing, err := r.accountMissing(ctx, obj); err != nil || missing {
		return err
	}

	err := r.enter(ctx, obj, s)
	if obj.Spec.KubeConfig != nil && errors.Is(err, remote.ErrMissing) {
		logf.FromContext(ctx).Info("The release stays, because the way to its cluster is gone", "error", err.Error())

		return nil
	}

	if err != nil {
		return err
	}

	out, err := s.site.abandon(ctx, obj, s)
	if err != nil {
		return engine.Fail(v2.UninstallFailedReason, err)
	}

	engine.Emit(ctx, engine.Event{Reason: v2.UninstallSucceededReason, Message: out})

	return nil
}

// accountMissing tells whether the service account is gone, so that nobody could uninstall anything.
func (r *reconciler) accountMissing(ctx context.Context, obj *v2.HelmRelease) (bool, error) {
	name := r.account(obj)
	if name == "" || obj.Spec.KubeConfig != nil {
		return false, nil
	}

	_, err := r.Access.Own().GetMeta(ctx, access.Ref{ID: access.ID{Kind: "ServiceAccount", Namespace: obj.Namespace, Name: name}, Version: "v1"})
	if apierrors.IsNotFound(err) {
		logf.FromContext(ctx).Info("The release stays, because its service account is gone", "serviceAccount", name)

		return true, nil
	}

	if err != nil {
		return false, fmt.Errorf("get service account '%s/%s': %w", obj.Namespace, name, err)
	}

	return false, nil
}

// leave uninstalls a release that is going to be somewhere else.
func (r *reconciler) leave(ctx context.Context, obj *v2.HelmRelease, s *scope) error {
	out, err := r.abandon(ctx, obj, s)
	if err != nil {
		return engine.Fail(v2.UninstallFailedReason, err)
	}

	engine.Emit(ctx, engine.Event{Reason: v2.UninstallSucceededReason, Message: out})

	return engine.Wait(v2.UninstallSucceededReason, 0, fmt.Errorf("%s", out))
}

// abandon uninstalls the release that the status tells of, and forgets it. It returns what to say of it.
func (r *reconciler) abandon(ctx context.Context, obj *v2.HelmRelease, s *scope) (string, error) {
	b := r.open(ctx, obj, s, obj.Status.StorageNamespace)
	if err := b.recallAny(obj.GetReleaseName()); err != nil {
		return "", err
	}

	latest := obj.Status.History.Latest()
	if latest == nil {
		forget(obj)

		return "no release was recorded, assuming it is uninstalled", nil
	}

	about := fmt.Sprintf("%s with chart %s", latest.FullReleaseName(), latest.VersionedChartName())
	message := "Helm uninstall succeeded for release " + about

	a := &attempt{reconciler: r, obj: obj, s: s, book: b}

	switch err := a.runUninstall(ctx, v2.ActionUninstall); {
	case gone(err):
		message = fmt.Sprintf("Release %s was not found, assuming it is uninstalled", about)
	case err != nil:
		return "", fmt.Errorf("Helm uninstall failed for release %s: %w", about, err) //nolint:staticcheck // known words
	}

	forget(obj)

	return message, nil
}

// forget drops what the status tells of a release.
func forget(obj *v2.HelmRelease) {
	s := &obj.Status
	s.History, s.StorageNamespace, s.Inventory = nil, "", nil
	s.Failures, s.InstallFailures, s.UpgradeFailures = 0, 0, 0
}
