package controllers

import (
	"context"
	"errors"
	"fmt"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/weir-dev/weir/reconcilers/access"
)

// kindsTimeout is how long the API server may take to serve the kinds of the components, after somebody has installed their
// definitions. It serves them some seconds after they are there.
const kindsTimeout = time.Minute

// awaitKinds waits until the API server serves the kinds that the components reconcile: the definitions may just have been
// installed, and without them nothing can be watched.
func (o Options) awaitKinds(ctx context.Context, api *access.Factory, scheme *runtime.Scheme) error {
	kinds, failed := o.kinds(scheme)
	if failed != nil {
		return failed
	}

	var missing error

	err := wait.PollUntilContextTimeout(ctx, time.Second, kindsTimeout, true, func(ctx context.Context) (bool, error) {
		told := missing != nil
		api.Invalidate()

		missing = served(ctx, api.Own(), kinds)
		if missing == nil || !apimeta.IsNoMatchError(missing) {
			return true, missing
		}

		if !told {
			logf.Log.Info("Waiting for the API server to serve all kinds", "missing", missing.Error())
		}

		return false, nil //nolint:nilerr // it is looked for again
	})
	if missing != nil {
		err = errors.Join(missing, err)

		return fmt.Errorf("the API server does not serve a kind of a controller, is its definition installed? %w", err)
	}

	return err //nolint:wrapcheck // nothing else can fail
}

// kinds are those that the components reconcile.
func (o Options) kinds(scheme *runtime.Scheme) ([]schema.GroupVersionKind, error) {
	var kinds []schema.GroupVersionKind

	for _, c := range o.Components {
		if c.Kinds == nil {
			continue
		}

		for _, obj := range c.Kinds() {
			gvk, err := apiutil.GVKForObject(obj, scheme)
			if err != nil {
				return nil, fmt.Errorf("find kind of %T: %w", obj, err)
			}

			kinds = append(kinds, gvk)
		}
	}

	return kinds, nil
}

// served returns nil if all kinds are.
func served(ctx context.Context, api *access.Client, kinds []schema.GroupVersionKind) error {
	for _, k := range kinds {
		if _, err := api.Mapping(ctx, k.GroupKind(), k.Version); err != nil {
			return err //nolint:wrapcheck // names the kind
		}
	}

	return nil
}
