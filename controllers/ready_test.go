package controllers

import (
	"context"
	"errors"
	"net/http"
	"testing"
)

func TestFilled(t *testing.T) {
	synced := false
	check := filled(func(context.Context) bool { return synced })
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "/readyz", nil)
	if err != nil {
		t.Fatal(err)
	}

	for _, step := range []struct {
		why    string
		synced bool
		want   error
	}{
		{"nothing has come", false, errCaches},
		{"everything has", true, nil},
		{"something more is watched", false, nil},
	} {
		synced = step.synced
		if err := check(req); !errors.Is(err, step.want) {
			t.Errorf("%s: %v", step.why, err)
		}
	}
}
