package helm

import (
	"context"
	"fmt"
	"strings"
	"time"

	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/release"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	v2 "github.com/weir-dev/weir/api/helm/v2"
	"github.com/weir-dev/weir/reconcilers/helm/render"
	records "github.com/weir-dev/weir/reconcilers/helm/storage"
)

// establishTimeout is how long definitions may take until they are served.
const establishTimeout = time.Minute

// dryRun tries a release with look-ups in the cluster.
const dryRun = "server"

// try makes a release without applying anything.
type try func(cfg *action.Configuration, c *chart.Chart) (*release.Release, error)

// define brings the definitions of a chart to the cluster, which Helm is not to do, after it has seen that the release can be made and
// stored. Namespaced says that a namespace is made as well, which is a reason to see that first, too.
func (a *attempt) define(ctx context.Context, c *chart.Chart, policy string, namespaced bool, h *how, dry try) error {
	crds, err := a.definitionsOf(ctx, c, policy)
	if err != nil {
		return err
	}

	if len(crds) == 0 && !namespaced {
		return nil
	}

	h.definitions, a.definitions = crds, crds

	cfg, err := a.configuration(ctx, a.obj.GetReleaseNamespace(), a.name(), *h)
	if err != nil {
		return err
	}

	made, err := dry(cfg, render.Clone(c))
	if err != nil {
		return err
	}

	if made.Hooks, err = a.book.renderer.Hooks(made.Hooks); err != nil {
		return err //nolint:wrapcheck // it says what it is about
	}

	if err := records.Check(made); err != nil {
		return err //nolint:wrapcheck // it says what it is about
	}

	if _, err := render.Write(ctx, a.s.client, Controller, policy, crds); err != nil {
		return fmt.Errorf("failed to apply CustomResourceDefinitions: %w", err)
	}

	return a.kube.Establish(crds, establishTimeout) //nolint:wrapcheck // it says what it is about
}

// definitionsOf returns the definitions of a chart that are to be in the cluster.
func (a *attempt) definitionsOf(ctx context.Context, c *chart.Chart, policy string) ([]*unstructured.Unstructured, error) {
	if policy == v2.CRDsSkip || len(c.CRDObjects()) == 0 {
		return nil, nil
	}

	crds, dropped, err := render.Definitions(c, a.s.values, a.obj)
	if err != nil {
		return nil, fmt.Errorf("failed to apply CustomResourceDefinitions: %w", err)
	}

	if len(dropped) > 0 {
		logf.FromContext(ctx).Info("Left out what is no definition", "objects", strings.Join(dropped, ", "))
	}

	return crds, nil
}
