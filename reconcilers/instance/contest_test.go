package instance_test

import (
	"fmt"
	"testing"
	"time"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/reconcilers/access"
)

// TestContestedPlan holds that a plan that waits for approval, while somebody changes an object back whenever it is put back, is neither made
// again and again at once nor told each time.
func TestContestedPlan(t *testing.T) {
	e := start(t)
	e.play()
	e.create(secretSpec)
	e.run("applied", func(obj *fluxv1.FluxInstance) bool { return obj.Status.Inventory != nil })
	e.change(func(obj *fluxv1.FluxInstance) { obj.Spec.Sync = nil })
	e.ready()
	e.change(func(obj *fluxv1.FluxInstance) { obj.Spec.Components = obj.Spec.Components[:2] })
	e.waits("WaitingForApproval", "v2.9.5@")
	e.told("")

	contested := access.ID{Group: "apps", Kind: "Deployment", Namespace: namespace, Name: "source-controller"}
	hurried, told := 0, 0
	for run := range 25 {
		e.meddle(contested, "somebody", fmt.Sprintf(`{"spec":{"replicas":%d}}`, run+2))
		if after := e.once(); after > 0 && after < time.Second {
			hurried++
		}
		told += len(e.told("WaitingForApproval "))
	}
	if !isTrue(e.instance(), fluxv1.ContestedCondition) {
		t.Fatal("nobody notices the fight")
	}
	// Five corrections are made at once, and then one after ten seconds, twenty more, and so on.
	if hurried > 9 || told > 6 {
		t.Errorf("%d of 25 runs are followed by another one at once, and %d plans are told", hurried, told)
	}
	e.leave()
}
