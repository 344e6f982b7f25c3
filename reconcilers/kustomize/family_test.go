package kustomize

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
)

// TestNobodyIsForgotten shows that each of many who come at the same time, and hold something back, is woken when the last one
// has come, and that nothing is left then.
func TestNobodyIsForgotten(t *testing.T) {
	const members = 40

	var all family

	woken := map[types.NamespacedName]chan struct{}{}

	for i := range members {
		k := member(fmt.Sprintf("k%d", i), "0")
		all = append(all, k)
		woken[types.NamespacedName{Namespace: k.Namespace, Name: k.Name}] = make(chan struct{}, 1)
	}

	f := NewFamily(all, func(key types.NamespacedName) {
		select {
		case woken[key] <- struct{}{}:
		default: // it is going to run anyway
		}
	})
	r := &reconciler{Deps: Deps{Family: f, Now: time.Now}}

	var wg sync.WaitGroup

	for _, k := range all {
		wg.Go(func() { live(t, r, k, woken[types.NamespacedName{Namespace: k.Namespace, Name: k.Name}]) })
	}

	wg.Wait()

	if len(f.vigils)+len(f.applying) > 0 {
		t.Errorf("%d still wait, and %d still apply", len(f.vigils), len(f.applying))
	}
}

// live takes a Kustomization from revision to revision. At each it may delete what it holds when all have come.
func live(t *testing.T, r *reconciler, k *kustomizev1.Kustomization, woken <-chan struct{}) {
	t.Helper()

	key := types.NamespacedName{Namespace: k.Namespace, Name: k.Name}

	for _, revision := range []string{"1", "2", "3"} {
		r.Family.begin(key, r.Now())
		r.Family.come(t.Context(), k, revision, nil, r.Now())

		for {
			a, err := r.ask(t.Context(), questOf(k, revision, nil))
			if err != nil {
				t.Error(err)

				return
			}

			if revision != "3" || a.on.Name == "" {
				break // a new revision does not wait for the one before
			}

			select {
			case <-woken:
			case <-time.After(time.Minute):
				t.Errorf("nobody wakes %s", k.Name)

				return
			}
		}
	}
}

// TestComeMeanwhile shows that one who comes just when he is found to be late is not waited for.
func TestComeMeanwhile(t *testing.T) {
	all := family{member("a", "1"), member("b", "0")}
	f := NewFamily(all, func(types.NamespacedName) {})
	r := &reconciler{Deps: Deps{Family: f, Now: time.Now}}
	q := questOf(all[0], "1", nil)
	v := &vigil{
		owner: q.self(),
		ask: func(ctx context.Context) (answer, error) {
			defer f.come(ctx, all[1], "1", nil, r.Now()) // after the look, and before the wait

			return r.survey(ctx, q)
		},
		still: func(ctx context.Context, key types.NamespacedName) bool { return r.isAwaited(ctx, q, key) },
	}
	f.watch(v)

	if a, err := f.bind(t.Context(), v); err != nil || a.on.Name != "" {
		t.Errorf("somebody is waited for: %+v, %v", a, err)
	}
}

// TestExpectedNeverSeen shows that what the cache never shows, as it is of another shard, is not kept for ever, though nobody asks.
func TestExpectedNeverSeen(t *testing.T) {
	f := NewFamily(family{}, func(types.NamespacedName) {})
	now := time.Now()

	for i := range 100 {
		f.expect(map[types.NamespacedName]int64{{Namespace: "ns", Name: fmt.Sprint(i)}: 1}, now)
		now = now.Add(time.Second)
	}

	if n := len(f.children); n > 10 {
		t.Errorf("%d are still expected", n)
	}
}
