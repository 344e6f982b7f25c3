package helm

import (
	"context"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	v2 "github.com/weir-dev/weir/api/helm/v2"
	"github.com/weir-dev/weir/reconcilers/expression"
)

// TestReadyExprElsewhere: where other namespaces are out of bounds, an expression learns nothing of what is written into their objects.
func TestReadyExprElsewhere(t *testing.T) {
	t.Parallel()

	expressions, err := expression.New()
	if err != nil {
		t.Fatal(err)
	}

	const last = "kubectl.kubernetes.io/last-applied-configuration"

	for name, tc := range map[string]struct {
		reason, expr, namespace string
		bounds, met             bool
	}{
		"Own":        {"what is in the own namespace is there to read", "dep.spec.values.password == 'hunter2'", "ns", true, true},
		"Unbound":    {"nobody has forbidden it", "dep.spec.values.password == 'hunter2'", "other", false, true},
		"Values":     {"values may be secret", "dep.spec.values.password == 'hunter2'", "other", true, false},
		"Quoted":     {"and an error would quote them", "int(dep.spec.values.password) > 0", "other", true, false},
		"Annotation": {"there is a copy of them", "dep.metadata.annotations['" + last + "'].contains('hunter2')", "other", true, false},
		"Name":       {"the rest is there to read", "dep.metadata.annotations.version == '1'", "other", true, true},
	} {
		r := &reconciler{Deps: Deps{Expressions: expressions, NoCrossNamespaceRefs: tc.bounds}}
		obj, dep := &v2.HelmRelease{}, &v2.HelmRelease{}
		obj.Namespace, dep.Namespace = "ns", tc.namespace
		dep.Annotations = map[string]string{last: "hunter2", "version": "1"}
		dep.Spec.Values = &apiextensionsv1.JSON{Raw: []byte(`{"password":"hunter2"}`)}

		err := r.ready(context.Background(), tc.expr, obj, dep)
		if (err == nil) != tc.met || err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %s: %v", name, tc.reason, err)
		}

		if dep.Spec.Values == nil || len(dep.Annotations) != 2 {
			t.Errorf("%s: the cached object was modified", name)
		}
	}
}
