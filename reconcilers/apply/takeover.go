package apply

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/health"
)

// takeOver makes the fields of other managers ours where the owner takes them over, removes the keys of tools that it
// replaces, and applies again, so that what the set does not have goes. Most objects need none of it.
func (r *run) takeOver(ctx context.Context, k *task, m *metav1.ObjectMeta) (*metav1.ObjectMeta, error) {
	const attempts = 10 // controllers write statuses meanwhile, which are conflicts too
	for range attempts {
		live := health.Of(m)
		if !r.burdened(k, &live) {
			return m, nil
		}
		patch, err := r.relief(k, m)
		if err != nil {
			return nil, err
		}
		_, err = r.client.Patch(ctx, k.Ref, types.JSONPatchType, patch, access.PatchOptions{Manager: r.owner.Manager})
		if err != nil && !apierrors.IsConflict(err) { // of a conflict, the next answer tells the version
			return nil, fmt.Errorf("take over fields: %w", err)
		}
		if m, err = r.send(ctx, k, false); err != nil {
			return nil, err
		}
		if k.action == Unchanged {
			k.action = Configured
		}
	}
	if live := health.Of(m); r.burdened(k, &live) {
		return nil, fmt.Errorf("take over fields: others wrote the object %d times in between", attempts)
	}
	return m, nil
}

func (r *run) dropped(k *task) (labels, annotations []string) {
	labels = without(r.options.DropLabels, k.labels)
	annotations = without(append([]string{health.LastApplied, r.owner.Prefix + "/checksum"}, r.options.DropAnnotations...), k.annotations)
	return labels, annotations
}

// burdened tells whether the live object carries anything that is taken over or dropped.
func (r *run) burdened(k *task, live *health.Live) bool {
	if k.marks.merge {
		return false
	}
	labels, annotations := r.dropped(k)
	return !k.shared && r.ledger.takeovers.foreign(r.owner, live, k.tolerated) != "" ||
		len(within(labels, live.Labels)) > 0 || len(within(annotations, live.Annotations)) > 0
}

// operation is one of a JSON patch.
type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value,omitempty"`
}

// relief returns the patch that rewrites the managed fields and removes keys. It holds only for the version read.
func (r *run) relief(k *task, m *metav1.ObjectMeta) ([]byte, error) {
	taken := r.ledger.takeovers
	if k.shared {
		taken = nil
	}
	managers, err := taken.rewrite(m.ManagedFields, r.owner.Manager, k.tolerated)
	if err != nil {
		return nil, err
	}
	ops := []operation{
		{"replace", "/metadata/resourceVersion", m.ResourceVersion},
		{"replace", "/metadata/managedFields", managers},
	}
	labels, annotations := r.dropped(k)
	for _, key := range within(labels, m.Labels) {
		ops = append(ops, operation{Op: "remove", Path: "/metadata/labels/" + pointer(key)})
	}
	for _, key := range within(annotations, m.Annotations) {
		ops = append(ops, operation{Op: "remove", Path: "/metadata/annotations/" + pointer(key)})
	}
	return json.Marshal(ops)
}

// rewrite moves the fields of the managers that are taken over to our own applied entry.
func (t takeovers) rewrite(entries []metav1.ManagedFieldsEntry, manager string, tolerated []health.Manager) ([]metav1.ManagedFieldsEntry, error) {
	var out []metav1.ManagedFieldsEntry
	ours := metav1.ManagedFieldsEntry{Manager: manager, Operation: metav1.ManagedFieldsOperationApply, FieldsType: "FieldsV1"}
	fields := &fieldpath.Set{}
	for i, e := range entries {
		applied := e.Operation == metav1.ManagedFieldsOperationApply
		mine := applied && e.Manager == manager
		if e.Subresource != "" || (!mine && (!t.match(e.Manager, applied, manager) || tolerates(tolerated, managerOf(&entries[i])))) {
			out = append(out, e)
			continue
		}
		s, err := fieldsOf(&entries[i])
		if err != nil {
			return nil, err
		}
		fields = fields.Union(s)
		if mine || ours.APIVersion == "" {
			ours.APIVersion, ours.Time = e.APIVersion, e.Time
		}
	}
	raw, err := fields.ToJSON()
	if err != nil {
		return nil, fmt.Errorf("write the fields of manager %q: %w", manager, err)
	}
	ours.FieldsV1 = &metav1.FieldsV1{}
	ours.FieldsV1.SetRawBytes(raw)
	return append(out, ours), nil
}

// pointer escapes a key for a JSON pointer.
func pointer(key string) string { return strings.NewReplacer("~", "~0", "/", "~1").Replace(key) }

// without returns the keys that the map does not have.
func without(keys []string, m map[string]string) []string {
	var out []string
	for _, key := range keys {
		if _, ok := m[key]; !ok {
			out = append(out, key)
		}
	}
	return out
}

// within returns the keys that the map has.
func within(keys []string, m map[string]string) []string {
	var out []string
	for _, key := range keys {
		if _, ok := m[key]; ok {
			out = append(out, key)
		}
	}
	return out
}
