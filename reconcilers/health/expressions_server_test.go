package health_test

import (
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/expression"
	"github.com/weir-dev/weir/reconcilers/health"
)

// TestRulesOfBareKinds shows that expressions see the content of objects that are watched as metadata only: those objects, and
// no others, are read at their events.
func TestRulesOfBareKinds(t *testing.T) {
	b := newBench(t)
	compiler, err := expression.New()
	if err != nil {
		t.Fatal(err)
	}
	rules, err := health.Rules(compiler, []meta.CustomHealthCheck{{
		APIVersion: "v1", Kind: "ConfigMap", HealthCheckExpressions: meta.HealthCheckExpressions{Current: "data.state == 'done'"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	mine, theirs := b.owner("mine"), b.owner("theirs")
	checked, plain := b.config("checked", "mine"), b.config("plain", "theirs")
	b.hub.Check(mine, health.Checks{Rules: rules})
	b.hub.Track(mine, label, []access.ID{checked})
	b.hub.Track(theirs, label, []access.ID{plain})
	b.settle(theirs, health.Goal{})
	for b.hub.Report(mine, nil).InProgress == nil {
		b.pause()
	}
	same(t, "what is missing is awaited", []string{"checked"}, names(b.hub.Report(mine, nil).InProgress))
	b.hub.Await(mine, &health.Goal{})
	b.patch(plain, "", `{"data":{"state":"done"}}`)
	b.patch(checked, "", `{"data":{"state":"done"}}`)
	same(t, "its owner is woken when it comes", mine, b.wake())
	same(t, "and nobody reads what has no rule", 2, b.counter.Take()["get"])
	same(t, "the rules of a kind are those of its group", true, rules[schema.GroupKind{Kind: "ConfigMap"}].Evaluate != nil)
}
