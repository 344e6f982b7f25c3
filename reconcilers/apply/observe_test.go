package apply

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/health"
)

func TestJudge(t *testing.T) {
	o := tester()
	id := access.ID{Kind: "ConfigMap", Namespace: "one", Name: "a"}
	live := func(version string, fields uint64) *health.Live {
		return &health.Live{
			UID: "u", ResourceVersion: version, Labels: o.Labels(),
			Managers: []health.Manager{{Name: o.Manager, Applied: true, Time: 100, Fields: fields}},
		}
	}
	now := time.Unix(1000, 0)
	type want struct {
		Dirty string
		Mark  uint64
		Woken bool
		Later bool
	}
	cases := map[string]struct {
		reason string
		edit   func(*record)
		live   *health.Live
		want   want
	}{
		"Changed": {"a later state without a field of ours is drift", nil, live("6", 8), want{changed, 7, true, false}},
		"Same":    {"one with all of them is none", nil, live("6", 7), want{"", 7, false, false}},
		"Old":     {"what was before our write does not count", nil, live("4", 8), want{"", 7, false, false}},
		"Echo":    {"the state that we wrote is as it should be", nil, live("5", 8), want{"", 8, false, false}},
		"Writing": {"nor does what is seen while we write", func(r *record) { r.writing = true }, live("6", 8), want{"", 7, false, false}},
		"NotSeen": {"an object that the watch has yet to see is not gone", nil, nil, want{"", 7, false, false}},
		"Again":   {"one wake-up is enough", func(r *record) { r.dirty = changed }, live("6", 8), want{changed, 7, false, false}},
		"Undone":  {"drift that is undone is none", func(r *record) { r.dirty = changed }, live("6", 7), want{"", 7, false, false}},
		"Fight":   {"in a fight, the wake-up comes later", func(r *record) { r.fight.until = now.Add(time.Minute) }, live("6", 8), want{changed, 7, true, true}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			clock := clocktesting.NewFakeClock(now)
			woken := make(chan struct{}, 1)
			hub := health.New(nil, health.Options{})
			t.Cleanup(hub.Close)
			a := New(hub, ApplierOptions{Clock: clock, Wake: func(access.ID, health.Cause) { woken <- struct{}{} }})
			r := &record{uid: "u", resourceVersion: "5", mark: newMark(100, 7)}
			if c.edit != nil {
				c.edit(r)
			}
			was := r.dirty
			a.ledgers[o.ID] = &ledger{owner: o, takeovers: o.takeovers(nil), records: map[access.ID]*record{id: r}}
			a.observe(o.ID, id, c.live)
			a.observe(o.ID, access.ID{Name: "other"}, c.live)
			got := want{Dirty: r.dirty, Mark: r.mark.fields, Later: clock.HasWaiters()}
			if got.Dirty != "" && was == "" {
				clock.Step(time.Minute)
				<-woken
				got.Woken = true
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", c.reason, diff)
			}
			if len(woken) > 0 {
				t.Errorf("%s: the owner was woken once more", c.reason)
			}
		})
	}
}

// TestDriftAfterThePlan holds that what is seen after an Apply has made its plan is not taken back by it.
func TestDriftAfterThePlan(t *testing.T) {
	o := tester()
	hub := health.New(nil, health.Options{})
	t.Cleanup(hub.Close)
	woken := make(chan struct{}, 1)
	a := New(hub, ApplierOptions{Wake: func(access.ID, health.Cause) { woken <- struct{}{} }})
	set := prepared(t, "{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: one}}", Options{})
	r := &record{uid: "u", resourceVersion: "5", digest: set[0].digest, mark: newMark(100, 7)}
	l := &ledger{owner: o, takeovers: o.takeovers(nil), records: map[access.ID]*record{set[0].ID: r}}
	a.ledgers[o.ID] = l
	run := a.plan(l, nil, o, set, nil, Options{})
	a.observe(o.ID, set[0].ID, &health.Live{
		UID: "u", ResourceVersion: "6", Labels: o.Labels(),
		Managers: []health.Manager{{Name: o.Manager, Applied: true, Time: 100, Fields: 8}},
	})
	<-woken
	run.settleOthers()
	if r.dirty != changed {
		t.Errorf("the object is %q, want %q", r.dirty, changed)
	}
}
