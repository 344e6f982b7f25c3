package helm

import (
	"context"
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v2 "github.com/weir-dev/weir/api/helm/v2"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/health"
)

// compile compiles the expressions of health checks.
func (r *reconciler) compile(_ context.Context, obj *v2.HelmRelease, s *scope) error {
	if (obj.Spec.Chart == nil) == (obj.Spec.ChartRef == nil) {
		return engine.Stall(meta.FailedReason, errors.New("either chart or chartRef must be set"))
	}

	var err error
	if s.rules, err = health.Rules(r.Expressions, obj.Spec.HealthCheckExprs); err != nil {
		return misconfigured(err)
	}

	return nil
}

// misconfigured stalls an object with an expression that does not compile.
func misconfigured(err error) error {
	return engine.Stall(meta.InvalidCELExpressionReason,
		fmt.Errorf("Reconciliation failed terminally due to configuration error: %w", err)) //nolint:staticcheck // known words
}

// DependencyKeys returns which HelmReleases have to be ready first.
func DependencyKeys(obj *v2.HelmRelease) []types.NamespacedName {
	keys := make([]types.NamespacedName, len(obj.Spec.DependsOn))

	for i, d := range obj.Spec.DependsOn {
		keys[i] = types.NamespacedName{Namespace: d.Namespace, Name: d.Name}
		if keys[i].Namespace == "" {
			keys[i].Namespace = obj.Namespace
		}
	}

	return keys
}

// depend waits for the dependencies.
func (r *reconciler) depend(ctx context.Context, obj *v2.HelmRelease, _ *scope) error {
	engine.Progress(ctx, "Fulfilling prerequisites")

	for i, key := range DependencyKeys(obj) {
		dep, err := r.Dependencies.HelmRelease(ctx, key)
		if err != nil {
			err = fmt.Errorf("unable to get '%s' dependency: %w", key, err)
		} else {
			err = r.ready(ctx, obj.Spec.DependsOn[i].ReadyExpr, obj, dep)
		}

		if v, ok := errors.AsType[*engine.Verdict](err); ok {
			return v // an expression that will never be right
		}

		if err == nil {
			continue
		}

		if c := engine.Condition(obj, meta.ReadyCondition); c == nil || c.Message != err.Error() {
			engine.Emit(ctx, engine.Event{Reason: meta.DependencyNotReadyReason, Message: err.Error()})
		}

		return engine.Wait(meta.DependencyNotReadyReason, r.RequeueDependency, err)
	}

	return nil
}

// ready says what keeps a dependency from being ready.
func (r *reconciler) ready(ctx context.Context, text string, obj, dep *v2.HelmRelease) error {
	key := client.ObjectKeyFromObject(dep)

	if text == "" || r.AdditiveReadyExpr {
		if dep.Status.ObservedGeneration != dep.Generation || !engine.IsTrue(dep, meta.ReadyCondition) {
			return fmt.Errorf("dependency '%s' is not ready", key)
		}
	}

	if text == "" {
		return nil
	}

	program, err := r.Expressions.With(text, "self", "dep")
	if err != nil {
		return misconfigured(fmt.Errorf("failed to evaluate dependency '%s': %w", key, err))
	}

	variables := map[string]any{}

	if r.NoCrossNamespaceRefs && dep.Namespace != obj.Namespace {
		dep = outline(dep)
	}

	for name, object := range map[string]*v2.HelmRelease{"self": obj, "dep": dep} {
		if variables[name], err = runtime.DefaultUnstructuredConverter.ToUnstructured(object); err != nil {
			return fmt.Errorf("failed to evaluate dependency '%s': %w", key, err)
		}
	}

	holds, err := program.Holds(ctx, variables)

	switch {
	case err != nil:
		return fmt.Errorf("failed to evaluate dependency '%s': %w", key, err)
	case !holds:
		return fmt.Errorf("dependency '%s' is not ready according to readyExpr eval", key)
	}

	return nil
}

// outline returns a HelmRelease without what its owner has written into it of his own, which may be secret: who writes an expression
// learns one answer at a time what it sees.
func outline(dep *v2.HelmRelease) *v2.HelmRelease {
	dep = dep.DeepCopy()
	dep.Spec.Values, dep.Spec.PostRenderers, dep.ManagedFields = nil, nil, nil
	delete(dep.Annotations, health.LastApplied)

	return dep
}
