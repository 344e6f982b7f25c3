package apply_test

import (
	"strings"
	"testing"

	"github.com/weir-dev/weir/reconcilers/apply"
	"github.com/weir-dev/weir/reconcilers/health"
	"github.com/weir-dev/weir/test/cluster"
)

// TestOutage holds that what is known survives the API server, and that what happens afterwards is noticed again.
func TestOutage(t *testing.T) {
	c := cluster.New(t, cluster.Options{})
	b := newBenchOn(t, c.Config())
	o := apply.Options{Digest: "1"}
	b.mustApply(three, o)
	if err := c.Kill("kube-apiserver"); err != nil {
		t.Fatal(err)
	}
	same(t, "without an API server, nothing is known to have changed", true, b.applier.Clean(b.owner.ID, "1"))
	same(t, "so nothing is asked of it", []string{}, b.mustApply(three, o))
	if _, err := b.apply(strings.ReplaceAll(three, "key: value", "key: other"), apply.Options{}); err == nil {
		t.Error("a change was applied without an API server")
	}
	if err := c.Restart(b.ctx(), "kube-apiserver"); err != nil {
		t.Fatal(err)
	}
	same(t, "then everything is as it was", []string{}, b.mustApply(three, o))
	b.edit(b.ref("ConfigMap", "config"), "somebody", `{"data":{"key":"edited"}}`)
	same(t, "and drift is noticed again", health.Drifted, b.wake())
	same(t, "and put back", []string{"ConfigMap/NS/config configured"}, b.anonymous(b.mustApply(three, o)))
}
