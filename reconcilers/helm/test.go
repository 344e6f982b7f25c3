package helm

import (
	"context"
	"errors"
	"fmt"

	"helm.sh/helm/v3/pkg/action"

	v2 "github.com/weir-dev/weir/api/helm/v2"
	"github.com/weir-dev/weir/reconcilers/helm/state"
)

// test runs the tests of the newest release.
func (a *attempt) test(ctx context.Context) outcome {
	obj, spec := a.obj, a.obj.GetTest()
	timeout := spec.GetTimeout(obj.GetTimeout())

	if err := a.begin(ctx, state.Test, timeout); err != nil {
		return unbegun(err)
	}

	err := a.runTest(ctx, spec, how{timeout: timeout})
	latest := obj.Status.History.Latest()
	out := outcome{condition: v2.TestSuccessCondition, err: err}

	if err != nil {
		out.reason = v2.TestFailedReason
		out.message = fmt.Sprintf("Helm test failed for release %s with chart %s: %s", latest.FullReleaseName(), latest.VersionedChartName(), err)

		return out
	}

	hooks := "no test hooks"
	if n := len(latest.TestHooks); n == 1 {
		hooks = "1 test hook completed successfully"
	} else if n > 1 {
		hooks = fmt.Sprintf("%d test hooks completed successfully", n)
	}

	out.reason, out.message = v2.TestSucceededReason, succeeded("test", latest)+": "+hooks

	return out
}

func (a *attempt) runTest(ctx context.Context, spec v2.Test, h how) error {
	cfg, err := a.configuration(ctx, a.latest.Namespace, a.latest.Name, h)
	if err != nil {
		return err
	}

	t := action.NewReleaseTesting(cfg)
	t.Namespace, t.Timeout = a.latest.Namespace, h.timeout

	for _, f := range spec.Filters {
		key := action.IncludeNameFilter
		if f.Exclude {
			key = action.ExcludeNameFilter
		}

		t.Filters[key] = append(t.Filters[key], f.Name)
	}

	tested, err := t.Run(a.latest.Name)
	if tested == nil {
		return errors.Join(err, errors.New("there is no release to test"))
	}

	a.obj.Status.History[0].TestHooks = state.Tests(tested, spec.Filters)

	return err //nolint:wrapcheck // it says what it is about
}
