package kustomize

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/build"
)

// load reads the variables of the post build.
func (r *reconciler) load(ctx context.Context, obj *kustomizev1.Kustomization, s *scope) error {
	if obj.Spec.PostBuild == nil {
		return nil
	}

	s.variables = &build.Variables{}

	for _, ref := range obj.Spec.PostBuild.SubstituteFrom {
		values, err := r.values(ctx, obj.Namespace, ref)
		if apierrors.IsNotFound(err) && ref.Optional {
			continue
		}

		if err == nil {
			err = setAll(s.variables, values, ref.Kind == meta.KindSecret)
		}

		if err != nil {
			return fmt.Errorf("substitute from '%s/%s' error: %w", ref.Kind, ref.Name, err)
		}
	}

	return setAll(s.variables, obj.Spec.PostBuild.Substitute, false)
}

func (r *reconciler) values(ctx context.Context, namespace string, ref kustomizev1.SubstituteReference) (map[string]string, error) {
	switch ref.Kind {
	case meta.KindConfigMap:
		object, err := r.Configs.ConfigMap(ctx, namespace, ref.Name)
		if err != nil {
			return nil, err
		}

		return object.Data, nil
	case meta.KindSecret:
		object, err := r.Configs.Secret(ctx, namespace, ref.Name)
		if err != nil {
			return nil, err
		}

		values := make(map[string]string, len(object.Data))
		for k, v := range object.Data {
			values[k] = string(v)
		}

		return values, nil
	default:
		return nil, errors.New("the kind is neither ConfigMap nor Secret")
	}
}

// setAll sets the values in the order of their names, so that the first error is always the same.
func setAll(v *build.Variables, values map[string]string, secret bool) error {
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if err := v.Set(name, values[name], secret); err != nil {
			return err
		}
	}

	return nil
}

// redactedError is an error without secrets.
type redactedError struct {
	err  error
	text string
}

// redact hides the values of secret variables and what was decrypted, which the API server may quote.
func redact(err error, s *scope) error {
	return &redactedError{err: err, text: s.redact(err.Error())}
}

// Error implements error.
func (e *redactedError) Error() string { return e.text }

// Unwrap returns the cause.
func (e *redactedError) Unwrap() error { return e.err }
