package engine

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
)

// request is one that the server got, and how it is to be answered.
type request struct {
	contentType, body string
	answer            chan<- int
}

// serve starts a server that hands over each request, and a sink that sends to it. Both end with the test.
func serve(t *testing.T, change func(*Sink)) (*Sink, <-chan request) {
	t.Helper()

	requests := make(chan request)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // a cut off body does not parse
		answer := make(chan int, 1)

		select {
		case requests <- request{r.Header.Get("Content-Type"), string(body), answer}:
			w.WriteHeader(<-answer)
		case <-t.Context().Done():
		}
	}))
	t.Cleanup(server.Close)

	s := NewSink(server.URL, "source-controller-0")
	s.backOff = 0
	if change != nil {
		change(s)
	}

	done := make(chan error, 1)
	go func() { done <- s.Start(t.Context()) }()
	t.Cleanup(func() {
		if err := <-done; err != nil {
			t.Errorf("Start(): %v", err)
		}
	})

	return s, requests
}

func notification(reason string) Notification {
	return Notification{
		Object: corev1.ObjectReference{
			APIVersion: "source.toolkit.fluxcd.io/v1", Kind: "GitRepository", Namespace: "apps", Name: "podinfo", UID: "u-1", ResourceVersion: "7",
		},
		Event: Event{
			Type: "Normal", Severity: "info", Reason: reason, Action: "Reconcile", Message: "stored artifact\n",
			Metadata: map[string]string{"source.toolkit.fluxcd.io/revision": "main@sha1:1"},
		},
		Controller: "source-controller",
	}
}

// reasonOf returns the reason of the event that the request carries.
func reasonOf(t *testing.T, r request) string {
	t.Helper()

	var e wireEvent
	if err := json.Unmarshal([]byte(r.body), &e); err != nil {
		t.Fatalf("body %q: %v", r.body, err)
	}

	return e.Reason
}

func TestSinkSends(t *testing.T) {
	now := time.Date(2026, time.January, 2, 3, 4, 5, 600, time.FixedZone("", 3600))
	s, requests := serve(t, func(s *Sink) { s.now = func() time.Time { return now } })
	s.Send(notification("NewArtifact"))

	got := <-requests
	got.answer <- http.StatusAccepted

	var have, want any
	if err := json.Unmarshal([]byte(got.body), &have); err != nil {
		t.Fatal(err)
	}

	if err := json.Unmarshal([]byte(`{
		"involvedObject": {"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository", "namespace": "apps",
			"name": "podinfo", "uid": "u-1", "resourceVersion": "7"},
		"severity": "info", "timestamp": "2026-01-02T02:04:05Z", "message": "stored artifact", "reason": "NewArtifact",
		"metadata": {"source.toolkit.fluxcd.io/revision": "main@sha1:1"},
		"reportingController": "source-controller", "reportingInstance": "source-controller-0"}`), &want); err != nil {
		t.Fatal(err)
	}

	if diff := cmp.Diff(want, have); diff != "" {
		t.Errorf("body: -want, +got:\n%s", diff)
	}

	if got.contentType != "application/json" {
		t.Errorf("content type is %q", got.contentType)
	}
}

func TestSinkAnswers(t *testing.T) {
	cases := map[string]struct {
		reason  string
		answers []int
	}{
		"Taken":        {"an event that is taken is not sent again", []int{202}},
		"Duplicate":    {"too many of its like is no failure", []int{429}},
		"Unavailable":  {"a server that is down may be up soon", []int{503, 202}},
		"ErrorsThenOK": {"three times are not too many", []int{500, 502, 503, 200}},
		"Refused":      {"an event that is refused is not sent again, and the next one is", []int{400}},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s, requests := serve(t, nil)
			s.Send(notification("First"))
			s.Send(notification("Second"))

			for _, status := range tc.answers {
				r := <-requests
				if got := reasonOf(t, r); got != "First" {
					t.Errorf("\n%s\nwant the first event again, got %q", tc.reason, got)
				}

				r.answer <- status
			}

			r := <-requests
			if got := reasonOf(t, r); got != "Second" {
				t.Errorf("\n%s\nwant the second event, got %q", tc.reason, got)
			}

			r.answer <- http.StatusAccepted
		})
	}
}

// TestSinkLeavesADeadServerAlone holds that events are dropped for a while after an address did not answer.
func TestSinkLeavesADeadServerAlone(t *testing.T) {
	now, attempts := time.Date(2026, time.January, 2, 3, 4, 5, 0, time.UTC), 0
	s := NewSink("http://events.invalid", "")
	s.backOff, s.now = 0, func() time.Time { return now }
	s.client = &http.Client{Transport: roundTripper(func(*http.Request) (*http.Response, error) {
		attempts++

		return nil, context.DeadlineExceeded
	})}

	for _, tc := range []struct {
		after time.Duration
		want  int
	}{{0, sinkAttempts}, {sinkQuiet - time.Second, 0}, {time.Second, sinkAttempts}} {
		now, attempts = now.Add(tc.after), 0
		s.deliver(t.Context(), queued{notification("One"), now})

		if attempts != tc.want {
			t.Errorf("after another %s: want %d attempts, got %d", tc.after, tc.want, attempts)
		}
	}
}

// TestSinkNeverBlocks sends more than the queue holds while nothing is taken out of it.
func TestSinkNeverBlocks(t *testing.T) {
	s := NewSink("http://127.0.0.1:0", "")
	for range sinkQueue + 10 {
		s.Send(notification("One"))
	}

	if len(s.queue) != sinkQueue {
		t.Errorf("want %d events to wait, got %d", sinkQueue, len(s.queue))
	}

	if s.NeedLeaderElection() {
		t.Error("want every process to send its events")
	}
}

// TestSinkBacksOff holds the time between attempts.
func TestSinkBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var at []time.Duration

		start := time.Now()
		s := NewSink("http://events.invalid", "")
		s.client = &http.Client{Transport: roundTripper(func(*http.Request) (*http.Response, error) {
			at = append(at, time.Since(start))

			return nil, context.DeadlineExceeded
		})}
		s.deliver(t.Context(), queued{notification("One"), start})

		if diff := cmp.Diff([]time.Duration{0, time.Second, 3 * time.Second, 7 * time.Second}, at); diff != "" {
			t.Errorf("attempts: -want, +got:\n%s", diff)
		}
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
