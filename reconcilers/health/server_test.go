package health_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/health"
)

func TestHealthIsAnEvent(t *testing.T) {
	b := newBench(t)
	owner := b.owner("app")
	config, app := b.config("config", "app"), b.deployment("app")
	b.hub.Track(owner, label, []access.ID{config, app})
	if err := b.hub.Ready(b.ctx(), owner); err != nil {
		t.Fatal(err)
	}
	r := b.hub.Report(owner, nil)
	same(t, "a ConfigMap is current when it is there", []string{"config"}, names(r.Current))
	same(t, "a Deployment is not", []string{"app"}, names(r.InProgress))

	b.hub.Await(owner, &health.Goal{})
	same(t, "nobody is woken too early", 0, len(b.woken))
	b.available(app)
	same(t, "the owner is woken", owner, b.wake())
	same(t, "by health", true, b.hub.Report(owner, nil).Healthy())

	b.hub.Await(owner, &health.Goal{})
	same(t, "a goal that is reached wakes at once", owner, b.wake())

	b.patch(app, "", `{"spec":{"replicas":2}}`)
	for b.hub.Report(owner, nil).Healthy() {
		b.pause()
	}
	b.hub.Await(owner, &health.Goal{})
	b.patch(app, "status", `{"status":{"observedGeneration":2,"conditions":[{"type":"Progressing","status":"False","reason":"ProgressDeadlineExceeded"}]}}`)
	same(t, "a failure wakes", owner, b.wake())
	same(t, "and is reported", []health.Condition{{ID: app, Status: status.FailedStatus, Message: "Progress deadline exceeded"}}, b.hub.Report(owner, nil).Failed)
	r = b.settle(owner, health.Goal{Patient: true})
	same(t, "patience is for the others", []int{1, 1}, []int{len(r.Current), len(r.Failed)})
	b.watches(2)
	same(t, "two lists and two watches, and nothing else", map[string]int{"discover": 2, "list": 2, "watch": 2}, b.counter.Take())
}

func TestStaleHealthDoesNotCount(t *testing.T) {
	b := newBench(t)
	owner := b.owner("app")
	config := b.config("config", "app")
	b.hub.Track(owner, label, []access.ID{config})
	b.settle(owner, health.Goal{})

	b.hub.Expect(config, label, "999999999")
	r := b.hub.Report(owner, nil)
	same(t, "after a write, what was seen before counts no more", []string{"config"}, names(r.Unknown))
	_, k := b.hub.Lookup(config, label)
	same(t, "and is known to be behind", health.Behind, k)

	missing := b.id("", "ConfigMap", "missing")
	b.hub.Track(owner, label, []access.ID{config, missing})
	b.sees(missing, health.Absent)
	b.config("missing", "app")
	b.settle(owner, health.Goal{IDs: []access.ID{missing}})
}

func TestGoals(t *testing.T) {
	b := newBench(t)
	owner := b.owner("app")
	config := b.config("config", "app")
	b.hub.Track(owner, label, []access.ID{config})
	b.settle(owner, health.Goal{})
	b.hub.Await(owner, &health.Goal{Gone: true})
	b.delete(config)
	same(t, "being gone is a goal", owner, b.wake())
	b.hub.Check(owner, health.Checks{Vanishing: []access.ID{config}})
	same(t, "what goes by itself is current", true, b.hub.Report(owner, nil).Healthy())
	b.hub.Await(owner, &health.Goal{Gone: true, IDs: []access.ID{b.id("", "ConfigMap", "unknown")}})
	b.hub.Await(owner, nil)
	b.hub.Untrack(owner)
	same(t, "nobody is left", health.Report{}, b.hub.Report(owner, nil))
	same(t, "nobody is woken", 0, len(b.woken))
}

func TestWatchesGoOn(t *testing.T) {
	cases := map[string]struct {
		reason      string
		end, expire bool
		want        map[string]int
	}{
		"ended":   {"a watch that the API server ends goes on where it was", true, false, map[string]int{"watch": 1}},
		"cut":     {"what answers after one that was cut may have another past", false, false, map[string]int{"watch": 1, "list": 1}},
		"expired": {"one that is too old lists again", true, true, map[string]int{"watch": 1, "list": 1}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			owner := b.owner("app")
			kept, lost := b.config("kept", "app"), b.config("lost", "app")
			b.hub.Track(owner, label, []access.ID{kept, lost})
			b.settle(owner, health.Goal{})
			b.watches(1)
			b.patch(kept, "", `{"metadata":{"annotations":{"seen":"yes"}}}`)
			for b.sees(kept, health.Present).Annotations["seen"] == "" {
				b.pause()
			}
			b.counter.Take()
			b.cutter.cut(c.end, c.expire)
			b.delete(lost)
			b.patch(kept, "", `{"metadata":{"annotations":{"a":"b"}}}`)
			for b.sees(kept, health.Present).Annotations["a"] == "" {
				b.pause()
			}
			b.sees(lost, health.Absent)
			b.watches(1)
			same(t, c.reason, c.want, b.counter.Take())
		})
	}
}

func TestObserversSeeEverything(t *testing.T) {
	b := newBench(t)
	var mu sync.Mutex
	var seen []string
	b.hub.Observe(func(_, id access.ID, live *health.Live) {
		mu.Lock()
		defer mu.Unlock()
		what := "gone"
		if live != nil {
			what = live.Labels[namespace]
		}
		seen = append(seen, id.Name+" "+strings.ReplaceAll(what, b.namespace, "NS"))
	})
	owner := b.owner("app")
	config := b.config("config", "app")
	b.config("untracked", "app")
	b.hub.Track(owner, label, []access.ID{config})
	b.settle(owner, health.Goal{})
	b.patch(config, "", `{"metadata":{"labels":{"kustomize.toolkit.fluxcd.io/namespace":"other"}}}`)
	b.patch(config, "", `{"metadata":{"labels":{"kustomize.toolkit.fluxcd.io/name":null}}}`)
	b.sees(config, health.Absent)
	b.delete(config)
	b.config("config", "app")
	b.sees(config, health.Present)
	mu.Lock()
	defer mu.Unlock()
	same(t, "all events of what is tracked", []string{"config NS", "config other", "config gone", "config NS"}, seen)
	same(t, "what carries the owner's labels", []access.Ref{
		{ID: config, Version: "v1"}, {ID: b.id("", "ConfigMap", "untracked"), Version: "v1"},
	}, b.hub.Labelled(owner, label, namespace))
}

func TestChecksOfOthersObjects(t *testing.T) {
	b := newBench(t)
	owner := b.owner("app")
	b.create(strings.ReplaceAll(strings.ReplaceAll(deployment, "NAME", "theirs"), "kustomize.toolkit.fluxcd.io/name", "other"))
	theirs, missing := b.id("apps", "Deployment", "theirs"), b.id("", "ConfigMap", "missing")
	b.hub.Check(owner, health.Checks{Named: []access.ID{theirs, missing}})
	b.hub.Await(owner, &health.Goal{IDs: []access.ID{theirs, missing}})
	b.available(theirs)
	b.create(`{apiVersion: v1, kind: ConfigMap, metadata: {name: missing, namespace: NS}}`)
	same(t, "they are watched by name", owner, b.wake())
	b.watches(2)
	same(t, "one watch each", map[string]int{"discover": 2, "list": 2, "watch": 2}, b.counter.Take())
}

func TestRules(t *testing.T) {
	b := newBench(t)
	owner, other := b.owner("app"), b.owner("other")
	app := b.deployment("app")
	ids := []access.ID{app}
	rule := health.Rule{Key: "paused", Evaluate: func(object map[string]any) (status.Status, string) {
		if paused, _, _ := unstructured.NestedBool(object, "spec", "paused"); paused {
			return status.CurrentStatus, "it is paused"
		}
		return status.FailedStatus, "it is not paused"
	}}
	b.hub.Track(other, label, ids)
	if err := b.hub.Ready(b.ctx(), other); err != nil {
		t.Fatal(err)
	}
	b.hub.Check(owner, health.Checks{Rules: map[schema.GroupKind]health.Rule{{Group: "apps"}: rule}})
	b.hub.Track(owner, label, ids) // seen before the rule was in force
	r := b.settle(owner, health.Goal{})
	same(t, "the rule decides", []health.Condition{{ID: app, Status: status.FailedStatus, Message: "it is not paused"}}, r.Failed)
	b.patch(app, "", `{"spec":{"paused":true}}`)
	r = b.settle(owner, health.Goal{IDs: ids, Patient: true})
	for len(r.Current) == 0 {
		b.pause()
		r = b.hub.Report(owner, nil)
	}
	same(t, "at each event", "it is paused", r.Current[0].Message)
	same(t, "for its owner only", []string{"app"}, names(b.hub.Report(other, nil).InProgress))
	b.patch(app, "status", `{"status":{"observedGeneration":1}}`)
	for len(b.hub.Report(owner, nil).InProgress) == 0 { // until it has been judged
		b.pause()
	}
	same(t, "but not before its controller", "generation is 2, but latest observed generation is 1", b.hub.Report(owner, nil).InProgress[0].Message)
}

func TestKindThatIsNotServedYet(t *testing.T) {
	b := newBench(t)
	owner := b.owner("app")
	group := b.namespace + ".example.com"
	gadget := b.id(group, "Gadget", "gadget")
	b.hub.Track(owner, label, []access.ID{gadget})
	if err := b.hub.Ready(b.ctx(), owner); err != nil {
		t.Fatal(err)
	}
	same(t, "there are no objects of it", []string{"gadget"}, names(b.hub.Report(owner, nil).InProgress))
	b.create(`
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: gadgets.NS.example.com}
spec:
  group: NS.example.com
  scope: Namespaced
  names: {kind: Gadget, plural: gadgets}
  versions:
  - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}
`)
	crd := access.Ref{ID: access.ID{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition", Name: "gadgets." + group}}
	b.hub.Check(owner, health.Checks{Named: []access.ID{crd.ID}})
	b.settle(owner, health.Goal{IDs: []access.ID{crd.ID}})
	definition, err := b.admin.Get(b.ctx(), crd)
	if err != nil {
		t.Fatal(err)
	}
	b.factory.Learn(definition)
	b.admin.Factory().Learn(definition)
	for {
		_, err := b.admin.Apply(b.ctx(), access.Ref{ID: gadget, Version: "v1"}, fmt.Appendf(nil,
			`{"apiVersion":"%s/v1","kind":"Gadget","metadata":{"name":"gadget","namespace":"%s","labels":{"%s":"app"}}}`, group, b.namespace, label),
			access.ApplyOptions{Manager: "tester"})
		if err == nil {
			break
		}
		if !apierrors.IsNotFound(err) {
			t.Fatal(err)
		}
		b.pause()
	}
	b.hub.Expect(gadget, label, "1") // a write tells that the kind is served
	b.settle(owner, health.Goal{})
	b.delete(crd.ID)
	b.settle(owner, health.Goal{Gone: true})
}
