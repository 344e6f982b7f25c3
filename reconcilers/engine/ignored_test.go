package engine_test

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/engine/enginetest"
)

// TestIgnore holds that nothing at all happens to an object that is ignored, but that people are told once.
func TestIgnore(t *testing.T) {
	type want struct {
		ran, told, patches int
		gone, queued       bool
	}

	cases := map[string]struct {
		reason string
		have   []func(object)
		ours   bool
		want   want
	}{
		"New":     {reason: "it gets no finalizer", have: []func(object){without}, want: want{told: 1}},
		"Claimed": {reason: "it keeps what it has", want: want{told: 1}},
		"Deleted": {reason: "its finalizer is somebody else's", have: []func(object){deleted}, want: want{told: 1}},
		"Asked":   {reason: "a request is not answered", have: []func(object){asked}, want: want{told: 1}},
		"Ours":    {reason: "all others are reconciled", ours: true, want: want{ran: 2, patches: 1, queued: true}},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var got want

			kind := newKind(step{Name: "act", Run: func(context.Context, object, *scope) error {
				got.ran++

				return nil
			}})
			kind.Ignore = func(object) *engine.Event {
				if tc.ours {
					return nil
				}

				return &engine.Event{Reason: "Ignored"}
			}

			obj := newObject(tc.have...)
			b := enginetest.New(t, kind, enginetest.Options{}, obj)

			for range 2 {
				result := b.Run(t, obj)
				got.told += len(result.Events)
				got.patches += len(result.Patches)
				got.gone, got.queued = result.Gone, result.Result.RequeueAfter > 0
			}

			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(want{})); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestIgnoreChanged holds that a change of what is ignored is told again.
func TestIgnoreChanged(t *testing.T) {
	kind := newKind()
	kind.Ignore = func(object) *engine.Event { return &engine.Event{Reason: "Ignored"} }
	b := enginetest.New(t, kind, enginetest.Options{}, newObject())

	var told []int

	for run := range 4 {
		if run == 2 {
			patch := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"generation":3}}`))
			if err := b.Client.Patch(t.Context(), newObject(), patch); err != nil {
				t.Fatal(err)
			}
		}

		told = append(told, len(b.Run(t, newObject()).Events))
	}

	if diff := cmp.Diff([]int{1, 0, 1, 0}, told); diff != "" {
		t.Errorf("events of each run: -want, +got:\n%s", diff)
	}
}
