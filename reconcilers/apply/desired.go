package apply

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"slices"

	"github.com/cespare/xxhash/v2"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/weir-dev/weir/reconcilers/access"
)

// desired is an object of a set as it is going to be applied.
type desired struct {
	access.Ref
	marks       marks
	labels      map[string]string
	annotations map[string]string
	object      map[string]any
	ignores     []pointers // fields that drift is ignored of
	onlyDrift   bool       // only drift is of interest
	shared      bool       // what the set does not have of it belongs to whoever set it
	body        []byte     // the object, encoded once
	digest      uint64     // of the body and what is ignored
}

// prepare expands lists and normalises the objects, adds labels and annotations, and encodes them, in the order of
// application. The set is not changed; what is not changed is shared with it. Objects of kinds that the cluster does not
// have, and the set does not define, are refused.
func prepare(ctx context.Context, owner Owner, set []*unstructured.Unstructured, find finder, o Options) ([]desired, Errors, error) {
	objects, err := collect(owner, set, o)
	if err != nil {
		return nil, nil, err
	}
	defined := definitions(objects)
	var refused Errors
	out := make([]desired, 0, len(objects))
	for _, d := range objects {
		if err := d.place(ctx, find, defined); err != nil {
			refused = append(refused, &Error{ID: d.ID, Step: DryRun, Err: err})
			continue
		}
		if err := d.encode(); err != nil {
			return nil, nil, err
		}
		out = append(out, d)
	}
	order := newOrder(o.Stages)
	slices.SortStableFunc(out, func(a, b desired) int { return order.compare(a.ID, b.ID) })
	for i := 1; i < len(out); i++ {
		if out[i].ID == out[i-1].ID {
			return nil, nil, fmt.Errorf("%s is in the set more than once", out[i].ID)
		}
	}
	return out, refused, nil
}

func collect(owner Owner, set []*unstructured.Unstructured, o Options) ([]desired, error) {
	rules, err := readIgnores(o.Ignore)
	if err != nil {
		return nil, err
	}
	out := make([]desired, 0, len(set))
	for _, u := range set {
		err := expand(u.Object, func(obj map[string]any) error {
			d, err := newDesired(owner, obj, o)
			d.ignores = ignored(rules, &d)
			if o.drift {
				d.detect()
			}
			out = append(out, d)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// finder looks up where a kind is served, as access.Client.Mapping does.
type finder func(ctx context.Context, gk schema.GroupKind, version string) (access.Mapping, error)

// definitions returns the kinds that the set itself defines, and whether they are namespaced.
func definitions(set []desired) map[schema.GroupKind]bool {
	out := map[schema.GroupKind]bool{}
	for i := range set {
		if isDefinition(set[i].ID) {
			out[set[i].defines()] = nestedString(set[i].object, "spec", "scope") == "Namespaced"
		}
	}
	return out
}

// place takes the namespace off an object that has none in the cluster, and misses it on one that needs it.
func (d *desired) place(ctx context.Context, find finder, defined map[schema.GroupKind]bool) error {
	namespaced, ok := defined[d.GroupKind()]
	if !ok {
		m, err := find(ctx, d.GroupKind(), d.Version)
		if err != nil {
			return err
		}
		namespaced = m.Namespaced
	}
	switch {
	case namespaced && d.Namespace == "":
		return access.ErrNoNamespace
	case !namespaced && d.Namespace != "":
		d.Namespace = ""
		remove(d.object, "metadata", "namespace")
	}
	return nil
}

func isDefinition(id access.ID) bool {
	return id.Group == "apiextensions.k8s.io" && id.Kind == "CustomResourceDefinition"
}

// defines returns the kind that a definition defines.
func (d *desired) defines() schema.GroupKind {
	return schema.GroupKind{
		Group: nestedString(d.object, "spec", "group"),
		Kind:  nestedString(d.object, "spec", "names", "kind"),
	}
}

func nestedString(obj map[string]any, path ...string) string {
	s, _, _ := unstructured.NestedString(obj, path...)
	return s
}

// expand calls fn with the object, or with each item of a list of any kind.
func expand(obj map[string]any, fn func(map[string]any) error) error {
	u := unstructured.Unstructured{Object: obj}
	if !u.IsList() {
		return fn(obj)
	}
	items, _ := obj["items"].([]any)
	for _, item := range items {
		m, ok := item.(map[string]any)
		if !ok {
			return fmt.Errorf("%s has an item that is not an object", u.GetKind())
		}
		if err := expand(m, fn); err != nil {
			return err
		}
	}
	return nil
}

func newDesired(owner Owner, obj map[string]any, o Options) (desired, error) {
	u := unstructured.Unstructured{Object: maps.Clone(obj)}
	d := desired{Ref: access.Of(&u), object: u.Object}
	if d.Kind == "" || d.Version == "" || d.Name == "" {
		return d, fmt.Errorf("an object of the set has no apiVersion, kind or name: %q", d.Ref.String())
	}
	normalise(d.ID, u.Object)
	metadata, _ := u.Object["metadata"].(map[string]any)
	metadata = maps.Clone(metadata)
	delete(metadata, "creationTimestamp")
	delete(metadata, "managedFields")
	u.Object["metadata"] = metadata
	d.labels = merge(metadata, "labels", o.Labels, owner.Labels())
	d.annotations = merge(metadata, "annotations", o.Annotations)
	d.marks = owner.marks(d.labels, d.annotations)
	d.shared = slices.Contains(o.Shared, d.GroupKind())
	return d, nil
}

// detect marks what drift is about: not what is excluded from it, and not what others have added.
func (d *desired) detect() {
	whole := slices.ContainsFunc(d.ignores, func(p pointers) bool { return len(p) == 0 })
	d.marks.ignore = d.marks.ignore || d.marks.undetected || whole
	d.marks.merge, d.onlyDrift = true, true
}

// joint tells whether the fields of other managers are left alone, whoever they are.
func (d *desired) joint() bool { return d.marks.merge || d.shared }

func (d *desired) encode() error {
	body, err := json.Marshal(d.object)
	if err != nil {
		return fmt.Errorf("encode %s: %w", d.ID, err)
	}
	d.body, d.digest = body, xxhash.Sum64(body)
	if len(d.ignores) > 0 {
		hash := xxhash.New()
		_, _ = hash.Write(body)
		_, _ = fmt.Fprintf(hash, "%q", d.ignores)
		d.digest = hash.Sum64()
	}
	return nil
}

// merge sets entries of a map of the metadata and returns its strings. Anything else in it is left for the API server to
// complain about.
func merge(metadata map[string]any, field string, more ...map[string]string) map[string]string {
	in, ok := metadata[field].(map[string]any)
	if metadata[field] != nil && !ok {
		return nil
	}
	raw, text := maps.Clone(in), map[string]string{}
	if raw == nil {
		raw = map[string]any{}
	}
	for _, m := range more {
		for k, v := range m {
			raw[k] = v
		}
	}
	for k, v := range raw {
		if s, ok := v.(string); ok {
			text[k] = s
		}
	}
	if len(raw) > 0 {
		metadata[field] = raw
	}
	return text
}

// vanishes tells objects that go away by themselves when they are done.
func (d *desired) vanishes() bool {
	if d.Kind != "Job" || d.Group != "batch" {
		return false
	}
	_, ok, _ := unstructured.NestedFieldNoCopy(d.object, "spec", "ttlSecondsAfterFinished")
	return ok
}

// normalise takes out of an object what is not desired state, or would never compare equal. The top level of obj is
// the caller's to change, what is below is not.
func normalise(id access.ID, obj map[string]any) {
	delete(obj, "status")
	switch id.GroupKind() {
	case schema.GroupKind{Kind: "Secret"}:
		encodeStrings(obj)
	case schema.GroupKind{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition"}:
		dropBrokenBundle(obj)
	default:
		dropTimestamp(obj, "spec", "template", "metadata")
		dropTimestamp(obj, "spec", "jobTemplate", "metadata")
		dropTimestamp(obj, "spec", "jobTemplate", "spec", "template", "metadata")
	}
}

// encodeStrings moves the stringData of a Secret to its data, as the API server does: stringData is write-only, so
// nobody could tell whether it is still in force.
func encodeStrings(obj map[string]any) {
	plain, ok := obj["stringData"].(map[string]any)
	if !ok {
		return
	}
	data, _ := obj["data"].(map[string]any)
	if data = maps.Clone(data); data == nil {
		data = map[string]any{}
	}
	for k, v := range plain {
		s, ok := v.(string)
		if !ok {
			return // the API server says what is wrong
		}
		data[k] = base64.StdEncoding.EncodeToString([]byte(s))
	}
	delete(obj, "stringData")
	obj["data"] = data
}

// dropBrokenBundle removes a placeholder for a certificate bundle that the API server would refuse, and that a
// certificate injector fills in.
func dropBrokenBundle(obj map[string]any) {
	path := []string{"spec", "conversion", "webhook", "clientConfig", "caBundle"}
	bundle, ok, _ := unstructured.NestedString(obj, path...)
	if !ok {
		return
	}
	raw, err := base64.StdEncoding.DecodeString(bundle)
	if err == nil {
		if block, _ := pem.Decode(raw); block != nil {
			return
		}
	}
	remove(obj, path...)
}

func dropTimestamp(obj map[string]any, path ...string) {
	path = append(path, "creationTimestamp")
	if v, ok, _ := unstructured.NestedFieldNoCopy(obj, path...); ok && v == nil {
		remove(obj, path...)
	}
}

// remove deletes a field, copying the maps on the way to it.
func remove(obj map[string]any, path ...string) {
	for _, field := range path[:len(path)-1] {
		child, _ := obj[field].(map[string]any)
		child = maps.Clone(child)
		obj[field] = child
		obj = child
	}
	delete(obj, path[len(path)-1])
}
