package resourceset

import (
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"

	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/health"
	"github.com/weir-dev/weir/reconcilers/resourceset/template"
)

func TestChoose(t *testing.T) {
	t.Parallel()
	steady := observed{key: "a", known: "a", clean: true, unchecked: time.Hour, due: 6 * time.Hour}
	for name, tc := range map[string]struct {
		reason string
		change func(*observed)
		want   decision
	}{
		"steady":    {"nothing has changed", func(*observed) {}, decision{}},
		"changed":   {"other inputs", func(o *observed) { o.key = "b" }, decision{work: true}},
		"unknown":   {"the process has begun, and every object is new to it", func(o *observed) { o.known, o.unchecked = "", 100*time.Hour }, decision{work: true}},
		"drift":     {"somebody has changed an object", func(o *observed) { o.clean = false }, decision{work: true}},
		"asked":     {"who asks wants to know for sure", func(o *observed) { o.asked = true }, decision{work: true, full: true}},
		"due":       {"events may have been lost", func(o *observed) { o.unchecked = 6 * time.Hour }, decision{work: true, full: true}},
		"Jobs":      {"one may have failed since", func(o *observed) { o.jobs, o.fresh = true, true }, decision{work: true}},
		"Jobs, old": {"it was looked at in this attempt", func(o *observed) { o.jobs = true }, decision{}},
	} {
		o := steady
		tc.change(&o)
		if got := choose(o); got != tc.want {
			t.Errorf("%s: %s: got %+v, want %+v", name, tc.reason, got, tc.want)
		}
	}
}

func TestJudge(t *testing.T) {
	t.Parallel()
	at := func(name string, s status.Status) health.Condition {
		return health.Condition{ID: access.ID{Kind: "ConfigMap", Namespace: "ns", Name: name}, Status: s}
	}
	for name, tc := range map[string]struct {
		reason  string
		report  health.Report
		elapsed time.Duration
		want    judgement
	}{
		"healthy": {"whenever that is", health.Report{Current: []health.Condition{at("a", "Current")}}, time.Hour, judgement{passed: true}},
		"failed": {
			"one that has failed is enough", health.Report{Failed: []health.Condition{at("b", "Failed")}, InProgress: []health.Condition{at("a", "InProgress")}}, 0,
			judgement{failure: "failed early due to stalled resources: [ConfigMap/ns/b status: 'Failed']"},
		},
		"waiting": {"until the timeout", health.Report{InProgress: []health.Condition{at("a", "InProgress")}}, 20 * time.Second, judgement{after: 40 * time.Second}},
		"blind": {
			"nobody wakes for it", health.Report{InProgress: []health.Condition{at("a", "InProgress")}, Blind: []access.ID{{}}}, 0, judgement{after: lookAgain},
		},
		"late": {
			"in the order of names", health.Report{InProgress: []health.Condition{at("b", "InProgress")}, Unknown: []health.Condition{at("a", "Unknown")}}, time.Minute,
			judgement{failure: "timeout of 1m0s waiting for: [ConfigMap/ns/a status: 'Unknown', ConfigMap/ns/b status: 'InProgress']"},
		},
	} {
		if diff := cmp.Diff(tc.want, judge(tc.report, tc.elapsed, time.Minute), cmp.AllowUnexported(judgement{})); diff != "" {
			t.Errorf("%s: %s (-want +got):\n%s", name, tc.reason, diff)
		}
	}
}

func TestLinks(t *testing.T) {
	t.Parallel()
	links := &Links{}
	owner := func(i int) types.NamespacedName { return types.NamespacedName{Namespace: "ns", Name: strconv.Itoa(i)} }
	ref := func(name string) template.Reference {
		return template.Reference{Use: template.Copy, Kind: "Secret", Namespace: "ns", Name: name}
	}
	to := func(name string) []types.NamespacedName {
		return links.To("Secret", types.NamespacedName{Namespace: "ns", Name: name})
	}
	var all sync.WaitGroup
	for i := range 3 {
		all.Go(func() {
			links.set(owner(i), []template.Reference{ref("a"), ref("b")})
			to("a")
			links.set(owner(i), []template.Reference{ref("a")})
		})
	}
	all.Wait()
	links.set(owner(1), nil)
	if diff := cmp.Diff([]types.NamespacedName{owner(0), owner(2)}, to("a")); diff != "" {
		t.Errorf("users of a (-want +got):\n%s", diff)
	}
	if got := append(to("b"), links.To("ConfigMap", types.NamespacedName{Namespace: "ns", Name: "a"})...); len(got) != 0 {
		t.Errorf("others are used by %v", got)
	}
	links.set(owner(0), nil)
	links.set(owner(2), nil)
	if len(links.uses)+len(links.used) != 0 {
		t.Errorf("what is kept of nobody: %v %v", links.uses, links.used)
	}
}
