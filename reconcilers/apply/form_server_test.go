package apply_test

import (
	"strings"
	"testing"
	"time"

	"k8s.io/utils/clock"

	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/apply"
	"github.com/weir-dev/weir/reconcilers/health"
)

// behind is a clock that is an hour behind: whatever the API server has written is so recent that its time proves nothing.
type behind struct{ clock.RealClock }

func (behind) Now() time.Time { return time.Now().Add(-time.Hour) }

// TestStoredInAnotherForm holds that an object which the API server only stores anew is not said to be changed: what it makes of a new
// object has no status, and what it makes of that one later has the defaults of one.
func TestStoredInAnotherForm(t *testing.T) {
	b := newBench(t)
	set := strings.ReplaceAll(`
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.GROUP}
spec:
  group: GROUP
  names: {kind: Widget, listKind: WidgetList, plural: widgets, singular: widget}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec: {type: object, properties: {size: {type: integer}}}
          status: {type: object, default: {observedGeneration: -1}, properties: {observedGeneration: {type: integer}}}
---
apiVersion: GROUP/v1
kind: Widget
metadata: {name: widget, namespace: NS}
spec: {size: 1}
`, "GROUP", b.namespace+".example.com")
	b.mustApply(set, apply.Options{})
	widget := access.Ref{
		ID: access.ID{Group: b.namespace + ".example.com", Kind: "Widget", Namespace: b.namespace, Name: "widget"}, Version: "v1",
	}
	b.admin = b.factory.Own() // who knows the kind
	before := b.get(widget).GetResourceVersion()

	b.restart()
	wake := func(_ access.ID, cause health.Cause) { b.woken <- cause }
	b.applier = apply.New(b.hub, apply.ApplierOptions{Wake: wake, Clock: behind{}})
	same(t, "nothing of it changes", []string{}, b.mustApply(set, apply.Options{}))
	same(t, "it is stored anew", true, b.get(widget).GetResourceVersion() != before)

	set = strings.Replace(set, "size: 1", "size: 2", 1)
	same(t, "what changes is told", []string{"Widget/" + b.namespace + "/widget configured"}, b.mustApply(set, apply.Options{}))
	set = strings.Replace(set, "name: widget, namespace: NS", `name: widget, namespace: NS, labels: {a: b}, annotations: {c: d}`, 1)
	same(t, "labels too", []string{"Widget/" + b.namespace + "/widget configured"}, b.mustApply(set, apply.Options{}))
	set = strings.Replace(set, "annotations: {c: d}", `annotations: {c: e}`, 1)
	same(t, "and annotations", []string{"Widget/" + b.namespace + "/widget configured"}, b.mustApply(set, apply.Options{}))
	set = strings.Replace(set, "labels: {a: b}", `labels: {a: c}`, 1)
	same(t, "and the value of a label", []string{"Widget/" + b.namespace + "/widget configured"}, b.mustApply(set, apply.Options{}))
}
