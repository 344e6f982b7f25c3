package controllers

import (
	"context"
	"fmt"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
)

// kindsTimeout is how long the API server may take to serve the kinds of the components, after somebody has installed their
// definitions. It serves them some seconds after they are there.
const kindsTimeout = time.Minute

// awaitKinds waits until the API server serves the kinds that the components reconcile: the definitions may just have been
// installed, and without them nothing can be watched.
func (o Options) awaitKinds(ctx context.Context, scheme *runtime.Scheme) error {
	var kinds []schema.GroupVersionKind

	for _, c := range o.Components {
		if c.Kinds == nil {
			continue
		}

		for _, obj := range c.Kinds() {
			gvk, err := apiutil.GVKForObject(obj, scheme)
			if err != nil {
				return fmt.Errorf("find kind of %T: %w", obj, err)
			}

			kinds = append(kinds, gvk)
		}
	}

	config := o.managed()

	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return fmt.Errorf("make HTTP client: %w", err)
	}
	defer client.CloseIdleConnections()

	told := false

	var missing error

	err = wait.PollUntilContextTimeout(ctx, time.Second, kindsTimeout, true, func(context.Context) (bool, error) {
		mapper, err := apiutil.NewDynamicRESTMapper(config, client)
		if err != nil {
			return false, err //nolint:wrapcheck // says what it could not do
		}

		if missing = served(mapper, kinds); missing == nil || !apimeta.IsNoMatchError(missing) {
			return true, missing
		}

		if !told {
			logf.Log.Info("Waiting for the API server to serve all kinds", "missing", missing.Error())

			told = true
		}

		return false, nil
	})
	if missing != nil {
		return fmt.Errorf("the API server does not serve a kind of a controller, is its definition installed? %w", missing)
	}

	return err //nolint:wrapcheck // of the mapper
}

// served returns nil if all kinds are.
func served(mapper apimeta.RESTMapper, kinds []schema.GroupVersionKind) error {
	for _, k := range kinds {
		if _, err := mapper.RESTMapping(k.GroupKind(), k.Version); err != nil {
			return err //nolint:wrapcheck // names the kind
		}
	}

	return nil
}
