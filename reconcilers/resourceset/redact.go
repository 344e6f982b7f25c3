package resourceset

import (
	"encoding/base64"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/build"
)

// redactedError is an error without secrets.
type redactedError struct {
	err  error
	text string
}

// Error implements error.
func (e *redactedError) Error() string { return e.text }

// Unwrap returns the cause.
func (e *redactedError) Unwrap() error { return e.err }

// redact hides what the Secrets of the set hold, which the API server may quote.
func (s *scope) redact(err error) error {
	mask := &build.Mask{}
	for _, objects := range s.set.steps {
		for _, u := range objects {
			if u.GetKind() == meta.KindSecret && u.GroupVersionKind().Group == "" {
				hide(mask, u)
			}
		}
	}
	return &redactedError{err: err, text: mask.Hide(err.Error())}
}

func hide(mask *build.Mask, secret *unstructured.Unstructured) {
	for _, field := range []string{"data", "stringData"} {
		values, _ := secret.Object[field].(map[string]any)
		for _, v := range values {
			text, ok := v.(string)
			if !ok {
				continue
			}
			mask.Add(text)
			if raw, err := base64.StdEncoding.DecodeString(text); err == nil && field == "data" {
				mask.Add(string(raw))
			}
		}
	}
}
