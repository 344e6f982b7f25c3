package apply_test

import (
	"slices"
	"testing"

	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/apply"
)

// check returns what deviates, and what is excluded.
func (b *bench) check(c *access.Client, set string, o apply.Options) ([]string, *apply.Deviations, error) {
	b.t.Helper()
	found, err := b.applier.Check(b.ctx(), c, b.owner, b.objects(set), o)
	return b.described(found), found, err
}

func (b *bench) described(found *apply.Deviations) []string {
	out := []string{}
	for _, d := range found.All {
		out = append(out, d.String())
	}
	for _, ref := range found.Excluded {
		out = append(out, ref.ID.String()+" excluded")
	}
	return b.anonymous(out)
}

// finds checks until the hub has seen what was done, and is woken for it.
func (b *bench) finds(reason, set string, o apply.Options, want ...string) {
	b.t.Helper()
	for {
		got, _, err := b.check(b.factory.Own(), set, o)
		if err != nil {
			b.t.Fatal(err)
		}
		if slices.Equal(got, want) {
			return
		}
		b.t.Logf("%s: %q", reason, got)
		b.wake()
	}
}

func (b *bench) correct(set string, o apply.Options) []string {
	b.t.Helper()
	r, err := b.applier.Correct(b.ctx(), b.factory.Own(), b.owner, b.objects(set), o)
	if err != nil {
		b.t.Fatal(err)
	}
	return b.anonymous(lines(r.Changes))
}

func (b *bench) datum(key string) any {
	data, _ := b.get(b.ref("ConfigMap", "config")).Object["data"].(map[string]any)
	return data[key]
}

func TestCheckAndCorrect(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	o := apply.Options{Digest: "1"}
	b.mustApply(three, apply.Options{})
	b.counter.Take()
	b.finds("applied", three, o)
	b.requests("what was applied needs no request", map[string]int{})

	b.edit(b.ref("ConfigMap", "config"), "kubectl-edit", `{"data":{"added":"x"},"metadata":{"annotations":{"note":"x"}}}`)
	b.wake()
	b.counter.Take()
	b.finds("added", three, o)
	b.requests("what others add takes one look", map[string]int{"dry-run": 1})
	same(t, "it stays", any("x"), b.datum("added"))

	b.edit(b.ref("ConfigMap", "config"), "somebody", `{"data":{"key":"edited"}}`)
	b.wake()
	b.counter.Take()
	b.finds("edited", three, o, "ConfigMap/NS/config changed (0 additions, 1 changes, 0 removals)")
	b.requests("a change is tried and then compared", map[string]int{"dry-run": 2, "get": 1})
	if _, ok := b.applier.Deviations(b.owner.ID, "1"); !ok {
		t.Error("what was found does not hold though nothing has happened since")
	}
	b.finds("still", three, o, "ConfigMap/NS/config changed (0 additions, 1 changes, 0 removals)")
	b.requests("what is known to deviate costs nothing", map[string]int{})

	same(t, "corrected", []string{"ConfigMap/NS/config configured"}, b.correct(three, o))
	same(t, "as desired", any("value"), b.datum("key"))
	same(t, "what others have added stays", any("x"), b.datum("added"))
	b.counter.Take()
	b.finds("corrected", three, o)
	b.requests("what was corrected needs no request", map[string]int{})

	if err := b.admin.Delete(b.ctx(), b.ref("Service", "app"), access.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	b.wake()
	b.finds("deleted", three, o, "Service/NS/app removed")
	same(t, "created", []string{"Service/NS/app created"}, b.correct(three, o))
	b.finds("created", three, o)

	first := b.applier.Checked(b.owner.ID)
	full := o
	full.Full = true
	b.counter.Take()
	b.finds("asked for", three, full)
	b.requests("all are tried when that is asked for", map[string]int{"dry-run": 3})
	if last := b.applier.Checked(b.owner.ID); first.IsZero() || !last.After(first) {
		t.Errorf("everything was compared first at %s and last at %s", first, last)
	}

	b.restart()
	b.edit(b.ref("ConfigMap", "config"), "somebody", `{"data":{"key":null}}`)
	b.counter.Take()
	b.finds("after a restart", three, o, "ConfigMap/NS/config changed (1 additions, 0 changes, 0 removals)")
	b.requests("after a restart everything is tried once", map[string]int{"dry-run": 4, "get": 1})
	same(t, "corrected after a restart", []string{"ConfigMap/NS/config configured"}, b.correct(three, o))
	same(t, "an apply has nothing to do", []string{}, b.anonymous(b.mustApply(three, apply.Options{})))
}

// TestCheckOfWhatStays holds that somebody is woken about what deviates when it changes, and only then.
func TestCheckOfWhatStays(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	o := apply.Options{Digest: "1"}
	b.mustApply(three, apply.Options{})
	b.finds("applied", three, o)

	b.edit(b.ref("ConfigMap", "config"), "somebody", `{"data":{"key":"edited"}}`)
	b.finds("edited", three, o, "ConfigMap/NS/config changed (0 additions, 1 changes, 0 removals)")

	b.edit(b.ref("ConfigMap", "config"), "somebody", `{"data":{"key":"edited again"}}`)
	for news := false; !news; { // or nobody is woken
		b.wake()
		_, found, err := b.check(b.factory.Own(), three, o)
		if news = found.News; err != nil {
			t.Fatal(err)
		}
	}
	_, found, err := b.check(b.factory.Own(), three, o)
	if err != nil || found.News {
		t.Errorf("nothing is news: %+v, %v", found, err)
	}

	b.edit(b.ref("ConfigMap", "config"), "somebody", `{"data":{"key":"value"}}`)
	b.finds("changed back by hand", three, o)

	b.edit(b.ref("ConfigMap", "config"), "somebody", `{"data":{"key":"edited"}}`)
	b.finds("edited", three, o, "ConfigMap/NS/config changed (0 additions, 1 changes, 0 removals)")
	same(t, "an apply puts it back", []string{"ConfigMap/NS/config configured"}, b.anonymous(b.mustApply(three, apply.Options{})))
}

const excluding = `
apiVersion: v1
kind: ConfigMap
metadata: {name: config, namespace: NS, annotations: {kustomize.toolkit.fluxcd.io/driftDetection: disabled}}
data: {key: value}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: other, namespace: NS}
data: {key: value, more: value}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: whole, namespace: NS}
data: {key: value}
`

func TestCheckIgnores(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	o := apply.Options{Digest: "1", Ignore: []meta.IgnoreRule{
		{Paths: []string{"/data/key"}, Target: &meta.Selector{Name: "other"}},
		{Paths: []string{""}, Target: &meta.Selector{Name: "whole"}},
	}}
	out := []string{"ConfigMap/NS/config excluded", "ConfigMap/NS/whole excluded"}
	b.mustApply(excluding, apply.Options{})
	b.finds("applied", excluding, o, out...)

	for _, name := range []string{"config", "other", "whole"} {
		b.edit(b.ref("ConfigMap", name), "somebody", `{"data":{"key":"edited"}}`)
	}
	b.wake()
	b.finds("what is ignored is edited", excluding, o, out...)
	b.edit(b.ref("ConfigMap", "other"), "somebody", `{"data":{"more":"edited"}}`)
	b.finds("edited", excluding, o, append([]string{"ConfigMap/NS/other changed (0 additions, 1 changes, 0 removals)"}, out...)...)
	same(t, "corrected", []string{"ConfigMap/NS/other configured"}, b.correct(excluding, o))
	same(t, "the fields", any(map[string]any{"key": "edited", "more": "value"}), b.get(b.ref("ConfigMap", "other")).Object["data"])

	b.edit(b.ref("ConfigMap", "other"), "somebody", `{"metadata":{"labels":{"kustomize.toolkit.fluxcd.io/driftDetection":"Disabled"}},"data":{"more":"x"}}`)
	out = slices.Insert(out, 1, "ConfigMap/NS/other excluded")
	b.finds("excluded by hand", excluding, o, out...)
	same(t, "an apply is not about drift", []string{
		"ConfigMap/NS/config configured", "ConfigMap/NS/other configured", "ConfigMap/NS/whole configured",
	}, b.anonymous(b.mustApply(excluding, apply.Options{})))
	same(t, "as desired", any("value"), b.datum("key"))
}

// TestCheckOfOthersObjects holds that what was not written by server-side apply is compared all the same, and watched.
func TestCheckOfOthersObjects(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	const set = `
apiVersion: v1
kind: ConfigMap
metadata:
  name: config
  namespace: NS
  labels: {kustomize.toolkit.fluxcd.io/name: app, kustomize.toolkit.fluxcd.io/namespace: NS}
data: {key: value}
`
	o := apply.Options{Digest: "1"}
	b.create(set)
	b.finds("created", set, o)
	b.counter.Take()
	b.finds("nothing has happened", set, o)
	b.requests("it is not looked at again", map[string]int{})

	b.edit(b.ref("ConfigMap", "config"), "tester", `{"data":{"key":"edited","added":"x"}}`)
	b.finds("edited", set, o, "ConfigMap/NS/config changed (0 additions, 1 changes, 0 removals)")
	same(t, "corrected", []string{"ConfigMap/NS/config configured"}, b.correct(set, o))
	same(t, "as desired", any("value"), b.datum("key"))
	same(t, "what others have added stays", any("x"), b.datum("added"))
	b.finds("corrected", set, o)
}

// TestCheckAsTenant holds that a check needs the rights of its client, and tells apart what it may not do.
func TestCheckAsTenant(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.mustApply(three, apply.Options{})
	b.edit(b.ref("ConfigMap", "config"), "somebody", `{"data":{"key":"edited"}}`)
	b.edit(b.ref("Service", "app"), "somebody", `{"spec":{"ports":[{"port":81,"name":"http"}]}}`)
	b.restart()
	tenant := b.tenant("configmaps", "get, patch")
	o := apply.Options{Digest: "1"}
	got, _, err := b.check(tenant, three, o)
	same(t, "what may be looked at", []string{"ConfigMap/NS/config changed (0 additions, 1 changes, 0 removals)"}, got)
	errs, ok := err.(apply.Errors) //nolint:errorlint // the type is the point
	if !ok || len(errs) != 2 {
		t.Fatalf("the errors are %v", err)
	}
	if _, ok := b.applier.Deviations(b.owner.ID, "1"); ok {
		t.Error("a check that was refused counts")
	}
	r, err := b.applier.Correct(b.ctx(), tenant, b.owner, b.objects(three), o)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "corrected", []string{"ConfigMap/NS/config configured"}, b.anonymous(lines(r.Changes)))
}
