package apply

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/weir-dev/weir/reconcilers/health"
)

// screen makes the payload of an object of which some fields are ignored: where such a field is not as desired, it is
// left out if somebody else owns it, and otherwise has the value that it has in the cluster, since leaving it out would
// remove it. What does not exist is created as desired.
func (r *run) screen(ctx context.Context, k *task) error {
	if exists := k.known || k.tried != nil && k.tried.ResourceVersion != ""; len(k.ignores) == 0 || k.screened || !exists {
		return nil
	}
	live, err := r.client.Get(ctx, k.Ref)
	if apierrors.IsNotFound(err) || isNoMatch(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the ignored fields: %w", err)
	}
	s := screening{live: live.Object}
	if err := s.sort(r, k, live.GetManagedFields()); err != nil {
		return err
	}
	if k.payload, err = s.payload(k.desired, r.owner.Labels()); err != nil {
		return err
	}
	if o, err := r.ownedFields(k, live.GetManagedFields()); err == nil && k.correct {
		k.owned = &o
	}
	now := health.Of(&metav1.ObjectMeta{
		UID: live.GetUID(), ResourceVersion: live.GetResourceVersion(), Generation: live.GetGeneration(),
		Labels: live.GetLabels(), Annotations: live.GetAnnotations(), ManagedFields: live.GetManagedFields(),
	})
	k.screened, k.base = true, &now
	return nil
}

// keep puts back what an object cannot do without, whatever is ignored.
func keep(obj map[string]any, d *desired, owned map[string]string) {
	obj["apiVersion"], obj["kind"] = d.object["apiVersion"], d.object["kind"]
	metadata, _ := obj["metadata"].(map[string]any)
	if metadata == nil {
		metadata = map[string]any{}
		obj["metadata"] = metadata
	}
	metadata["name"] = d.Name
	if d.Namespace != "" {
		metadata["namespace"] = d.Namespace
	}
	have, _ := metadata["labels"].(map[string]any)
	if have = maps.Clone(have); have == nil {
		have = map[string]any{}
	}
	for key, value := range owned {
		have[key] = value
	}
	metadata["labels"] = have
}

// screening compares an object with what is in the cluster.
type screening struct {
	live   map[string]any
	others []*fieldpath.Set // of managers whose fields are not taken over
}

// payload returns what to apply instead of the body, or nil if it is the body.
func (s *screening) payload(d *desired, owned map[string]string) ([]byte, error) {
	want := map[string]any{}
	if err := utiljson.Unmarshal(d.body, &want); err != nil {
		return nil, fmt.Errorf("decode %s: %w", d.ID, err)
	}
	changed := false
	for _, p := range d.ignores {
		changed = s.visit(want, p, nil) || changed
	}
	if !changed {
		return nil, nil
	}
	keep(want, d, owned)
	body, err := json.Marshal(want)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", d.ID, err)
	}
	return body, nil
}

// sort tells the managers apart whose fields stay theirs. Those that would be taken over, but own nothing that is not
// ignored, are left alone.
func (s *screening) sort(r *run, k *task, entries []metav1.ManagedFieldsEntry) error {
	for i := range entries {
		e := &entries[i]
		applied := e.Operation == metav1.ManagedFieldsOperationApply
		if applied && e.Manager == r.owner.Manager && e.Subresource == "" {
			continue
		}
		fields, err := fieldsOf(e)
		if err != nil {
			return err
		}
		if e.Subresource == "" && !k.joint() && r.ledger.takeovers.match(e.Manager, applied, r.owner.Manager) {
			if !s.within(fields, k.ignores) {
				continue
			}
			k.tolerated = append(k.tolerated, managerOf(e))
		}
		s.others = append(s.others, fields)
	}
	return nil
}

func fieldsOf(e *metav1.ManagedFieldsEntry) (*fieldpath.Set, error) {
	fields := &fieldpath.Set{}
	if err := fields.FromJSON(bytes.NewReader(e.FieldsV1.GetRawBytes())); err != nil {
		return nil, fmt.Errorf("read the fields of manager %q: %w", e.Manager, err)
	}
	return fields, nil
}

// managerOf returns the entry as the hub shows it.
func managerOf(e *metav1.ManagedFieldsEntry) health.Manager {
	m := health.Of(&metav1.ObjectMeta{ManagedFields: []metav1.ManagedFieldsEntry{*e}}).Managers[0]
	m.Time = 0 // the same fields, whenever they were written
	return m
}

// within tells whether all fields are ignored.
func (s *screening) within(fields *fieldpath.Set, ignores []pointers) bool {
	all := true
	fields.Leaves().Iterate(func(path fieldpath.Path) {
		all = all && slices.ContainsFunc(ignores, func(p pointers) bool { return s.covers(p, path) })
	})
	return all
}

// covers tells whether the path leads to the field of the pointer, or into it.
func (s *screening) covers(p pointers, path fieldpath.Path) bool {
	return len(path) >= len(p) && s.along(p, path)
}

// along tells whether the pointer and the path go the same way, as far as both of them go.
func (s *screening) along(p pointers, path fieldpath.Path) bool {
	var node any = s.live
	for i := range min(len(p), len(path)) {
		child, ok := step(node, p[i])
		if !ok || !leads(path[i], p[i], child) {
			return false
		}
		node = child
	}
	return true
}

// leads tells whether the element of a path stands for the child of that name or index.
func leads(e fieldpath.PathElement, token string, child any) bool {
	switch {
	case e.FieldName != nil:
		return *e.FieldName == token
	case e.Index != nil:
		return strconv.Itoa(*e.Index) == token
	case e.Value != nil:
		return reflect.DeepEqual((*e.Value).Unstructured(), child)
	case e.Key == nil:
		return false
	}
	item, _ := child.(map[string]any)
	for _, field := range *e.Key {
		// A key that the object leaves out has its default.
		if v, ok := item[field.Name]; ok && !reflect.DeepEqual(field.Value.Unstructured(), v) {
			return false
		}
	}
	return item != nil
}

// step returns the child of a map or list.
func step(node any, token string) (any, bool) {
	switch node := node.(type) {
	case map[string]any:
		child, ok := node[token]
		return child, ok
	case []any:
		i, err := strconv.Atoi(token)
		if err != nil || i < 0 || i >= len(node) {
			return nil, false
		}
		return node[i], true
	}
	return nil, false
}

// taken tells whether somebody else owns the field, something in it, or, as a whole, something that it is in.
func (s *screening) taken(p pointers) bool {
	return slices.ContainsFunc(s.others, func(fields *fieldpath.Set) bool { return s.holds(fields, p) })
}

// holds goes down the fields along the pointer: it is called for many of them, and an object may have very many fields.
func (s *screening) holds(fields *fieldpath.Set, p pointers) bool {
	var node any = s.live
	for _, token := range p {
		child, ok := step(node, token)
		if !ok {
			return false
		}
		next, whole := descend(fields, node, token, child)
		if next == nil {
			return whole
		}
		fields, node = next, child
	}
	return !fields.Empty()
}

// descend returns what is owned in a child, or else whether it is owned as a whole.
func descend(fields *fieldpath.Set, node any, token string, child any) (in *fieldpath.Set, whole bool) {
	if _, ok := node.(map[string]any); ok {
		e := fieldpath.FieldNameElement(token)
		if next, ok := fields.Children.Get(e); ok {
			return next, false
		}
		return nil, fields.Members.Has(e)
	}
	fields.Children.Iterate(func(e fieldpath.PathElement) {
		if in == nil && leads(e, token, child) {
			in, _ = fields.Children.Get(e)
		}
	})
	fields.Members.Iterate(func(e fieldpath.PathElement) { whole = whole || leads(e, token, child) })
	return in, whole
}

// visit goes down the pointer, and adapts what it leads to. It tells whether anything was changed.
func (s *screening) visit(parent any, rest, gone pointers) bool {
	if len(rest) == 0 {
		return s.adapt(parent, gone)
	}
	child, ok := step(parent, rest[0])
	if !ok {
		return false // the set has no such field
	}
	here := slices.Concat(gone, rest[:1])
	if len(rest) > 1 {
		changed := s.visit(child, rest[1:], here)
		prune(parent, rest[0], changed)
		return changed
	}
	return s.adaptChild(parent, rest[0], child, here)
}

// adapt adapts all fields of an object or list.
func (s *screening) adapt(node any, at pointers) bool {
	changed := false
	fields, _ := node.(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if s.adaptChild(fields, name, fields[name], slices.Concat(at, pointers{name})) {
			changed = true
		}
	}
	return changed
}

// adaptChild makes one field as it is in the cluster, or leaves it out.
func (s *screening) adaptChild(parent any, token string, want any, at pointers) bool {
	have, ok := s.find(at)
	if ok && covered(want, have) {
		return false
	}
	if fields, isMap := want.(map[string]any); isMap && ok {
		if _, same := have.(map[string]any); same {
			changed := s.adapt(fields, at)
			prune(parent, token, changed)
			return changed
		}
	}
	_, list := want.([]any)
	switch p := parent.(type) {
	case map[string]any:
		if !ok || !list && s.taken(at) {
			delete(p, token)
		} else {
			p[token] = have
		}
	case []any:
		if i, err := strconv.Atoi(token); err == nil && ok {
			p[i] = have
		}
	}
	return true
}

// prune leaves out a map of which nothing is left: empty, it would be a field of its own.
func prune(parent any, token string, changed bool) {
	obj, _ := parent.(map[string]any)
	if fields, ok := obj[token].(map[string]any); ok && changed && len(fields) == 0 {
		delete(obj, token)
	}
}

func (s *screening) find(p pointers) (any, bool) {
	var node any = s.live
	for _, token := range p {
		var ok bool
		if node, ok = step(node, token); !ok {
			return nil, false
		}
	}
	return node, true
}

// covered tells whether the live value has all of the desired one. It may have more: what others add, and defaults.
func covered(want, have any) bool {
	switch want := want.(type) {
	case map[string]any:
		fields, ok := have.(map[string]any)
		for name, v := range want {
			if live, there := fields[name]; !there || !covered(v, live) {
				return false
			}
		}
		return ok
	case []any:
		items, ok := have.([]any)
		return ok && slices.EqualFunc(want, items, covered)
	}
	return reflect.DeepEqual(want, have)
}
