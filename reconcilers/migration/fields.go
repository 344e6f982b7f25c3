package migration

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

// manager is who the API server takes an entry for. Two entries of one would be one too many: it forgets one of them.
type manager struct {
	name, subresource string
	operation         metav1.ManagedFieldsOperationType
	time              int64 // of an update: each counts for itself
}

// move brings the entries of managed fields whose version of the group is not among those that stay to another one. Entries
// that become one have the fields of all. It returns nil if there is nothing to do, and changes nothing in place.
func move(entries []metav1.ManagedFieldsEntry, group string, stay []string, to string) ([]metav1.ManagedFieldsEntry, error) {
	goes := func(e metav1.ManagedFieldsEntry) bool {
		version, ours := strings.CutPrefix(e.APIVersion, group+"/")
		return ours && !slices.Contains(stay, version)
	}
	if !slices.ContainsFunc(entries, goes) {
		return nil, nil
	}
	places := map[manager]int{}
	var out []metav1.ManagedFieldsEntry
	for _, e := range entries {
		if goes(e) {
			e.APIVersion = group + "/" + to
		}
		m := identify(&e)
		i, again := places[m]
		if !again || out[i].APIVersion != e.APIVersion {
			places[m] = len(out)
			out = append(out, e)
			continue
		}
		merged, err := merge(out[i], e)
		if err != nil {
			return nil, fmt.Errorf("merge the fields of manager %q: %w", e.Manager, err)
		}
		out[i] = merged
	}
	return out, nil
}

func identify(e *metav1.ManagedFieldsEntry) manager {
	m := manager{name: e.Manager, subresource: e.Subresource, operation: e.Operation}
	if e.Operation != metav1.ManagedFieldsOperationApply && e.Time != nil {
		m.time = e.Time.Unix()
	}
	return m
}

// merge returns one entry for the fields of both, with the later time.
func merge(a, b metav1.ManagedFieldsEntry) (metav1.ManagedFieldsEntry, error) {
	fields := &fieldpath.Set{}
	for _, e := range []metav1.ManagedFieldsEntry{a, b} {
		if e.FieldsV1 == nil {
			continue
		}
		set := &fieldpath.Set{}
		if err := set.FromJSON(bytes.NewReader(e.FieldsV1.GetRawBytes())); err != nil {
			return a, err
		}
		fields = fields.Union(set)
	}
	raw, err := fields.ToJSON()
	if err != nil {
		return a, err
	}
	a.FieldsV1 = metav1.NewFieldsV1(string(raw))
	if a.Time.Before(b.Time) {
		a.Time = b.Time
	}
	a.FieldsType = cmp.Or(a.FieldsType, b.FieldsType)
	return a, nil
}
