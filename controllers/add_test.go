package controllers

import (
	"context"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/weir-dev/weir/reconcilers/helm/kube"
)

// TestAdmitted holds that a run has one permit, which others may have while it waits and when it has ended.
func TestAdmitted(t *testing.T) {
	permits := kube.NewPermits(1)
	runs := 0

	r := admitted(permits, reconcile.Func(func(ctx context.Context, _ reconcile.Request) (reconcile.Result, error) {
		runs++

		one, err := permits.Take(ctx)
		if err != nil {
			t.Fatal(err)
		}

		one.Release() // as who waits does

		other, err := permits.Take(context.WithoutCancel(t.Context()))
		if err != nil {
			t.Fatal(err)
		}

		other.Release()

		return reconcile.Result{}, one.Take(ctx)
	}))

	for range 2 { // the second run would wait for ever for what the first one has not given back
		if _, err := r.Reconcile(t.Context(), reconcile.Request{}); err != nil {
			t.Fatal(err)
		}
	}

	held, err := permits.Take(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer held.Release()

	ended, cancel := context.WithCancel(t.Context())
	cancel()

	if _, err := r.Reconcile(ended, reconcile.Request{}); err != nil || runs != 2 {
		t.Errorf("a run without a permit has begun, %d in all: %v", runs, err)
	}
}
