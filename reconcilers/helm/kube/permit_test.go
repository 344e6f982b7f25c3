package kube_test

import (
	"context"
	"errors"
	"testing"

	"github.com/weir-dev/weir/reconcilers/helm/kube"
)

// free tells whether a permit is left.
func free(p *kube.Permits) bool {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()

	// A context that has ended and a place that is free are both there: which one is chosen is chance.
	for range 64 {
		one, err := p.Take(ctx)
		if err == nil {
			one.Release()

			return true
		}
	}

	return false
}

// TestAdmit holds that a run has one permit, from its beginning to its end.
func TestAdmit(t *testing.T) {
	t.Parallel()

	permits, others := kube.NewPermits(1), kube.NewPermits(1)

	ctx, done, err := permits.Admit(t.Context())
	if err != nil || free(permits) {
		t.Fatalf("who is admitted has a permit: %v", err)
	}

	one, err := permits.Take(ctx)
	if err != nil {
		t.Fatal(err)
	}

	one.Release()

	if !free(permits) {
		t.Error("who waits has none")
	}

	if err := one.Take(ctx); err != nil || free(permits) {
		t.Errorf("who goes on has it again: %v", err)
	}

	if done(); !free(permits) {
		t.Error("a run that has ended has none")
	}

	ctx, done, err = permits.Admit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer done()

	other, err := others.Take(ctx)
	if err != nil || !free(permits) || free(others) {
		t.Errorf("who takes another one gives the first back: %v", err)
	}

	other.Release()

	full, done, err := permits.Admit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer done()

	ended, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("the process ends"))

	if _, done, err := permits.Admit(ended); err == nil {
		done()
		t.Errorf("there were two permits: %v", full)
	}
}
