package controllers

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/healthz"
)

// look is how long a probe waits for caches. The next probe looks again.
const look = 500 * time.Millisecond

// errCaches says that what is watched has not come yet.
var errCaches = errors.New("the caches are not filled yet")

// filled says no until the caches hold what was asked of them before the start. What is watched later does not take it back. An operator
// that may not read its own kind, or does not find it, must not take the place of one that can.
func filled(wait func(context.Context) bool) healthz.Checker {
	done := &atomic.Bool{}

	return func(req *http.Request) error {
		if done.Load() {
			return nil
		}

		ctx, cancel := context.WithTimeout(req.Context(), look)
		defer cancel()

		if !wait(ctx) {
			return errCaches
		}

		done.Store(true)

		return nil
	}
}
