package controllers

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
)

// TestProviderEvents shows which changes of a provider make the ResourceSets run that take inputs from it, and which of them that are.
func TestProviderEvents(t *testing.T) {
	provider := func(change func(*fluxv1.ResourceSetInputProvider)) *fluxv1.ResourceSetInputProvider {
		p := &fluxv1.ResourceSetInputProvider{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "p", Labels: map[string]string{"team": "a"}}}
		p.Status.LastExportedRevision = "sha256:1"
		p.Status.Conditions = []metav1.Condition{{Type: "Ready", Status: metav1.ConditionTrue}}
		change(p)
		return p
	}
	sets := map[string]fluxv1.InputProviderReference{
		"by name":     {Name: "p"},
		"by label a":  {Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"team": "a"}}},
		"by label b":  {Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"team": "b"}}},
		"of somebody": {Name: "other"},
		"wrong":       {Selector: &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "team", Operator: "Like"}}}},
	}
	for name, tc := range map[string]struct {
		reason string
		change func(*fluxv1.ResourceSetInputProvider)
		want   []string
	}{
		"same": {"an event without news", func(*fluxv1.ResourceSetInputProvider) {}, nil},
		"conditions": {
			"how the provider is does not change what it has exported",
			func(p *fluxv1.ResourceSetInputProvider) { p.Status.Conditions[0].Status = metav1.ConditionFalse }, nil,
		},
		"revision": {
			"other inputs", func(p *fluxv1.ResourceSetInputProvider) { p.Status.LastExportedRevision = "sha256:2" },
			[]string{"by label a", "by name"},
		},
		"labels": {
			"those that select it no longer have to know, too",
			func(p *fluxv1.ResourceSetInputProvider) { p.Labels = map[string]string{"team": "b"} },
			[]string{"by label a", "by label b", "by name"},
		},
		"another one": {
			"of the same name", func(p *fluxv1.ResourceSetInputProvider) { p.UID = "2" }, []string{"by label a", "by name"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			fed := func(_ context.Context, key types.NamespacedName, marks ...map[string]string) []types.NamespacedName {
				var keys []types.NamespacedName
				for name, from := range sets {
					obj := &fluxv1.ResourceSet{Spec: fluxv1.ResourceSetSpec{InputsFrom: []fluxv1.InputProviderReference{from}}}
					if takesFrom(obj, key.Name, marks) {
						keys = append(keys, types.NamespacedName{Name: name})
					}
				}
				return keys
			}
			handlers, before, after := providerEvents(fed), provider(func(*fluxv1.ResourceSetInputProvider) {}), provider(tc.change)
			update := event.TypedUpdateEvent[*fluxv1.ResourceSetInputProvider]{ObjectOld: before, ObjectNew: after}
			got := queued(func(q queue) { handlers.UpdateFunc(t.Context(), update, q) })
			if diff := cmp.Diff(set(tc.want), got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
			gone := queued(func(q queue) {
				handlers.DeleteFunc(t.Context(), event.TypedDeleteEvent[*fluxv1.ResourceSetInputProvider]{Object: before}, q)
			})
			if diff := cmp.Diff(set([]string{"by label a", "by name"}), gone); diff != "" {
				t.Errorf("when the provider goes (-want +got):\n%s", diff)
			}
		})
	}
}

// queued returns the names that were queued.
func queued(fill func(queue)) map[string]bool {
	q := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[reconcile.Request]())
	defer q.ShutDown()
	fill(q)
	names := map[string]bool{}
	for q.Len() > 0 {
		item, _ := q.Get()
		names[item.Name] = true
		q.Done(item)
	}
	return names
}

func set(names []string) map[string]bool {
	out := map[string]bool{}
	for _, name := range names {
		out[name] = true
	}
	return out
}
