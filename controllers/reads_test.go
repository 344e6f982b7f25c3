package controllers

import (
	"errors"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// TestReadsShared holds that many objects with one Secret cost one request at a time, that nothing is given twice from memory
// after a failure, and that namespaces are kept apart.
func TestReadsShared(t *testing.T) {
	requests, fail := map[string]int{}, false

	r := newReads(reader(func(key client.ObjectKey, obj client.Object) error {
		requests[key.String()]++

		if fail {
			return errors.New("no answer")
		}

		obj.SetNamespace(key.Namespace)

		return nil
	}), func() *corev1.Secret { return &corev1.Secret{} }, weight)

	for range 100 {
		for _, ns := range []string{"a", "b"} {
			s, err := r.get(t.Context(), ns, "auth")
			if err != nil || s.Namespace != ns {
				t.Fatalf("namespace %q: %v, %v", ns, s, err)
			}
		}
	}

	if requests["a/auth"] > 10 || requests["b/auth"] > 10 {
		t.Errorf("200 reads cost %v requests", requests)
	}

	fail = true
	for range 3 {
		if _, err := r.get(t.Context(), "a", "other"); err == nil {
			t.Error("no answer is taken for one")
		}
	}

	if requests["a/other"] != 3 {
		t.Errorf("three reads that fail cost %d requests", requests["a/other"])
	}
}
