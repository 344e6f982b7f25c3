package health

import (
	"errors"
	"fmt"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/json"

	"github.com/weir-dev/weir/reconcilers/access"
)

// bare tells the kinds that have no status worth reading: they are watched as metadata only. A Secret's content never
// reaches this process unless somebody asks for it by name.
func bare(gk schema.GroupKind) bool {
	switch gk.Group {
	case "":
		switch gk.Kind {
		case "ConfigMap", "Secret", "ServiceAccount", "Service", "Endpoints", "LimitRange", "ResourceQuota", "Namespace",
			"PodTemplate":
			return true
		}
	case "batch":
		return gk.Kind == "CronJob"
	case "rbac.authorization.k8s.io", "storage.k8s.io", "scheduling.k8s.io", "node.k8s.io", "coordination.k8s.io",
		"discovery.k8s.io":
		return true
	case "networking.k8s.io":
		return gk.Kind == "NetworkPolicy" || gk.Kind == "IngressClass"
	case "admissionregistration.k8s.io":
		return gk.Kind == "ValidatingWebhookConfiguration" || gk.Kind == "MutatingWebhookConfiguration"
	}
	return false
}

// assess computes the status of an object of which see has read the metadata.
func (s *sight) assess(gvk schema.GroupVersionKind) {
	if s.raw == nil {
		return
	}
	obj, err := s.digest(gvk)
	if err == nil {
		s.live.Status, s.live.Message, err = compute(obj)
	}
	if err != nil {
		s.live.Status, s.live.Message = status.UnknownStatus, err.Error()
	}
}

// digest decodes what kstatus reads: the status, and of the spec the plain values and the update strategy. A large spec
// costs no more than finding its end.
func (s *sight) digest(gvk schema.GroupVersionKind) (*unstructured.Unstructured, error) {
	metadata := map[string]any{"namespace": s.key.namespace, "name": s.key.name}
	if s.live.Generation != 0 {
		metadata["generation"] = s.live.Generation
	}
	if s.live.Deleting {
		metadata["deletionTimestamp"] = "0001-01-01T00:00:00Z"
	}
	spec := map[string]any{}
	object := map[string]any{"metadata": metadata, "spec": spec}
	err := errors.Join(plain(s.spec, spec), set(object, "status", s.status), set(metadata, "creationTimestamp", s.created))
	if err != nil {
		return nil, fmt.Errorf("read an object: %w", err)
	}
	u := &unstructured.Unstructured{Object: object}
	u.SetGroupVersionKind(gvk)
	return u, nil
}

func plain(raw []byte, out map[string]any) error {
	if len(raw) == 0 || raw[0] != '{' {
		return nil
	}
	return access.EachField(raw, func(field, value []byte) error {
		if nested := value[0] == '{' || value[0] == '['; nested && string(field) != "updateStrategy" {
			return nil
		}
		return set(out, string(field), value)
	})
}

func set(m map[string]any, field string, raw []byte) error {
	if raw == nil {
		return nil
	}
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		return err
	}
	if v != nil {
		m[field] = v
	}
	return nil
}

// whole decodes all of a whole object but its managed fields, for rules.
func (s *sight) whole(gvk schema.GroupVersionKind) (map[string]any, error) {
	var obj map[string]any
	if err := json.Unmarshal(s.raw, &obj); err != nil {
		return nil, fmt.Errorf("decode an object: %w", err)
	}
	return strip(obj, gvk).Object, nil
}

// strip makes an object as rules see it.
func strip(obj map[string]any, gvk schema.GroupVersionKind) *unstructured.Unstructured {
	u := &unstructured.Unstructured{Object: obj}
	u.SetManagedFields(nil)
	u.SetGroupVersionKind(gvk)
	return u
}

// compute is kstatus, but for a Job, which counts as current when it is complete, not when it has started.
func compute(u *unstructured.Unstructured) (status.Status, string, error) {
	r, err := status.Compute(u)
	if err != nil {
		return "", "", fmt.Errorf("compute status: %w", err)
	}
	if r.Status == status.CurrentStatus && u.GroupVersionKind().GroupKind() == (schema.GroupKind{Group: "batch", Kind: "Job"}) &&
		!complete(u) {
		return status.InProgressStatus, r.Message, nil
	}
	return r.Status, r.Message, nil
}

func complete(job *unstructured.Unstructured) bool {
	conditions, _, _ := unstructured.NestedSlice(job.Object, "status", "conditions")
	for _, c := range conditions {
		if m, ok := c.(map[string]any); ok && m["type"] == "Complete" && m["status"] == "True" {
			return true
		}
	}
	return false
}

// evaluate applies a rule. The expressions of users are guarded by the one condition that holds for all: a controller
// that has not seen the latest generation has said nothing yet.
func (r Rule) evaluate(object map[string]any, deleting bool) verdict {
	if deleting {
		return verdict{status.TerminatingStatus, "Resource scheduled for deletion"}
	}
	generation, _, _ := unstructured.NestedInt64(object, "metadata", "generation")
	observed, found, err := unstructured.NestedInt64(object, "status", "observedGeneration")
	if err == nil && found && observed != generation {
		return verdict{status.InProgressStatus, fmt.Sprintf("generation is %d, but latest observed generation is %d", generation, observed)}
	}
	st, message := r.Evaluate(object)
	return verdict{st, message}
}

// verdict is what a rule says of an object.
type verdict struct {
	status  status.Status
	message string
}
