package engine_test

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/engine/enginetest"
)

func TestStatic(t *testing.T) {
	type want struct {
		ran        []string
		forgotten  bool
		patches    []string
		finalizers []string
		status     kustomizev1.KustomizationStatus
		queued     bool
	}

	untouched := newObject().Status
	applied := func(obj object) { obj.Status.LastAppliedRevision = "main" }

	failed := newObject(applied, having(meta.ReadyCondition, metav1.ConditionTrue, "Applied", "applied")).Status

	cases := map[string]struct {
		reason string
		err    error
		have   []func(object)
		want   want
	}{
		"New": {
			reason: "an object that was never reconciled stays as it is",
			have:   []func(object){without},
			want:   want{forgotten: true, status: untouched},
		},
		"Claimed": {
			reason: "what was made of it before is taken back",
			have:   []func(object){applied, withOther},
			want: want{
				ran: []string{"prune"}, forgotten: true, patches: []string{"", "status"}, finalizers: []string{"example.com/other"},
			},
		},
		"StatusAlone": {
			reason: "somebody who takes the finalizer away leaves the status to us",
			have:   []func(object){without, applied},
			want:   want{ran: []string{"prune"}, forgotten: true, patches: []string{"status"}},
		},
		"FinalizerAlone": {
			reason: "an earlier run may have stopped in between",
			want:   want{ran: []string{"prune"}, forgotten: true, patches: []string{""}, status: untouched},
		},
		"Suspended": {
			reason: "nothing happens to a suspended object",
			have:   []func(object){suspended, asked},
			want:   want{finalizers: []string{meta.Finalizer}, status: untouched},
		},
		"Failed": {
			reason: "the finalizer stays until the delete steps succeed",
			err:    errors.New("no space"),
			have:   []func(object){applied, having(meta.ReadyCondition, metav1.ConditionTrue, "Applied", "applied")},
			want: want{
				ran: []string{"prune"}, finalizers: []string{meta.Finalizer}, queued: true,
				status: failed,
			},
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var got want

			k := newKind(step{Name: "act", Run: func(context.Context, object, *scope) error {
				t.Error("a step ran")

				return nil
			}})
			k.Static = func(object) bool { return true }
			k.Forget = func(client.ObjectKey) { got.forgotten = true }
			k.Delete = steps{{Name: "prune", Run: func(context.Context, object, *scope) error {
				got.ran = append(got.ran, "prune")

				return tc.err
			}}}

			result := enginetest.Run(t, k, newObject(tc.have...))
			for _, p := range result.Patches {
				got.patches = append(got.patches, p.Subresource)
			}

			got.finalizers, got.status = result.Object.Finalizers, result.Object.Status
			got.queued = result.Result.RequeueAfter > 0

			if result.Err != nil {
				t.Error(result.Err)
			}

			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(want{})); diff != "" {
				t.Errorf("%s\n-want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestStaticAndDeleted holds that a static object which was reconciled before goes as any other.
func TestStaticAndDeleted(t *testing.T) {
	k := newKind()
	k.Static = func(object) bool { return true }

	if got := enginetest.Run(t, k, newObject(deleted)); !got.Gone || got.Err != nil {
		t.Errorf("gone %v, error %v", got.Gone, got.Err)
	}
}

// TestStaticWriteFails holds that what is not written is tried again.
func TestStaticWriteFails(t *testing.T) {
	k := newKind()
	k.Static = func(object) bool { return true }

	b := enginetest.New(t, k, enginetest.Options{Funcs: interceptor.Funcs{
		SubResourcePatch: func(context.Context, client.Client, string, client.Object, client.Patch,
			...client.SubResourcePatchOption,
		) error {
			return errors.New("unavailable")
		},
	}}, newObject(asked, func(obj object) { obj.Status.LastHandledReconcileAt = "before" }))

	if got := b.Run(t, newObject()); got.Err == nil || engine.Condition(got.Object, meta.ReadyCondition) != nil {
		t.Errorf("error %v, status %+v", got.Err, got.Object.Status)
	}
}
