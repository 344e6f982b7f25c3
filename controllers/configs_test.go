package controllers

import (
	"context"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
)

// reader is a function as the part of client.Reader that is used.
type reader func(key client.ObjectKey, obj client.Object) error

func (f reader) Get(_ context.Context, key client.ObjectKey, obj client.Object, _ ...client.GetOption) error {
	return f(key, obj)
}

func (reader) List(context.Context, client.ObjectList, ...client.ListOption) error { return nil }

func TestConfigsReadWhatMayHaveChanged(t *testing.T) {
	missing := apierrors.NewNotFound(schema.GroupResource{Resource: "configmaps"}, "vars")

	for name, tc := range map[string]struct {
		reason   string
		watched  []string // resource version in the cache at each read; empty means that the cache does not have it
		live     []string // resource version at the API server at each read; empty means that it is not there
		requests int
	}{
		"Watched":   {"an object with the watch label is read once per version", []string{"1", "1", "2", "2"}, []string{"1", "1", "2", "2"}, 2},
		"Unwatched": {"an object without it is read each time", []string{"", "", ""}, []string{"1", "1", "2"}, 3},
		"Outrun":    {"a cache that lags behind does not hold back what was read", []string{"1", "1", "2"}, []string{"2", "2", "2"}, 2},
		"Deleted":   {"what is gone is not given from memory", []string{"1", "", ""}, []string{"1", "", ""}, 3},
		"Unlabel":   {"what lost the label is read each time again", []string{"1", "", ""}, []string{"1", "2", "2"}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			now, requests := 0, 0
			c := newConfigs(reader(func(_ client.ObjectKey, obj client.Object) error {
				requests++
				if tc.live[now] == "" {
					return missing
				}

				obj.SetResourceVersion(tc.live[now])

				return nil
			}), reader(func(_ client.ObjectKey, obj client.Object) error {
				if tc.watched[now] == "" {
					return missing
				}

				if _, ok := obj.(*metav1.PartialObjectMetadata); !ok {
					t.Errorf("the cache was asked for %T, which it does not have", obj)
				}

				obj.SetResourceVersion(tc.watched[now])

				return nil
			}))

			for now = range tc.watched {
				m, err := c.ConfigMap(t.Context(), "ns", "vars")
				if got := apierrors.IsNotFound(err); got != (tc.live[now] == "") {
					t.Fatalf("read %d: %s: error is %v", now, tc.reason, err)
				}

				if err == nil && m.ResourceVersion != tc.live[now] {
					t.Errorf("read %d: %s: got version %q, want %q", now, tc.reason, m.ResourceVersion, tc.live[now])
				}
			}

			if requests != tc.requests {
				t.Errorf("%s: got %d requests, want %d", tc.reason, requests, tc.requests)
			}
		})
	}
}

func TestConfigsKeepKindsApart(t *testing.T) {
	c := newConfigs(reader(func(_ client.ObjectKey, obj client.Object) error {
		switch o := obj.(type) {
		case *corev1.Secret:
			o.Data = map[string][]byte{"k": []byte("secret")}
		case *corev1.ConfigMap:
			o.Data = map[string]string{"k": "plain"}
		}

		return nil
	}), reader(func(client.ObjectKey, client.Object) error { return nil }))

	s, err := c.Secret(t.Context(), "ns", "vars")
	if err != nil || string(s.Data["k"]) != "secret" {
		t.Errorf("secret: got %v, %v", s, err)
	}

	m, err := c.ConfigMap(t.Context(), "ns", "vars")
	if err != nil || m.Data["k"] != "plain" {
		t.Errorf("config map: got %v, %v", m, err)
	}
}

// Variables of objects that are gone, whole Secrets, are not kept for ever.
func TestConfigsForgetWhatIsGone(t *testing.T) {
	c := newConfigs(reader(func(_ client.ObjectKey, obj client.Object) error {
		obj.SetResourceVersion("1")

		return nil
	}), reader(func(_ client.ObjectKey, obj client.Object) error {
		obj.SetResourceVersion("1")

		return nil
	}))

	for _, name := range []string{"kept", "gone"} {
		if _, err := c.Secret(t.Context(), "ns", name); err != nil {
			t.Fatal(err)
		}
	}

	gone := &metav1.PartialObjectMetadata{}
	gone.SetNamespace("ns")
	gone.SetName("gone")

	events := configEvents(c, "Secret", func(context.Context, string, string) []types.NamespacedName { return nil })
	events.Delete(t.Context(), event.TypedDeleteEvent[*metav1.PartialObjectMetadata]{Object: gone}, nil)

	if _, kept := c.read[configKey{"Secret", types.NamespacedName{Namespace: "ns", Name: "kept"}}]; !kept || len(c.read) != 1 {
		t.Errorf("%d objects are kept", len(c.read))
	}
}

// Without watches, every read is one of the API server.
func TestConfigsWithoutWatches(t *testing.T) {
	requests := 0
	c := newConfigs(reader(func(client.ObjectKey, client.Object) error {
		requests++

		return nil
	}), nil)

	for range 2 {
		if _, err := c.Secret(t.Context(), "ns", "vars"); err != nil {
			t.Fatal(err)
		}
	}

	if requests != 2 || len(c.read) != 0 {
		t.Errorf("got %d requests, want 2; %d objects are kept", requests, len(c.read))
	}
}
