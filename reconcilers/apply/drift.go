package apply

import (
	"context"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

// mostFields is how many fields of one object are named: a message is for people.
const mostFields = 10

// owned is who owns which fields of an object before a correction.
type owned struct {
	ours    *fieldpath.Set
	foreign *fieldpath.Set // of managers whose fields are taken over
}

// ownedFields reads the entries. It looks at no value, so that what it tells may be told to anybody.
func (r *run) ownedFields(k *task, entries []metav1.ManagedFieldsEntry) (owned, error) {
	o := owned{ours: &fieldpath.Set{}, foreign: &fieldpath.Set{}}
	for i := range entries {
		e := &entries[i]
		if e.Subresource != "" {
			continue
		}
		applied := e.Operation == metav1.ManagedFieldsOperationApply
		mine := applied && e.Manager == r.owner.Manager
		if !mine && (k.joint() || !r.ledger.takeovers.match(e.Manager, applied, r.owner.Manager) ||
			tolerates(k.tolerated, managerOf(e))) {
			continue
		}
		fields, err := fieldsOf(e)
		switch {
		case err != nil:
			return o, err
		case mine:
			o.ours = o.ours.Union(fields)
		default:
			o.foreign = o.foreign.Union(fields)
		}
	}
	return o, nil
}

// before notes who owns what of an object that is about to be corrected. What cannot be found out is not told: it must not
// keep the object from being corrected.
func (r *run) before(ctx context.Context, k *task) {
	live := &k.live
	if !k.known && k.tried != nil { // it may be there, and without our label
		live = k.tried
	}
	if !k.correct || k.owned != nil || live.ResourceVersion == "" {
		return
	}
	m, err := r.client.GetMeta(ctx, k.Ref)
	if err != nil || m.UID != live.UID {
		return
	}
	if o, err := r.ownedFields(k, m.ManagedFields); err == nil {
		k.owned = &o
	}
}

// corrected returns which fields a write has put back: those that are ours again, and those of others that went.
func (r *run) corrected(k *task, after *metav1.ObjectMeta) []string {
	if k.owned == nil {
		return nil
	}
	now, err := r.ownedFields(k, after.ManagedFields)
	if err != nil {
		return nil
	}
	put := now.ours.Leaves().Difference(k.owned.ours)
	taken := k.owned.foreign.Leaves().Difference(now.ours)
	var out []string
	put.Union(taken).Iterate(func(p fieldpath.Path) { out = append(out, p.String()) })
	slices.Sort(out)
	if k.dirty == disowned {
		out = append(out, ".metadata.labels."+r.owner.nameLabel())
	}
	return out
}

// named writes fields for people.
func named(fields []string) string {
	if more := len(fields) - mostFields; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(fields[:mostFields], ", "), more)
	}
	return strings.Join(fields, ", ")
}
