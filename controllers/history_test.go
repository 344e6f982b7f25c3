package controllers

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

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

type tripper func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (f tripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

func TestHistoryCompares(t *testing.T) {
	at := func(version string) *corev1.ConfigMap {
		return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "one", ResourceVersion: version}}
	}

	for name, tc := range map[string]struct {
		reason        string
		before, after any
		want          string
	}{
		"Forward":  {reason: "As always.", before: at("9"), after: at("10")},
		"Resync":   {reason: "The informer shows again what it has.", before: at("9"), after: at("9")},
		"Unknown":  {reason: "A version that is no number says nothing.", before: at("9"), after: at("x")},
		"NoObject": {reason: "Nothing to compare.", before: "a", after: at("8")},
		"Backward": {
			reason: "It cannot be.", before: at("10"), after: at("9"),
			want: `start anew: the API server was restored from a backup: "ns/one" is at revision 9, and was at 10`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHistory()
			h.compare(tc.before, tc.after)
			h.compare(tc.before, tc.after) // once is enough, and twice no harm

			got := ""

			select {
			case err := <-h.ended:
				h.ended <- err
				got = h.Start(t.Context()).Error()
			default:
			}

			if got != tc.want || strings.Contains(got, "%") {
				t.Errorf("%s\ngot %q, want %q", tc.reason, got, tc.want)
			}
		})
	}
}
