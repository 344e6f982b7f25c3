package controllers

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	apiwatch "k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
)

// TestHistoryRelists shows that a watch is not taken up across an outage: its informer has to list first, and not from a revision of before.
func TestHistoryRelists(t *testing.T) {
	h := newHistory()

	var asked []metav1.ListOptions

	r := &relister{history: h, next: cache.ToListerWatcherWithContext(&cache.ListWatch{
		ListWithContextFunc: func(_ context.Context, o metav1.ListOptions) (runtime.Object, error) {
			asked = append(asked, o)

			return &corev1.ConfigMapList{}, nil
		},
		WatchFuncWithContext: func(_ context.Context, o metav1.ListOptions) (apiwatch.Interface, error) {
			asked = append(asked, o)

			return apiwatch.NewFake(), nil
		},
	})}
	fails := h.transport(tripper(func(*http.Request) (*http.Response, error) { return nil, errors.New("refused") }))
	outage := func() {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://example.test", nil)
		if err != nil {
			t.Fatal(err)
		}

		if resp, err := fails.RoundTrip(req); err == nil {
			_ = resp.Body.Close()

			t.Fatal("the request has an answer")
		}
	}
	list := func(o metav1.ListOptions, want string) {
		t.Helper()

		if _, err := r.List(o); err != nil {
			t.Fatal(err)
		}

		if got := asked[len(asked)-1].ResourceVersion; got != want {
			t.Errorf("listed from %q, want %q", got, want)
		}
	}
	watch := func(want bool) {
		t.Helper()

		_, err := r.Watch(metav1.ListOptions{ResourceVersion: "7"})
		if (err == nil) != want || err != nil && !apierrors.IsResourceExpired(err) {
			t.Errorf("watch: %v, want it taken up: %t", err, want)
		}
	}

	list(metav1.ListOptions{ResourceVersion: "0"}, "0")
	watch(true)
	outage()
	watch(false)
	watch(false)
	list(metav1.ListOptions{ResourceVersion: "7"}, "")
	watch(true)
	outage()

	initial := true
	if _, err := r.Watch(metav1.ListOptions{ResourceVersion: "7", SendInitialEvents: &initial}); err != nil {
		t.Fatal(err)
	}

	if got := asked[len(asked)-1].ResourceVersion; got != "" {
		t.Errorf("a watch that lists begins at %q", got)
	}

	watch(true)
}

// TestHistoryStreams holds that a watch that breaks counts as an outage, once, and no other answer does, nor one that was ended.
func TestHistoryStreams(t *testing.T) {
	broken := errors.New("connection reset")

	for name, tc := range map[string]struct {
		reason, query string
		err           error
		close, cancel bool
		want          int64
	}{
		"Broken":    {reason: "What answers next may have another past.", query: "watch=true", err: broken, want: 1},
		"Ended":     {reason: "As API servers do from time to time.", query: "watch=true", err: io.EOF},
		"Closed":    {reason: "From here.", query: "watch=true", err: broken, close: true},
		"Cancelled": {reason: "From here, too.", query: "watch=true", err: broken, cancel: true},
		"NoWatch":   {reason: "Whoever asked asks again.", err: broken},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHistory()
			next := tripper(func(*http.Request) (*http.Response, error) {
				return &http.Response{Body: io.NopCloser(iotest.ErrReader(tc.err))}, nil
			})

			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()

			req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://example.test/?"+tc.query, nil)
			if err != nil {
				t.Fatal(err)
			}

			resp, err := h.transport(next).RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}

			defer resp.Body.Close()

			if tc.close {
				_ = resp.Body.Close()
			}

			if tc.cancel {
				cancel()
			}

			for range 2 {
				if _, err := resp.Body.Read(make([]byte, 1)); !errors.Is(err, tc.err) {
					t.Errorf("read: %v", err)
				}
			}

			if got := h.outages.Load(); got != tc.want {
				t.Errorf("%s: %d outages, want %d", tc.reason, got, tc.want)
			}
		})
	}
}

type tripper func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (f tripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// TestHistoryCompares holds that an object that becomes what it was ends the process only if the storage has it so, and not if something that
// lags behind has shown it.
func TestHistoryCompares(t *testing.T) {
	at := func(version string) *corev1.ConfigMap {
		return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "one", ResourceVersion: version}}
	}

	for name, tc := range map[string]struct {
		reason        string
		before, after any
		stored        *corev1.ConfigMap
		revision      string
		err           error
		want          string
	}{
		"Forward":  {reason: "As always.", before: at("9"), after: at("10")},
		"Resync":   {reason: "The informer shows again what it has.", before: at("9"), after: at("9")},
		"Unknown":  {reason: "A version that is no number says nothing.", before: at("9"), after: at("x")},
		"NoObject": {reason: "Nothing to compare.", before: "a", after: at("8")},
		"Lagging":  {reason: "The storage has it as it was.", before: at("10"), after: at("9"), stored: at("10"), revision: "12"},
		"Deleted":  {reason: "It is gone since.", before: at("10"), after: at("9"), revision: "12"},
		"Away":     {reason: "Nobody answers.", before: at("10"), after: at("9"), err: errors.New("refused")},
		"Backward": {
			reason: "It cannot be.", before: at("10"), after: at("9"), stored: at("9"), revision: "12",
			want: `start anew: the API server was restored from a backup: "ns/one" is at revision 9, and was at 10`,
		},
		"Early": {
			reason: "It has not come as far.", before: at("10"), after: at("9"), revision: "9",
			want: `start anew: the API server was restored from a backup: "ns/one" is at revision 9, and was at 10`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, stop := context.WithCancel(t.Context())
			defer stop()

			h := newHistory()
			h.doubt = func(context.Context) {}
			r := &relister{history: h, next: cache.ToListerWatcherWithContext(&cache.ListWatch{
				ListWithContextFunc: func(_ context.Context, o metav1.ListOptions) (runtime.Object, error) {
					if o.ResourceVersion != "" || o.ResourceVersionMatch != "" || o.FieldSelector != "metadata.name=one" {
						t.Errorf("asked for %+v", o)
					}

					list := &corev1.ConfigMapList{ListMeta: metav1.ListMeta{ResourceVersion: tc.revision}}
					if tc.stored != nil {
						list.Items = []corev1.ConfigMap{*tc.stored}
					}

					if len(h.suspects) == 0 {
						stop() // that was the last one
					}

					return list, tc.err
				},
			})}
			r.compare(tc.before, tc.after)

			if len(h.suspects) == 0 {
				stop()
			}

			got := ""
			if err := h.Start(ctx); err != nil {
				got = err.Error()
			}

			if got != tc.want || strings.Contains(got, "%") {
				t.Errorf("%s\ngot %q, want %q", tc.reason, got, tc.want)
			}
		})
	}
}
