package main

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestHandler(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		path   string
		status int
		body   string
	}{
		"Root":   {"what people look at", "/", http.StatusOK, "web 1.0.0: hello\n"},
		"Health": {"what the kubelet asks", "/healthz", http.StatusOK, "ok\n"},
		"Other":  {"nothing else is there", "/other", http.StatusNotFound, "404 page not found\n"},
	} {
		t.Run(name, func(t *testing.T) {
			w := httptest.NewRecorder()
			handler("1.0.0", "hello").ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, tc.path, nil))

			if w.Code != tc.status || w.Body.String() != tc.body {
				t.Errorf("%s: got %d %q, want %d %q", tc.reason, w.Code, w.Body, tc.status, tc.body)
			}
		})
	}
}
