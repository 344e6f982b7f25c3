package events_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weir-dev/weir/reconcilers/engine"
)

// long is when everything that was started has come to an end, unless it is tried for ever.
const long = 5 * time.Minute

// TestAnswers holds what becomes of an event, and of the same one five minutes later, after each answer of an API server.
func TestAnswers(t *testing.T) {
	type answers = []func() (*metav1.Status, error)

	second := time.Second
	terminating := metav1.StatusCause{Type: corev1.NamespaceTerminatingCause, Field: "metadata.namespace"}

	cases := map[string]struct {
		reason  string
		answers answers         // the requests after them are taken
		at      []time.Duration // the requests
		dropped map[string]int
		next    string // the request for the same event later
	}{
		"Taken":        {"one request, and one that counts", nil, []time.Duration{0}, nil, "PATCH"},
		"Exists":       {"the answer to an earlier attempt was lost", answers{status(409, metav1.StatusReasonAlreadyExists)}, []time.Duration{0}, nil, "PATCH"},
		"Gone":         {"nobody reads in a namespace that is gone", answers{status(404, metav1.StatusReasonNotFound)}, []time.Duration{0}, nil, "POST"},
		"Terminating":  {"nor in one that is deleted", answers{status(403, metav1.StatusReasonForbidden, terminating)}, []time.Duration{0}, nil, "POST"},
		"Forbidden":    {"what is forbidden stays so", answers{status(403, metav1.StatusReasonForbidden)}, []time.Duration{0}, map[string]int{"refused": 1}, "POST"},
		"Invalid":      {"what is wrong stays so", answers{status(422, metav1.StatusReasonInvalid)}, []time.Duration{0}, map[string]int{"refused": 1}, "POST"},
		"TooLarge":     {"so does what is too large", answers{status(413, metav1.StatusReasonRequestEntityTooLarge)}, []time.Duration{0}, map[string]int{"refused": 1}, "POST"},
		"Unauthorized": {"a token is renewed", answers{status(401, metav1.StatusReasonUnauthorized)}, []time.Duration{0, 0}, nil, "PATCH"},
		"Conflict":     {"somebody was faster", answers{status(409, metav1.StatusReasonConflict)}, []time.Duration{0, 0}, nil, "PATCH"},
		"Broken": {
			"what breaks again and again, such as by a webhook, does not keep others from being written",
			answers{status(500, metav1.StatusReasonInternalError), status(500, metav1.StatusReasonInternalError), status(504, metav1.StatusReasonTimeout)},
			[]time.Duration{0, 0, 0}, map[string]int{"failed": 1}, "POST",
		},
		"BrokenOnce": {"it may pass", answers{status(500, metav1.StatusReasonInternalError)}, []time.Duration{0, 0}, nil, "PATCH"},
		"Busy": {
			"a server that is overloaded is left alone, for longer each time",
			answers{status(429, metav1.StatusReasonTooManyRequests), status(503, metav1.StatusReasonServiceUnavailable), status(502, "")},
			[]time.Duration{0, second / 2, second * 3 / 2, second * 7 / 2}, nil, "PATCH",
		},
		"Unreachable": {
			"so is one that is not there, until it is",
			answers{unreachable, unreachable, unreachable, unreachable, unreachable, unreachable, unreachable, unreachable},
			[]time.Duration{0, second / 2, second * 3 / 2, second * 7 / 2, second * 15 / 2, second * 31 / 2, second * 63 / 2, second * 123 / 2, second * 183 / 2},
			nil, "PATCH",
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, func(n int, _ *http.Request) (*metav1.Status, error) {
					if n < len(tc.answers) {
						return tc.answers[n]()
					}

					return taken()
				})
				b.Start(context.Background())
				defer b.Close(t.Context())

				b.Send(notification())
				<-time.After(long)
				synctest.Wait()

				var at []time.Duration
				for _, r := range b.wire.take() {
					if r.Method != "POST" || r.Path != "apps/events/podinfo" || r.Note != "ConfigMap/apps/podinfo configured" {
						t.Errorf("%s: got %+v", tc.reason, r)
					}

					at = append(at, r.At)
				}

				if diff := cmp.Diff(tc.at, at); diff != "" {
					t.Errorf("\n%s\nrequests: -want, +got:\n%s", tc.reason, diff)
				}

				if diff := cmp.Diff(tc.dropped, b.dropped(t), equateEmpty); diff != "" {
					t.Errorf("\n%s\ndropped: -want, +got:\n%s", tc.reason, diff)
				}

				if len(b.logged()) != len(tc.dropped) {
					t.Errorf("\n%s\nlog: %q", tc.reason, b.logged())
				}

				b.wire.answer = nil
				b.Send(notification())
				synctest.Wait()

				if got := b.wire.take(); len(got) != 1 || got[0].Method != tc.next {
					t.Errorf("\n%s\nthe next one: got %+v, want a %s", tc.reason, got, tc.next)
				}
			})
		})
	}
}

var equateEmpty = cmp.Transformer("Empty", func(m map[string]int) map[string]int {
	if m == nil {
		return map[string]int{}
	}

	return m
})

// TestSeries holds what is counted, and what is another event.
func TestSeries(t *testing.T) {
	later := func(n *engine.Notification) { n.Object.ResourceVersion = "8" }
	second := time.Second

	type sent struct {
		at    time.Duration
		event engine.Notification
	}

	post := request{Method: "POST", Path: "apps/events/podinfo", Note: "ConfigMap/apps/podinfo configured"}
	at := func(r request, d time.Duration, count int32) request {
		r.At, r.Count = d, count
		if r.Method == "PATCH" {
			r.Note = ""
		}

		return r
	}
	patch := request{Method: "PATCH", Path: post.Path}

	cases := map[string]struct {
		reason string
		sent   []sent
		gone   bool // the API server has forgotten the event when it is patched
		want   []request
	}{
		"Burst": {
			"what comes again at once is told once", []sent{{0, notification()}, {0, notification(later)}, {second, notification()}},
			false, []request{at(post, 0, 0), at(patch, 10*second, 3)},
		},
		"Steady": {
			"what comes again later is told at once", []sent{{0, notification()}, {20 * second, notification(later)}, {40 * second, notification()}},
			false, []request{at(post, 0, 0), at(patch, 20*second, 2), at(patch, 40*second, 3)},
		},
		"Often": {
			"what comes all the time is told now and then",
			[]sent{{0, notification()}, {4 * second, notification()}, {8 * second, notification()}, {12 * second, notification()}, {16 * second, notification()}},
			false, []request{at(post, 0, 0), at(patch, 14*second, 4), at(patch, 26*second, 5)},
		},
		"Forgotten": {
			"after twelve minutes it is another event", []sent{{0, notification()}, {12 * time.Minute, notification()}},
			false, []request{at(post, 0, 0), at(post, 12*time.Minute, 0)},
		},
		"Remembered": {
			"what comes again within six minutes is the same", []sent{{0, notification()}, {6 * time.Minute, notification()}, {12 * time.Minute, notification()}},
			false, []request{at(post, 0, 0), at(patch, 6*time.Minute, 2), at(patch, 12*time.Minute, 3)},
		},
		"Gone": {
			"an event that the API server has forgotten is made again", []sent{{0, notification()}, {20 * second, notification()}},
			true, []request{at(post, 0, 0), at(patch, 20*second, 2), at(post, 20*second, 2)},
		},
		"Others": {
			"another message, type or object is another event",
			[]sent{
				{0, notification()}, {second, notification(saying("b"))}, {2 * second, notification(saying("b"), warning)},
				{3 * second, notification(saying("b"), warning, func(n *engine.Notification) { n.Object.UID = "u-2" })},
				{4 * second, notification(saying("b"), warning, func(n *engine.Notification) { n.Event.Related = &corev1.ObjectReference{Name: "a"} })},
			},
			false, []request{
				at(post, 0, 0), {At: second, Method: "POST", Path: post.Path, Note: "b"}, {At: 2 * second, Method: "POST", Path: post.Path, Note: "b"},
				{At: 3 * second, Method: "POST", Path: post.Path, Note: "b"}, {At: 4 * second, Method: "POST", Path: post.Path, Note: "b"},
			},
		},
		"Cluster": {
			"events about objects without a namespace are in the default one",
			[]sent{{0, notification(func(n *engine.Notification) { n.Object.Namespace, n.Object.Name = "", "system:node" })}},
			false, []request{{Method: "POST", Path: "default/events/event", Note: post.Note}},
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, func(_ int, req *http.Request) (*metav1.Status, error) {
					if tc.gone && req.Method == http.MethodPatch {
						return status(404, metav1.StatusReasonNotFound)()
					}

					return taken()
				})
				b.Start(context.Background())
				defer b.Close(t.Context())

				for _, s := range tc.sent {
					<-time.After(s.at - time.Since(b.wire.start))
					b.Send(s.event)
				}

				<-time.After(time.Minute)
				synctest.Wait()

				if diff := cmp.Diff(tc.want, b.wire.take()); diff != "" {
					t.Errorf("\n%s\nrequests: -want, +got:\n%s", tc.reason, diff)
				}

				if diff := cmp.Diff(map[string]int{}, b.dropped(t)); diff != "" {
					t.Errorf("\n%s\ndropped: %s", tc.reason, diff)
				}
			})
		})
	}
}

// TestFull holds that nobody waits for a recorder that is behind, and that warnings are the last to be dropped.
func TestFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const queued, writing = 8192, 16

		free := make(chan struct{})
		b := newBench(t, func(int, *http.Request) (*metav1.Status, error) {
			<-free

			return taken()
		})
		b.Start(context.Background())

		for i := range writing {
			b.Send(notification(saying(fmt.Sprint("first ", i))))
		}

		synctest.Wait() // each worker has one

		for i := range queued {
			b.Send(notification(saying(fmt.Sprint("normal ", i))))
		}

		if got := b.dropped(t); len(got) != 0 {
			t.Errorf("dropped %v of what there is room for", got)
		}

		b.Send(notification(saying("one more")))
		b.Send(notification(saying("bad"), warning))
		b.Send(notification(saying("worse"), warning))

		if diff := cmp.Diff(map[string]int{"full": 3}, b.dropped(t)); diff != "" {
			t.Errorf("dropped: -want, +got:\n%s", diff)
		}

		if len(b.logged()) != 1 {
			t.Errorf("the log is told once: %q", b.logged())
		}

		close(free)
		b.Close(t.Context())

		notes := map[string]bool{}
		for _, r := range b.wire.take() {
			notes[r.Note] = true
		}

		for note, want := range map[string]bool{
			"bad": true, "worse": true, "one more": false, "normal 0": false, "normal 1": false, "normal 2": true, "normal 8191": true, "first 0": true,
		} {
			if notes[note] != want {
				t.Errorf("event %q written: %t", note, notes[note])
			}
		}
	})
}

// TestClose holds that what was told last is written, counts included, and that it ends in time if nothing is taken.
func TestClose(t *testing.T) {
	cases := map[string]struct {
		reason  string
		answer  func() (*metav1.Status, error)
		written int
		took    time.Duration
		dropped map[string]int
	}{
		"Taken":       {"all is written before it returns", taken, 102, 0, map[string]int{"shutdown": 1}},
		"Unreachable": {"nobody waits for ever", unreachable, 0, 5 * time.Second, map[string]int{"shutdown": 102}},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, func(int, *http.Request) (*metav1.Status, error) { return tc.answer() })
				b.Start(context.Background())

				b.Send(notification())
				synctest.Wait()
				b.Send(notification())

				for i := range 100 {
					b.Send(notification(saying(fmt.Sprint(i))))
				}

				start := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				b.Close(ctx)

				if took := time.Since(start); took != tc.took {
					t.Errorf("%s: took %s", tc.reason, took)
				}

				b.Send(notification(saying("too late")))
				synctest.Wait()

				if got := len(b.wire.take()); tc.written != 0 && got != tc.written {
					t.Errorf("%s: got %d requests, want %d", tc.reason, got, tc.written)
				}

				if diff := cmp.Diff(tc.dropped, b.dropped(t)); diff != "" {
					t.Errorf("\n%s\ndropped: -want, +got:\n%s", tc.reason, diff)
				}
			})
		})
	}
}

// TestNeverStarted holds that a process that did not get as far as to start ends all the same.
func TestNeverStarted(t *testing.T) {
	b := newBench(t, nil)
	b.Send(notification())
	b.Close(t.Context())
}
