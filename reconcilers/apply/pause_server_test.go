package apply_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/apply"
	"github.com/weir-dev/weir/reconcilers/health"
)

// blink is too short for anything to happen in it.
const blink = time.Nanosecond

const heldJob = `
apiVersion: batch/v1
kind: Job
metadata: {name: job, namespace: NS, finalizers: [example.com/held]}
spec: {suspend: true, template: {spec: {restartPolicy: Never, containers: [{name: main, image: "main:1"}]}}}
`

// release lets an object go that a finalizer holds.
func (b *bench) release(ref access.Ref) {
	b.t.Helper()
	b.edit(ref, "holder", `{"metadata":{"finalizers":null}}`)
}

// waits applies and returns what the apply waits for, or nil if it has come to its end.
func (b *bench) waits(set string, o apply.Options) (*apply.Result, *apply.Waiting) {
	b.t.Helper()
	r, err := b.apply(set, o)
	w, ok := errors.AsType[*apply.Waiting](err)
	if err != nil && !ok {
		b.t.Fatalf("apply: %v", err)
	}
	return r, w
}

func TestStageGivesTheWorkerBack(t *testing.T) {
	for name, full := range map[string]bool{"plain": false, "full": true} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			set := strings.ReplaceAll(definition+`---
apiVersion: KIND.example.com/v1
kind: Gadget
metadata: {name: gadget, namespace: NS}
spec: {size: 1}
---`+three, "KIND", b.namespace)
			o := apply.Options{Blink: blink, Digest: "1", Full: full}
			for {
				r, w := b.waits(set, o)
				if w == nil {
					same(t, "what the runs did is told as one", []string{
						"CustomResourceDefinition/gadgets.NS.example.com created",
						"ConfigMap/NS/config created", "Service/NS/app created", "Deployment/NS/app created",
						"Gadget/NS/gadget created",
					}, b.anonymous(lines(r.Changes)))
					break
				}
				b.hub.Await(b.owner.ID, &w.Goal)
				same(t, "who waits is woken", health.Settled, b.wake())
			}
			got := b.counter.Take("watch", "list", "discover")
			same(t, "nothing is written twice", 5, got["apply"])
			same(t, "nor tried twice, but for what an API server does not serve yet", true, got["dry-run"] < 10)
		})
	}
}

func TestRecreationGivesTheWorkerBack(t *testing.T) {
	b := newBench(t)
	job := b.ref("Job", "job")
	b.mustApply(heldJob+"---"+three, apply.Options{})
	uid := b.get(job).GetUID()
	changed := strings.ReplaceAll(heldJob, "main:1", "main:2") + "---" + strings.ReplaceAll(three, "key: value", "key: other")
	o := apply.Options{Blink: blink, Force: true, Digest: "2"}
	b.seen(b.get(job).GetResourceVersion(), job) // what the hub does not see yet is read
	b.counter.Take()

	r, w := b.waits(changed, o)
	if w == nil {
		t.Fatal("an apply waits for an object that is not gone")
	}
	same(t, "the goal", health.Goal{IDs: []access.ID{job.ID}, Gone: true}, w.Goal)
	same(t, "what was done so far", []string{"ConfigMap/NS/config configured"}, b.anonymous(lines(r.Changes)))
	b.requests("everything but the job is written", map[string]int{"dry-run": 2, "apply": 1, "delete": 1})

	_, w = b.waits(changed, o)
	same(t, "it is still there", true, w != nil)
	b.requests("which costs nothing", map[string]int{})

	b.hub.Await(b.owner.ID, &w.Goal)
	b.release(job)
	for b.wake() != health.Settled {
		continue // the deletion itself is drift
	}
	r, w = b.waits(changed, o)
	same(t, "it is gone", true, w == nil)
	same(t, "all is told at the end", []string{"ConfigMap/NS/config configured", "Job/NS/job created"}, b.anonymous(lines(r.Changes)))
	b.requests("one write is left", map[string]int{"apply": 1})
	same(t, "another job", true, b.get(job).GetUID() != uid)
	b.release(job)
}

func TestRecreationOfWhatIsNotSeen(t *testing.T) {
	b := newBench(t)
	job := b.ref("Job", "job")
	b.create(heldJob)
	o := apply.Options{Blink: blink, Force: true}
	changed := strings.ReplaceAll(heldJob, "main:1", "main:2")
	_, w := b.waits(changed, o)
	if w == nil {
		t.Fatal("an apply waits for an object that is not gone")
	}
	same(t, "nothing wakes", []any{0, true}, []any{len(w.Goal.IDs), w.After <= 2*time.Second})
	b.release(job)
	for w != nil {
		var r *apply.Result
		if r, w = b.waits(changed, o); w == nil {
			same(t, "at the end", []string{"Job/NS/job created"}, b.anonymous(lines(r.Changes)))
		}
	}
	b.release(job)
}

func TestWaitEnds(t *testing.T) {
	cases := map[string]struct {
		reason string
		step   time.Duration
		set    string
		want   func(r *apply.Result, err error) bool
	}{
		"time is up": {
			reason: "a wait is as long as one that holds the worker, and ends with the same words",
			step:   time.Minute, set: strings.ReplaceAll(heldJob, "main:1", "main:2"),
			want: func(_ *apply.Result, err error) bool {
				return err != nil && strings.Contains(err.Error(), "/job apply failed: Job/") &&
					strings.Contains(err.Error(), "/job wait failed: status: '")
			},
		},
		"superseded": {
			reason: "a set without the object has nothing to wait for",
			set:    three,
			want: func(r *apply.Result, err error) bool {
				return err == nil && len(r.Changes) == 3
			},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			fake := clocktesting.NewFakeClock(time.Now().Add(time.Hour))
			b.applier = apply.New(b.hub, apply.ApplierOptions{Wake: func(access.ID, health.Cause) {}, Clock: fake})
			b.mustApply(heldJob, apply.Options{})
			o := apply.Options{Blink: blink, Force: true}
			if _, w := b.waits(strings.ReplaceAll(heldJob, "main:1", "main:2"), o); w == nil {
				t.Fatal("an apply waits for an object that is not gone")
			}
			fake.Step(c.step)
			if r, err := b.apply(c.set, o); !c.want(r, err) {
				t.Errorf("%s: %v, %v", c.reason, lines(r.Changes), err)
			}
			b.release(b.ref("Job", "job"))
			if _, err := b.admin.GetMeta(b.ctx(), b.ref("Job", "job")); !apierrors.IsNotFound(err) {
				t.Errorf("the job: %v", err)
			}
		})
	}
}
