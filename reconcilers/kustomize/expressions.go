package kustomize

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/health"
)

// compile compiles the expressions of the health checks. One that is wrong stays wrong until the spec changes.
func (r *reconciler) compile(_ context.Context, obj *kustomizev1.Kustomization, s *scope) error {
	var err error
	if s.rules, err = health.Rules(r.Expressions, obj.Spec.HealthCheckExprs); err != nil {
		return misconfigured(err)
	}

	return nil
}

// misconfigured stalls an object with an expression that does not compile.
func misconfigured(err error) error {
	return engine.Stall(meta.InvalidCELExpressionReason,
		//nolint:staticcheck // clients know these words
		fmt.Errorf("Reconciliation failed terminally due to configuration error: %w", err))
}

// readyBy says what keeps a dependency with an expression from being ready: the expression, and, where both count, what keeps
// one without.
func (r *reconciler) readyBy(
	ctx context.Context, text string, obj, dep *kustomizev1.Kustomization, revision string,
) error {
	key := client.ObjectKeyFromObject(dep)

	program, err := r.Expressions.With(text, "self", "dep")
	if err != nil {
		return misconfigured(fmt.Errorf("failed to evaluate dependency '%s': %w", key, err))
	}

	if r.AdditiveReadyExpr {
		if err := ready(obj, dep, revision); err != nil {
			return err
		}
	}

	variables := map[string]any{}

	for name, object := range map[string]*kustomizev1.Kustomization{"self": obj, "dep": dep} {
		if variables[name], err = fields(object); err != nil {
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

// fields returns the object as expressions see it.
func fields(obj *kustomizev1.Kustomization) (map[string]any, error) {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(obj)
	if err != nil {
		return nil, fmt.Errorf("read the fields of '%s': %w", client.ObjectKeyFromObject(obj), err)
	}

	content["apiVersion"], content["kind"] = kustomizev1.GroupVersion.String(), kustomizev1.KustomizationKind

	if m, ok := content["metadata"].(map[string]any); ok {
		delete(m, "managedFields")
	}

	return content, nil
}
