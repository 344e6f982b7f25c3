package health_test

import (
	"context"
	"testing"
	"time"

	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/health"
)

// TestFollow shows that who follows objects is told of all that becomes of them, and of nothing else.
func TestFollow(t *testing.T) {
	b := newBench(t)
	secret := func(name string) access.ID {
		b.create(`{apiVersion: v1, kind: Secret, metadata: {name: ` + name + `, namespace: NS}}`)
		return b.id("", "Secret", name)
	}
	type event struct {
		Owner, ID access.ID
		Version   string
	}
	events := make(chan event, 100)
	follow := func(owner access.ID, ids ...access.ID) {
		b.hub.Follow(owner, ids, func(id access.ID, live *health.Live) {
			e := event{Owner: owner, ID: id}
			if live != nil {
				e.Version = live.ResourceVersion
			}
			events <- e
		})
	}
	next := func() event {
		select {
		case e := <-events:
			return e
		case <-time.After(patience):
			t.Fatal("nobody was told")
			return event{}
		}
	}
	one, other := b.owner("one"), b.owner("other")
	first := secret("first")
	secret("untold")
	second := b.id("", "Secret", "second")

	follow(one, first, second)
	ctx, cancel := context.WithTimeout(b.ctx(), patience)
	defer cancel()
	if err := b.hub.Ready(ctx, one); err != nil {
		t.Fatal(err)
	}
	there := next()
	same(t, "what is there", event{one, first, there.Version}, there)
	same(t, "by the time it is ready", 0, len(events))

	same(t, "edited", event{one, first, b.patch(first, "", `{"data":{"a":"Yg=="}}`)}, next())
	secret("second")
	created := next()
	same(t, "created", event{one, second, created.Version}, created)
	b.delete(second)
	same(t, "gone", event{one, second, ""}, next())
	same(t, "watched by name, as metadata", map[string]int{"discover": 2, "list": 2, "watch": 2}, b.counter.Take())

	follow(other, first)
	there = next()
	same(t, "who comes later is told what is there", event{other, first, there.Version}, there)
	follow(one)
	b.patch(first, "", `{"data":{"a":"Yw=="}}`)
	same(t, "who no longer follows is not told", other, next().Owner)
	b.hub.Untrack(other)
	b.patch(first, "", `{"data":{"a":"ZA=="}}`)
	b.hub.Follow(one, []access.ID{first}, func(id access.ID, _ *health.Live) { events <- event{Owner: one, ID: id} })
	same(t, "nor is who is gone", one, next().Owner)
}
