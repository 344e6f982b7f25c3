package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// isStatic tells whether there is nothing to reconcile in an object.
func (x *run[O, S]) isStatic() bool { return x.kind.Static != nil && x.kind.Static(x.obj) }

// renounce takes back what was made of an object before it became static: what the Delete steps undo, the finalizer and the
// status. To an object that was always static, it does nothing.
func (x *run[O, S]) renounce(ctx context.Context) (reconcile.Result, error) {
	if x.obj.Suspended() {
		return reconcile.Result{}, nil
	}

	bare, err := statusIsBare(x.obj)
	if err != nil {
		return reconcile.Result{}, err
	}

	if !bare || x.holdsFinalizer() {
		x.verdict = x.run(ctx, x.kind.Delete)
		if x.verdict.Outcome != Succeeded {
			x.record(ctx, true)

			return x.requeue.next(x.key(), x.verdict, x.interval(), x.retry(), x.options.Now().Sub(x.started)), nil
		}
	}

	if x.holdsFinalizer() {
		if err := x.patchFinalizers(ctx, controllerutil.RemoveFinalizer); err != nil {
			return reconcile.Result{}, err
		}
	}

	if !bare {
		if err := x.clearStatus(ctx); err != nil {
			return reconcile.Result{}, err
		}
	}

	x.gone = true

	return reconcile.Result{}, nil
}

// clearStatus removes the whole status. The API server may put defaults in its place.
func (x *run[O, S]) clearStatus(ctx context.Context) error {
	patch := client.RawPatch(types.MergePatchType, []byte(`{"status":null}`))

	err := x.options.Client.Status().Patch(ctx, copyOf(x.before), patch, x.kind.fieldOwner())
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("clear status of %s %q: %w", x.kind.Name, x.key(), err)
	}

	return nil
}

// statusIsBare tells whether nobody has written a status: there is none, or the default of the CRDs.
func statusIsBare(obj Object) (bool, error) {
	raw, err := json.Marshal(obj)
	if err != nil {
		return false, fmt.Errorf("read status: %w", err)
	}

	var part struct {
		Status map[string]json.RawMessage `json:"status"`
	}
	if err := json.Unmarshal(raw, &part); err != nil {
		return false, fmt.Errorf("read status: %w", err)
	}

	if bytes.Equal(part.Status["observedGeneration"], []byte("-1")) {
		delete(part.Status, "observedGeneration")
	}

	return len(part.Status) == 0, nil
}
