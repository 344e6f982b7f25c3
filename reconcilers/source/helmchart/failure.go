package helmchart

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/engine"
)

// failed ends a run because of an error at a point of the build that the reason names. What only a change of the object or of its
// source can mend stalls the object.
func failed(reason string, err error) error {
	if _, ok := errors.AsType[*engine.Verdict](err); ok {
		return err
	}

	err = fmt.Errorf("%s: %w", describe(reason), err)

	if persistent(reason) && !transient(err) {
		return engine.Stall(reason, err)
	}

	return engine.Fail(reason, err)
}

// describe says what a reason means.
func describe(reason string) string {
	switch reason {
	case sourcev1.InvalidChartReferenceReason:
		return "invalid chart reference"
	case sourcev1.ChartPullErrorReason:
		return "chart pull error"
	case sourcev1.MetadataPatchErrorReason:
		return "chart metadata patch error"
	case sourcev1.ValuesFilesErrorReason:
		return "values files merge error"
	case sourcev1.DependencyBuildErrorReason:
		return "dependency build error"
	case sourcev1.ChartPackageErrorReason:
		return "chart package error"
	case sourcev1.ChartVerificationErrorReason:
		return "chart verification error"
	}

	return "unknown build error"
}

// persistent tells whether another attempt would fail as well.
func persistent(reason string) bool {
	switch reason {
	case sourcev1.InvalidChartReferenceReason, sourcev1.MetadataPatchErrorReason, sourcev1.ValuesFilesErrorReason:
		return true
	}

	return false
}

// transient tells whether an error says more about this machine, or the time, than about the chart.
func transient(err error) bool {
	for _, missing := range []error{syscall.ENOENT, syscall.ENOTDIR, syscall.ENAMETOOLONG, syscall.EINVAL} {
		if errors.Is(err, missing) { // nothing of that name is there, or can be
			return false
		}
	}

	_, ok := errors.AsType[syscall.Errno](err)

	return ok || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// noArtifact ends a run that cannot go on without an artifact of the source. The watch of the source starts the next one.
func (r *reconciler) noArtifact(obj *sourcev1.HelmChart) error {
	err := fmt.Errorf("no artifact available for %s source '%s'", obj.Spec.SourceRef.Kind, obj.Spec.SourceRef.Name)
	engine.Set(obj, meta.ReconcilingCondition, metav1.ConditionTrue, meta.ProgressingWithRetryReason, err.Error())

	return engine.Wait(sourcev1.NoSourceArtifactReason, r.RequeueDependency, err)
}

// bounded runs a part of the work that talks to servers, and has to come to an end. Being too late fails with the reason.
func bounded[T any](ctx context.Context, r *reconciler, obj *sourcev1.HelmChart, timeout time.Duration, reason string,
	run func(context.Context) (T, error),
) (result T, err error) {
	var inner error

	late := r.lane.Bounded(ctx, obj.Namespace, timeout, func(ctx context.Context) error {
		result, inner = run(ctx)

		return inner
	})
	if late == nil {
		return result, nil
	}

	if _, ok := errors.AsType[*engine.Verdict](late); ok {
		return result, late
	}

	return result, failed(reason, late)
}

// summary says what was made of the chart, or is going to be.
func summary(f found, b built) string {
	action := "new"

	switch {
	case b.packaged:
		action = "packaged"
	case b.content.digest != "":
		action = "pulled"
	}

	text := fmt.Sprintf("%s '%s' chart with version '%s'", action, f.name, f.version)
	if len(b.values) > 0 {
		text += fmt.Sprintf(" and merged values files [%s]", strings.Join(b.values, " "))
	}

	return text
}
