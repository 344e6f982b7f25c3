package health_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/health"
)

// slowRule judges Deployments by the number of their replicas, each time after it was let go.
type slowRule struct{ begun, let chan struct{} }

func newSlowRule() *slowRule { return &slowRule{make(chan struct{}, 100), make(chan struct{})} }

func (s *slowRule) rules(key string) map[schema.GroupKind]health.Rule {
	return map[schema.GroupKind]health.Rule{{Group: "apps", Kind: "Deployment"}: {Key: key, Evaluate: func(obj map[string]any) (status.Status, string) {
		s.begun <- struct{}{}
		<-s.let
		replicas, _, _ := unstructured.NestedInt64(obj, "spec", "replicas")
		if replicas == 3 {
			return status.CurrentStatus, "three"
		}
		return status.InProgressStatus, fmt.Sprint(replicas)
	}}}
}

// TestSlowRuleDelaysNobody holds that a rule which takes its time keeps nobody from what happens: not those of other namespaces
// with a rule of their own, nor those without, nor those who look for drift in the very object.
func TestSlowRuleDelaysNobody(t *testing.T) {
	b := newBench(t)
	slow, quick := newSlowRule(), newSlowRule()
	close(quick.let)
	mine, theirs, plain := b.deployment("mine"), b.deployment("theirs"), b.deployment("plain")
	team, others, nobody := b.owner("app"), access.ID{Kind: "Kustomization", Namespace: "others", Name: "app"}, b.owner("plain")
	b.hub.Track(team, label, []access.ID{mine})
	b.hub.Check(team, health.Checks{Rules: slow.rules("slow")})
	<-slow.begun // and does not come to an end

	b.hub.Track(nobody, label, []access.ID{plain})
	b.available(plain)
	b.settle(nobody, health.Goal{})

	b.hub.Track(others, label, []access.ID{theirs})
	b.hub.Check(others, health.Checks{Rules: quick.rules("quick")})
	b.patch(theirs, "", `{"spec":{"replicas":3}}`)
	b.settle(others, health.Goal{})

	version := b.patch(mine, "", `{"metadata":{"labels":{"drift":"yes"}}}`)
	for {
		if live, _ := b.hub.Lookup(mine, label); live.ResourceVersion == version {
			break
		}
		b.pause()
	}
	close(slow.let)
}

// TestOnlyTheLatestIsJudged holds that a verdict counts for the version of the object that it is about, and that versions which
// nobody will ever ask for are not judged.
func TestOnlyTheLatestIsJudged(t *testing.T) {
	b := newBench(t)
	slow := newSlowRule()
	id, owner := b.deployment("app"), b.owner("app")
	b.patch(id, "", `{"spec":{"replicas":3}}`)
	b.hub.Track(owner, label, []access.ID{id})
	b.hub.Check(owner, health.Checks{Rules: slow.rules("slow")})
	<-slow.begun // about three replicas, which is current

	var version string
	for i := range 5 {
		version = b.patch(id, "", fmt.Sprintf(`{"spec":{"replicas":%d}}`, 4+i))
	}
	for {
		if live, _ := b.hub.Lookup(id, label); live.ResourceVersion == version {
			break
		}
		b.pause()
	}
	slow.let <- struct{}{}
	<-slow.begun // the one about three has ended
	if r := b.hub.Report(owner, nil); len(r.Unknown) != 1 {
		t.Errorf("while the latest version is judged the report is %+v", r)
	}
	slow.let <- struct{}{}
	for {
		r := b.hub.Report(owner, nil)
		if len(r.InProgress) == 1 && r.InProgress[0].Message == "8" {
			break
		}
		if len(r.Unknown) != 1 {
			t.Fatalf("the report is %+v", r)
		}
		b.pause()
	}
	if n := len(slow.begun); n > 0 {
		t.Errorf("%d more versions are judged", n)
	}
	close(slow.let)
}

// TestRuleThatChanges holds that the rule in force decides, even if it came into force while another one was asked.
func TestRuleThatChanges(t *testing.T) {
	b := newBench(t)
	slow, quick := newSlowRule(), newSlowRule()
	close(quick.let)
	id, owner := b.deployment("app"), b.owner("app")
	b.hub.Track(owner, label, []access.ID{id})
	b.hub.Check(owner, health.Checks{Rules: slow.rules("slow")})
	<-slow.begun
	b.hub.Check(owner, health.Checks{Rules: quick.rules("quick")})
	b.hub.Check(owner, health.Checks{Rules: quick.rules("quick")})
	close(slow.let)
	for {
		if r := b.hub.Report(owner, nil); len(r.InProgress) == 1 {
			break
		}
		b.pause()
	}
	b.patch(id, "", `{"spec":{"replicas":3}}`)
	b.settle(owner, health.Goal{})
	b.hub.Check(owner, health.Checks{})
	b.hub.Untrack(owner)
}

// TestHubTakesRoom holds that what a hub keeps is bounded: beyond that, it keeps what was applied through it, and gives everything
// back in the end.
func TestHubTakesRoom(t *testing.T) {
	b := newBench(t)
	for i := range 20 {
		b.config(fmt.Sprint("other-", i), "other")
	}
	mine, owner := b.config("mine", "app"), b.owner("app")
	b.hub.Close()
	room := access.NewRoom("the cluster", 10_000, nil)
	small := health.New(b.factory.Own(), health.Options{Room: room, Wake: func(access.ID, health.Cause) {}})
	t.Cleanup(small.Close)
	small.Track(owner, label, []access.ID{mine})
	for !small.Blind(owner) {
		b.pause()
	}
	if room.Used() > 2000 {
		t.Errorf("%d bytes are taken by what was not applied through the hub", room.Used())
	}
	if err := small.Poll(t.Context(), b.factory.Own(), owner); err != nil {
		t.Error(err)
	}
	if r := small.Report(owner, nil); len(r.Current) != 1 || len(r.Blind) != 1 {
		t.Errorf("what was applied is %+v", r)
	}
	if room.Used() == 0 {
		t.Error("nothing is taken by what was applied through the hub")
	}
	if small.Close(); room.Used() != 0 {
		t.Errorf("%d bytes are taken by a hub that is closed", room.Used())
	}

	large := health.New(b.factory.Own(), health.Options{Room: access.NewRoom("the cluster", 1<<20, nil), Wake: func(access.ID, health.Cause) {}})
	t.Cleanup(large.Close)
	large.Track(owner, label, []access.ID{mine})
	if err := large.Ready(t.Context(), owner); err != nil || large.Blind(owner) {
		t.Errorf("where there is room: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, ok := large.Settle(ctx, owner, health.Goal{}); !ok {
		t.Error("what was applied is not seen")
	}
}
