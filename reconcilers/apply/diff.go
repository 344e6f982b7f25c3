package apply

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/health"
)

// masked stands for a value of a Secret.
const masked = "***"

// Difference is what an Apply, and a Prune after it, would change.
type Difference struct {
	// Changes that would be made, in the order of application, deletions last. What is created anew is deleted, and then created.
	Changes Changes
	// Text says for people what changes, with the values of Secrets masked. It ends with a newline, or is empty.
	Text string
	// Digest identifies all of it, the masked values included, as "sha256:<hex>", to those who have the key.
	Digest string
	// Parts identify in the same way what would be done to each object, in the order of the changes.
	Parts []string
	// Fields are the lines of Text about each object, in the order of the changes.
	Fields [][]string
}

// Diff tells what an Apply with these options, and a Prune of what the inventory has and the set has not, if prune is set,
// would change. It changes nothing, not even what the applier knows. Each object takes a read and a dry run. What is refused
// is returned as Errors, as by Apply.
func (a *Applier) Diff(ctx context.Context, c *access.Client, owner Owner, set []*unstructured.Unstructured, prune bool, o Options) (*Difference, error) {
	if len(o.Key) == 0 {
		return nil, errors.New("the digest of a difference needs a key")
	}
	objects, refused, err := prepare(ctx, owner, set, c.Mapping, o)
	if err != nil {
		return nil, err
	}
	if o.Concurrency <= 0 {
		o.Concurrency = defaultConcurrency
	}
	l := &ledger{owner: owner, takeovers: owner.takeovers(o.Takeovers), records: map[access.ID]*record{}}
	r := &run{Applier: a, ledger: l, client: c, owner: owner, options: o, order: newOrder(o.Stages)}
	for i := range objects {
		r.tasks = append(r.tasks, &task{desired: &objects[i], verdict: suspect})
	}
	depend(r.tasks)
	outcomes := make([][]entry, len(r.tasks))
	errs := make([]*Error, len(r.tasks))
	parallel(len(r.tasks), o.Concurrency, func(i int) {
		var err error
		if outcomes[i], err = r.compare(ctx, r.tasks[i]); err != nil {
			errs[i] = &Error{ID: r.tasks[i].ID, Step: DryRun, Err: err}
		}
	})
	refused = append(refused, slices.DeleteFunc(errs, func(e *Error) bool { return e == nil })...)
	if err := refused.or(); err != nil {
		return nil, err
	}
	found := slices.Concat(outcomes...)
	if prune {
		gone, err := r.leaving(ctx, objects)
		if err != nil {
			return nil, err
		}
		found = slices.Concat(found, gone)
	}
	return sum(found, o.Key), nil
}

// entry is what would be done to one object.
type entry struct {
	Change
	lines  []string
	digest string // of what is not to be shown, and never is itself
}

func sum(entries []entry, key []byte) *Difference {
	d := &Difference{}
	all := hmac.New(sha256.New, key)
	text := &strings.Builder{}
	for _, e := range entries {
		if e.Action == Unchanged || e.Action == Skipped {
			continue
		}
		d.Changes = append(d.Changes, e.Change)
		_, _ = fmt.Fprintln(text, e.Change)
		for _, line := range e.lines {
			_, _ = fmt.Fprintln(text, "  "+line)
		}
		part := hmac.New(sha256.New, key)
		_, _ = fmt.Fprintf(part, "%q %s %q %q", e.Group, e.Change, e.lines, e.digest)
		d.Parts = append(d.Parts, written(part))
		d.Fields = append(d.Fields, e.lines)
		_, _ = fmt.Fprintln(all, d.Parts[len(d.Parts)-1])
	}
	d.Text, d.Digest = text.String(), written(all)
	return d
}

// written writes a digest.
func written(h hash.Hash) string { return "sha256:" + hex.EncodeToString(h.Sum(nil)) }

// compare tells what would become of one object. One that is created anew is deleted first, which is a change of its own: who has
// approved that an object is created has not approved that one of its name goes.
func (r *run) compare(ctx context.Context, k *task) ([]entry, error) {
	e := entry{Change: Change{Ref: k.Ref, Action: Unchanged}}
	live, err := r.client.Get(ctx, k.Ref)
	if err != nil && !apierrors.IsNotFound(err) && !isNoMatch(err) {
		return nil, err
	}
	if err != nil {
		live = nil
	}
	if k.marks.ignore || live != nil && (k.marks.ifNotPresent || r.owner.marks(live.GetLabels(), live.GetAnnotations()).ignore) {
		e.Action = Skipped
		return []entry{e}, nil
	}
	after, err := r.attempt(ctx, k, live)
	if err != nil {
		return nil, err
	}
	var before map[string]any
	switch {
	case live == nil || k.recreate:
		// What the API server makes up for a new object, such as addresses, is another each time.
		after, e.Action = k.object, Created
	default:
		before, e.Action = tidy(live.Object), Configured
	}
	e.lines = slices.Concat(k.fields, differences(before, tidy(after), k.Kind == "Secret" && k.Group == ""))
	if e.Action == Configured && len(e.lines) == 0 {
		e.Action = Unchanged
	}
	e.digest = digestOf(differences(before, tidy(after), false))
	if k.recreate {
		return []entry{{Change: Change{Ref: k.Ref, Action: Deleted}, digest: string(live.GetUID())}, e}, nil
	}
	return []entry{e}, nil
}

// attempt returns what the object would be. One that nobody can try, because what it needs is of the same set, or because it is
// created anew, would be as desired.
func (r *run) attempt(ctx context.Context, k *task, live *unstructured.Unstructured) (map[string]any, error) {
	if live != nil {
		k.known = true
		k.live = health.Of(&metav1.ObjectMeta{
			UID: live.GetUID(), ResourceVersion: live.GetResourceVersion(), Labels: live.GetLabels(), Annotations: live.GetAnnotations(),
		})
		if err := r.screen(ctx, k); err != nil {
			return nil, err
		}
	}
	after, err := r.client.Try(ctx, k.Ref, k.content(), access.ApplyOptions{Manager: r.owner.Manager, Force: true, Strict: r.options.Strict})
	switch {
	case err == nil && live != nil:
		k.fields = r.takes(k, live, after)
		return after.Object, nil
	case err == nil:
		return after.Object, nil
	case live != nil && r.mayRecreate(ctx, k, err):
		k.recreate = true
		return k.object, nil
	case live == nil && len(k.after) > 0 && (apierrors.IsNotFound(err) || apierrors.IsForbidden(err) || isNoMatch(err)):
		return k.object, nil
	}
	return nil, err
}

// takes tells which fields of others would be removed, because their managers are taken over. A dry run does not show that.
func (r *run) takes(k *task, live, after *unstructured.Unstructured) []string {
	was, err := r.ownedFields(k, live.GetManagedFields())
	if err != nil {
		return nil
	}
	is, err := r.ownedFields(k, after.GetManagedFields())
	if err != nil {
		return nil
	}
	var out []string
	was.foreign.Leaves().Difference(is.ours).Iterate(func(p fieldpath.Path) { out = append(out, "- "+p.String()) })
	slices.Sort(out)
	return out
}

// leaving returns what a Prune would do.
func (r *run) leaving(ctx context.Context, set []desired) ([]entry, error) {
	stays := make(map[access.ID]struct{}, len(set))
	for i := range set {
		stays[set[i].ID] = struct{}{}
	}
	stale := slices.DeleteFunc(slices.Clone(r.options.Inventory), func(ref access.Ref) bool {
		_, ok := stays[ref.ID]
		return ok
	})
	slices.SortFunc(stale, func(x, y access.Ref) int { return r.order.compare(y.ID, x.ID) })
	var out []entry
	for _, ref := range stale {
		m, err := r.client.GetMeta(ctx, access.Ref{ID: ref.ID})
		if apierrors.IsNotFound(err) || isNoMatch(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("look at %s, which is to be deleted: %w", ref.ID, err)
		}
		p := &pruning{Applier: r.Applier, client: r.client, owner: r.owner}
		if marks := r.owner.marks(m.Labels, m.Annotations); r.owner.owns(m.Labels) && !marks.keep && !marks.ignore && !p.claimed(ref.ID) {
			out = append(out, entry{Change: Change{Ref: ref, Action: Deleted}, digest: string(m.UID)})
		}
	}
	return out, nil
}

// tidy returns what of an object is somebody's intention.
func tidy(obj map[string]any) map[string]any {
	out := maps.Clone(obj)
	delete(out, "status")
	metadata, _ := out["metadata"].(map[string]any)
	metadata = maps.Clone(metadata)
	for _, field := range []string{"managedFields", "resourceVersion", "uid", "generation", "creationTimestamp", "selfLink"} {
		delete(metadata, field)
	}
	out["metadata"] = metadata
	return out
}

func digestOf(lines []string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q", lines))
	return hex.EncodeToString(sum[:])
}

// differences returns one line for each field that differs.
func differences(before, after map[string]any, secret bool) []string {
	d := differ{secret: secret}
	var was any
	if before != nil {
		was = before
	}
	d.walk("", was, after)
	return d.lines
}

type differ struct {
	secret bool
	lines  []string
}

func (d *differ) walk(path string, before, after any) {
	if reflect.DeepEqual(before, after) {
		return
	}
	was, ok1 := before.(map[string]any)
	is, ok2 := after.(map[string]any)
	if (ok1 || before == nil) && ok2 {
		d.fields(path, was, is)
		return
	}
	wasList, ok1 := before.([]any)
	isList, ok2 := after.([]any)
	if ok1 && ok2 && len(wasList) == len(isList) {
		for i := range isList {
			d.walk(path+"["+strconv.Itoa(i)+"]", wasList[i], isList[i])
		}
		return
	}
	switch {
	case before == nil:
		d.lines = append(d.lines, "+ "+path+": "+d.show(path, after))
	case after == nil:
		d.lines = append(d.lines, "- "+path+": "+d.show(path, before))
	default:
		d.lines = append(d.lines, "~ "+path+": "+d.show(path, before)+" -> "+d.show(path, after))
	}
}

func (d *differ) fields(path string, before, after map[string]any) {
	names := map[string]struct{}{}
	for name := range before {
		names[name] = struct{}{}
	}
	for name := range after {
		names[name] = struct{}{}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		d.walk(path+"."+name, before[name], after[name])
	}
	if before == nil && len(after) == 0 {
		d.lines = append(d.lines, "+ "+path+": {}")
	}
}

// show writes a value. Of a Secret, only what it is and how it is called is shown: an annotation may be a copy of it.
func (d *differ) show(path string, v any) string {
	for _, open := range []string{".apiVersion", ".kind", ".type", ".immutable", ".metadata.name", ".metadata.labels"} {
		if d.secret && (path == open || strings.HasPrefix(path, open+".")) {
			d = &differ{}
		}
	}
	if d.secret {
		return masked
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return masked
	}
	return string(raw)
}
