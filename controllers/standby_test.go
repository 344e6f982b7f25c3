package controllers

import (
	"context"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weir-dev/weir/reconcilers/artifact"
)

// TestLeaderOnly holds that a mirror asks until it finds the process that holds the lease, and not for ever.
func TestLeaderOnly(t *testing.T) {
	for name, tc := range map[string]struct {
		reason       string
		standbys     int // how many answer before the leader does
		want         int
		wantRequests int
	}{
		"Leader":  {"the leader answers at once", 0, http.StatusOK, 1},
		"Standby": {"another one answers first", 3, http.StatusOK, 4},
		"Nobody":  {"there is no leader", 1000, http.StatusMisdirectedRequest, attempts},
	} {
		t.Run(name, func(t *testing.T) {
			requests := 0
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if requests++; r.Header.Get(mirrorHeader) == "" {
					t.Error("the request is not marked")
				}

				if requests <= tc.standbys {
					w.WriteHeader(http.StatusMisdirectedRequest)
				}
			}))
			defer server.Close()

			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
			if err != nil {
				t.Fatal(err)
			}

			resp, err := (&http.Client{Transport: leaderOnly{artifact.NewTransport()}}).Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()

			if resp.StatusCode != tc.want || requests != tc.wantRequests {
				t.Errorf("%s: %d after %d requests, want %d after %d", tc.reason, resp.StatusCode, requests, tc.want, tc.wantRequests)
			}
		})
	}
}

// TestStandbyWaits holds that what is on its way is waited for, and that other mirrors are sent on.
func TestStandbyWaits(t *testing.T) {
	store, err := artifact.NewStore(artifact.StoreOptions{Root: filepath.Join(t.TempDir(), "storage"), Address: "here"})
	if err != nil {
		t.Fatal(err)
	}

	s := newStorage()
	s.store = store
	by := newStandby(nil, s)
	by.mirror = artifact.NewMirror(t.Context(), artifact.MirrorOptions{Store: store})
	defer by.mirror.Stop()

	if !s.standBy(by) {
		t.Fatal("nobody has the lease, and yet it does not stand by")
	}

	server := httptest.NewServer(s)
	defer server.Close()

	get := func(ctx context.Context, header string) (int, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+"/bucket/apps/one/a.tar.gz", nil)
		if err != nil {
			t.Fatal(err)
		}

		if header != "" {
			req.Header.Set(header, "true")
		}

		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return 0, err
		}

		return resp.StatusCode, resp.Body.Close()
	}

	if code, err := get(t.Context(), mirrorHeader); err != nil || code != http.StatusMisdirectedRequest {
		t.Errorf("a mirror is answered %d, %v", code, err)
	}

	type answer struct {
		code int
		err  error
	}

	waiting := make(chan answer)
	go func() {
		code, err := get(t.Context(), "")
		waiting <- answer{code, err}
	}()

	at := artifact.Location{Owner: artifact.Owner{Kind: "Bucket", Namespace: "apps", Name: "one"}, File: "a.tar.gz"}
	if _, err := store.Put(t.Context(), at, "1", artifact.File(strings.NewReader("content"))); err != nil {
		t.Fatal(err)
	}

	by.report(at.Owner, nil)

	if got := <-waiting; got.err != nil || got.code != http.StatusOK {
		t.Errorf("what has come is answered %d, %v", got.code, got.err)
	}

	if err := s.lead(t.Context()); err != nil {
		t.Fatal(err)
	}

	if code, err := get(t.Context(), mirrorHeader); err != nil || code != http.StatusOK {
		t.Errorf("the leader answers a mirror %d, %v", code, err)
	}
}
