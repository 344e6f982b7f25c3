package engine

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
)

func (x *run[O, S]) holdsFinalizer() bool {
	return x.kind.Finalizer != "" && controllerutil.ContainsFinalizer(x.obj, x.kind.Finalizer)
}

// addFinalizer claims the object. The run goes on in the same pass: an edit of metadata starts no other.
func (x *run[O, S]) addFinalizer(ctx context.Context, deleting bool) error {
	if deleting || x.kind.Finalizer == "" || x.holdsFinalizer() {
		return nil
	}

	return x.patchFinalizers(ctx, controllerutil.AddFinalizer)
}

func (x *run[O, S]) removeFinalizer(ctx context.Context) error {
	err := x.patchFinalizers(ctx, controllerutil.RemoveFinalizer)
	if err == nil || apierrors.IsNotFound(err) {
		x.record(ctx, true)
		x.gone = true

		return nil
	}

	return err
}

func (x *run[O, S]) patchFinalizers(ctx context.Context, change func(client.Object, string) bool) error {
	after := copyOf(x.before)
	change(after, x.kind.Finalizer)

	patch := client.MergeFromWithOptions(x.before, client.MergeFromWithOptimisticLock{})
	if err := x.options.Client.Patch(ctx, after, patch, x.kind.fieldOwner()); err != nil {
		return fmt.Errorf("patch finalizers of %s %q: %w", x.kind.Name, x.key(), err)
	}

	x.obj.SetFinalizers(after.GetFinalizers())
	x.obj.SetResourceVersion(after.GetResourceVersion())
	x.before.SetFinalizers(after.GetFinalizers())
	x.before.SetResourceVersion(after.GetResourceVersion())

	return nil
}
