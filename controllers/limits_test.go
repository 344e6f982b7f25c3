package controllers

import (
	"net/http"
	"testing"
	"time"

	"k8s.io/client-go/rest"
)

// Nobody may hold a connection of the storage without an end.
func TestServerHasLimits(t *testing.T) {
	s := newServer(http.NotFoundHandler())
	if s.ReadHeaderTimeout <= 0 || s.ReadTimeout <= 0 || s.WriteTimeout <= 0 || s.IdleTimeout <= 0 || s.MaxHeaderBytes <= 0 {
		t.Errorf("a limit is missing: %+v", s)
	}
}

// A request that hangs on the way to the API server ends; a timeout that somebody has chosen stays.
func TestRequestsEnd(t *testing.T) {
	for given, want := range map[time.Duration]time.Duration{0: requestTimeout, time.Second: time.Second} {
		o := Options{Config: &rest.Config{Timeout: given}}
		if got := o.direct().Timeout; got != want || o.Config.Timeout != given {
			t.Errorf("%s: got %s, want %s; the original has %s", given, got, want, o.Config.Timeout)
		}
	}
}
