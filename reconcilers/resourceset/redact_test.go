package resourceset

import (
	"errors"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// TestRedact: nothing that a Secret of the set holds is told, as it is or as it is encoded; the rest is.
func TestRedact(t *testing.T) {
	t.Parallel()
	object := func(kind string, fields map[string]any) *unstructured.Unstructured {
		fields["apiVersion"], fields["kind"] = "v1", kind
		return &unstructured.Unstructured{Object: fields}
	}
	s := &scope{set: &set{steps: [][]*unstructured.Unstructured{
		{object("ConfigMap", map[string]any{"data": map[string]any{"colour": "turquoise"}})},
		{object("Secret", map[string]any{
			"data": map[string]any{"password": "aHVudGVyMg=="}, "stringData": map[string]any{"token": "correct-horse"},
		})},
	}}}
	cause := errors.New("admission says: hunter2 or aHVudGVyMg== or correct-horse, not turquoise")
	err := s.redact(cause)
	if want := "admission says: ***** or ***** or *****, not turquoise"; err.Error() != want {
		t.Errorf("told is %q, want %q", err, want)
	}
	if !errors.Is(err, cause) {
		t.Error("the error is no longer what it was")
	}
}
