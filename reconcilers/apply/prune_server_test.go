package apply_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/apply"
	"github.com/weir-dev/weir/reconcilers/health"
)

// configs returns ConfigMaps of these names.
func configs(names ...string) string {
	var docs []string
	for _, name := range names {
		docs = append(docs, fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s, namespace: NS}\ndata: {key: value}", name))
	}
	return strings.Join(docs, "\n---\n")
}

// refs returns references as a status would hold them.
func (b *bench) refs(kind string, names ...string) []access.Ref {
	var out []access.Ref
	for _, name := range names {
		ref := b.ref(kind, name)
		ref.Version = "v1"
		out = append(out, ref)
	}
	return out
}

func actions(c apply.Changes) []string {
	out := []string{}
	for _, change := range c {
		out = append(out, change.Name+" "+string(change.Action))
	}
	return out
}

func TestPrune(t *testing.T) {
	b := newBench(t)
	names := []string{"a", "b", "foreign", "ignored", "kept", "missing", "stays"}
	b.mustApply(configs(names...), apply.Options{})
	b.edit(b.ref("ConfigMap", "foreign"), "x", `{"metadata":{"labels":{"kustomize.toolkit.fluxcd.io/namespace":"other"}}}`)
	b.edit(b.ref("ConfigMap", "ignored"), "x", `{"metadata":{"annotations":{"kustomize.toolkit.fluxcd.io/ssa":"Ignore"}}}`)
	b.edit(b.ref("ConfigMap", "kept"), "x", `{"metadata":{"labels":{"kustomize.toolkit.fluxcd.io/prune":"disabled"}}}`)
	if err := b.admin.Delete(b.ctx(), b.ref("ConfigMap", "missing"), access.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	b.restart() // so that everything above has been seen
	b.counter.Take()
	o := apply.Options{Inventory: b.refs("ConfigMap", names...)}
	b.mustApply(configs("stays"), o)
	b.counter.Take()
	p, err := b.applier.Prune(b.ctx(), b.factory.Own(), b.owner, b.refs("ConfigMap", names[:6]...), apply.PruneOptions{})
	if err != nil {
		t.Fatal(err)
	}
	same(t, "the reverse order of application", []string{
		"missing deleted", "kept skipped", "ignored skipped", "foreign skipped", "b deleted", "a deleted",
	}, actions(p.Changes))
	b.requests("only what is not there has to be read", map[string]int{"delete": 2, "get": 1})
	same(t, "survivors", 0, len(p.Survivors))
	for _, name := range []string{"a", "b"} {
		if _, err := b.admin.Get(b.ctx(), b.ref("ConfigMap", name)); !apierrors.IsNotFound(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{"foreign", "ignored", "kept", "stays"} {
		b.get(b.ref("ConfigMap", name))
	}
}

func TestPruneWhatMayNotBeDeleted(t *testing.T) {
	b := newBench(t)
	b.mustApply(configs("a")+"\n---"+three, apply.Options{})
	tenant := b.tenant("configmaps", "'*'")
	stale := append(b.refs("ConfigMap", "a", "config"), b.refs("Service", "app")...)
	p, err := b.applier.Prune(b.ctx(), tenant, b.owner, stale, apply.PruneOptions{})
	if !apierrors.IsForbidden(err) || !strings.HasPrefix(err.Error(), "delete failed, errors: Service/"+b.namespace+"/app delete failed: ") {
		t.Errorf("error: %v", err)
	}
	same(t, "what could be deleted", []string{"config deleted", "a deleted"}, actions(p.Changes))
	same(t, "what could not", b.refs("Service", "app"), p.Survivors)
}

func TestOrphansAreFound(t *testing.T) {
	b := newBench(t)
	b.mustApply(configs("a", "lost"), apply.Options{})
	const labelled = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s, namespace: NS, labels: {kustomize.toolkit.fluxcd.io/name: app, kustomize.toolkit.fluxcd.io/namespace: %s}}"
	b.create(fmt.Sprintf(labelled, "other", "elsewhere"))
	b.create(fmt.Sprintf(labelled, "copied", b.namespace))
	b.restart() // killed before the inventory was written
	if err := b.applier.Adopt(b.ctx(), b.owner, b.refs("ConfigMap", "a")); err != nil {
		t.Fatal(err)
	}
	same(t, "orphans", b.refs("ConfigMap", "lost"), b.applier.Orphans(b.owner, b.refs("ConfigMap", "a")))
	b.applier.Forget(b.owner.ID)
	same(t, "nothing is left of the owner", health.Report{}, b.hub.Report(b.owner.ID, nil))
}

func TestFightIsSlowedDown(t *testing.T) {
	b := newBench(t)
	clock := clocktesting.NewFakeClock(time.Now().Add(time.Hour))
	b.hub.Close()
	wake := func(_ access.ID, cause health.Cause) { b.woken <- cause }
	b.hub = health.New(b.factory.Own(), health.Options{Wake: wake})
	t.Cleanup(b.hub.Close)
	b.applier = apply.New(b.hub, apply.ApplierOptions{Wake: wake, Clock: clock})
	b.mustApply(configs("a"), apply.Options{Digest: "1"})
	for range 5 {
		b.edit(b.ref("ConfigMap", "a"), "rival", `{"data":{"key":"mine"}}`)
		b.wake()
		same(t, "at first, each edit is put back", 1, len(b.mustApply(configs("a"), apply.Options{Digest: "1"})))
	}
	b.edit(b.ref("ConfigMap", "a"), "rival", `{"data":{"key":"mine"}}`)
	for !clock.HasWaiters() { // until the hub has seen the edit
		b.settleBriefly()
	}
	r, err := b.apply(configs("a"), apply.Options{Digest: "1"})
	if err != nil {
		t.Fatal(err)
	}
	same(t, "then it is left for a while", []string{"a unchanged"}, actions(r.Changes))
	same(t, "and reported", []apply.Fight{{
		ID: b.ref("ConfigMap", "a").ID, Manager: "rival", Fields: []string{".data.key"}, Corrections: 5, Until: clock.Now().Add(10 * time.Second),
	}}, r.Fights)
	same(t, "nobody was woken", 0, len(b.woken))
	clock.Step(10 * time.Second)
	b.wake()
	same(t, "until it is time", []string{"a configured"}, actions(mustResult(b.apply(configs("a"), apply.Options{Digest: "1"})).Changes))
	same(t, "the pace is slower then", clock.Now().Add(20*time.Second), b.applier.Fights(b.owner.ID)[0].Until)
	clock.Step(20 * time.Second)
	same(t, "when nobody changes it back, there is no fight", 0, len(b.applier.Fights(b.owner.ID)))
	clock.Step(time.Hour)
	for range 4 {
		b.edit(b.ref("ConfigMap", "a"), "rival", `{"data":{"key":"mine"}}`)
		b.wake()
		same(t, "after a while, each edit is put back again", 1, len(b.mustApply(configs("a"), apply.Options{Digest: "1"})))
		same(t, "at once", 0, len(b.applier.Fights(b.owner.ID)))
	}
}

func mustResult(r *apply.Result, _ error) *apply.Result { return r }

func TestJobThatGoesAwayByItself(t *testing.T) {
	b := newBench(t)
	const job = `
apiVersion: batch/v1
kind: Job
metadata: {name: job, namespace: NS}
spec: {ttlSecondsAfterFinished: 0, template: {spec: {restartPolicy: Never, containers: [{name: main, image: "main:1"}]}}}
`
	b.mustApply(job, apply.Options{Digest: "1"})
	propagation := access.DeleteOptions{Propagation: "Background"}
	if err := b.admin.Delete(b.ctx(), b.ref("Job", "job"), propagation); err != nil {
		t.Fatal(err)
	}
	goal := health.Goal{Gone: true}
	b.hub.Check(b.owner.ID, health.Checks{Vanishing: []access.ID{b.ref("Job", "job").ID}})
	if _, ok := b.hub.Settle(b.ctx(), b.owner.ID, health.Goal{}); !ok {
		t.Fatal("a job that is done and gone is current", goal)
	}
	same(t, "it is not run again", true, b.applier.Clean(b.owner.ID, "1"))
	same(t, "not even when asked", []string{}, b.mustApply(job, apply.Options{}))
	same(t, "unless everything is checked", []string{"Job/NS/job created"}, b.anonymous(b.mustApply(job, apply.Options{Full: true})))
}

func TestWithoutTheRightToWatch(t *testing.T) {
	b := newBench(t)
	tenant := b.tenant("configmaps, services, deployments", "get, create, patch, delete")
	b.hub.Close()
	wake := func(_ access.ID, cause health.Cause) { b.woken <- cause }
	b.hub = health.New(tenant, health.Options{Wake: wake})
	t.Cleanup(b.hub.Close)
	b.applier = apply.New(b.hub, apply.ApplierOptions{Wake: wake})

	same(t, "everything is applied", 3, len(b.mustApply(three, apply.Options{Digest: "1"})))
	same(t, "but nobody can tell that it stays", false, b.applier.Clean(b.owner.ID, "1"))
	b.counter.Take()
	same(t, "so it is looked at", []string{}, b.mustApply(three, apply.Options{Digest: "1"}))
	b.requests("with one request each", map[string]int{"dry-run": 3})

	ids := []access.ID{b.ref("ConfigMap", "config").ID, b.ref("Deployment", "app").ID}
	r := b.hub.Report(b.owner.ID, ids)
	same(t, "health is unknown", []int{2, 2}, []int{len(r.Unknown), len(r.Blind)})
	if err := b.hub.Poll(b.ctx(), tenant, b.owner.ID); err != nil {
		t.Fatal(err)
	}
	r = b.hub.Report(b.owner.ID, ids)
	same(t, "until it is read", []int{0, 1, 1}, []int{len(r.Unknown), len(r.Current), len(r.InProgress)})

	b.edit(b.ref("ConfigMap", "config"), "somebody", `{"data":{"key":"edited"}}`)
	same(t, "drift is found when looked for", []string{"ConfigMap/NS/config configured"}, b.anonymous(b.mustApply(three, apply.Options{Digest: "1"})))
}

func TestThousandObjects(t *testing.T) {
	b := newBench(t)
	names := make([]string, 1000)
	for i := range names {
		names[i] = fmt.Sprintf("c%04d", i)
	}
	set := b.objects(configs(names...))
	run := func(o apply.Options) *apply.Result {
		r, err := b.applier.Apply(b.ctx(), b.factory.Own(), b.owner, set, o)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	same(t, "all are created", 1000, len(lines(run(apply.Options{Concurrency: 16}).Changes)))
	b.requests("in two requests each", map[string]int{"dry-run": 1000, "apply": 1000})
	report, ok := b.hub.Settle(b.ctx(), b.owner.ID, health.Goal{})
	same(t, "all become current", []any{true, 1000}, []any{ok, len(report.Current)})
	same(t, "nothing changes", false, run(apply.Options{}).Changes.Changed())
	b.requests("and nothing is asked", map[string]int{})
	b.edit(b.ref("ConfigMap", "c0500"), "somebody", `{"data":{"key":"edited"}}`)
	b.wake()
	same(t, "one of them is put back", []string{"ConfigMap/NS/c0500 configured"}, b.anonymous(lines(run(apply.Options{}).Changes)))
	b.requests("with one write", map[string]int{"get": 1, "apply": 1})
}
