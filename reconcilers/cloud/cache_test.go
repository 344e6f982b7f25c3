package cloud_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/reconcilers/cloud"
)

func TestFingerprint(t *testing.T) {
	c, cluster, _ := credentials(t)

	of := func(r cloud.Request) string {
		t.Helper()

		f, err := c.Fingerprint(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}

		return string(f[:])
	}

	reader := of(request(cloud.AWS, "reader"))
	other := request(cloud.AWS, "reader")
	other.Kind, other.Name = "Bucket", "other"

	if of(other) != reader {
		t.Error("two objects with the same account differ")
	}

	if of(request(cloud.AWS, "nobody")) == reader || of(request(cloud.AWS, "")) == reader || of(request(cloud.GCP, "reader")) == reader {
		t.Error("who is not the same has the same fingerprint")
	}

	account := &corev1.ServiceAccount{}
	if err := cluster.Get(t.Context(), client.ObjectKey{Namespace: "apps", Name: "reader"}, account); err != nil {
		t.Fatal(err)
	}

	account.Annotations["eks.amazonaws.com/role-arn"] += "2"
	if err := cluster.Update(t.Context(), account); err != nil {
		t.Fatal(err)
	}

	if of(request(cloud.AWS, "reader")) == reader {
		t.Error("an account with another role has the same fingerprint")
	}

	// And what was kept for the old one is not given to it.
	if _, err := c.AWS(t.Context(), request(cloud.AWS, "reader"), cloud.AWSOptions{Region: "us-east-1"}); err == nil {
		t.Error("it got keys for a role that it has not")
	}
}

func TestCache(t *testing.T) {
	now := time.Now()
	clock := func() time.Time { return now }

	cases := map[string]struct {
		reason string
		change func(*cloud.Options)
		after  time.Duration
		want   int64
	}{
		"Kept":     {"A token is kept.", func(*cloud.Options) {}, 0, 1},
		"Late":     {"It is kept for four fifths of its life.", func(*cloud.Options) {}, 47 * time.Minute, 1},
		"Stale":    {"After that, there is a new one.", func(*cloud.Options) {}, 49 * time.Minute, 2},
		"Age":      {"It may be kept for less.", func(o *cloud.Options) { o.CacheAge = time.Minute }, 61 * time.Second, 2},
		"Disabled": {"Or not at all.", func(o *cloud.Options) { o.CacheSize = 0 }, 0, 2},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			now = time.Now()
			c, cluster, _ := credentials(t, func(o *cloud.Options) { o.Now = clock }, tc.change)

			for range 2 {
				if _, err := c.GCP(t.Context(), request(cloud.GCP, "reader")); err != nil {
					t.Fatal(err)
				}

				now = now.Add(tc.after)
			}

			if got := cluster.tokens.Load(); got != tc.want {
				t.Errorf("%s\n%d tokens", tc.reason, got)
			}
		})
	}
}

func TestCacheMetrics(t *testing.T) {
	c, _, registry := credentials(t, func(o *cloud.Options) { o.CacheSize = 1 })

	get := func(provider, name, account string) {
		r := request(provider, account)
		r.Name = name

		if provider == cloud.GCP {
			_, _ = c.GCP(t.Context(), r)
		} else {
			_, _ = c.AWS(t.Context(), r, cloud.AWSOptions{Region: "us-east-1"})
		}
	}

	get(cloud.GCP, "a", "reader")
	get(cloud.GCP, "b", "reader")
	get(cloud.AWS, "b", "reader")
	get(cloud.AWS, "b", "nobody")

	want := map[string]float64{
		"gotk_token_cache_events_total cache_miss OCIRepository a apps reconcile": 1,
		"gotk_token_cache_events_total cache_hit OCIRepository b apps reconcile":  1,
		"gotk_token_cache_events_total cache_miss OCIRepository b apps reconcile": 2,
		"gotk_token_cache_requests_total success":                                 3,
		"gotk_token_cache_requests_total failure":                                 1,
		"gotk_token_cache_evictions_total":                                        1,
		"gotk_token_cached_items":                                                 1,
	}
	if diff := cmp.Diff(want, figures(t, registry)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}

	c.Forget("OCIRepository", "apps", "b")

	want = map[string]float64{
		"gotk_token_cache_events_total cache_miss OCIRepository a apps reconcile": 1,
		"gotk_token_cache_requests_total success":                                 3,
		"gotk_token_cache_requests_total failure":                                 1,
		"gotk_token_cache_evictions_total":                                        1,
		"gotk_token_cached_items":                                                 0,
	}
	if diff := cmp.Diff(want, figures(t, registry)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestForgetKeepsWhatOthersUse(t *testing.T) {
	c, cluster, _ := credentials(t)

	for _, name := range []string{"a", "b"} {
		r := request(cloud.GCP, "reader")
		r.Name = name

		if _, err := c.GCP(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}

	c.Forget("OCIRepository", "apps", "a")

	if _, err := c.GCP(t.Context(), request(cloud.GCP, "reader")); err != nil || cluster.tokens.Load() != 1 {
		t.Errorf("%d tokens, %v", cluster.tokens.Load(), err)
	}
}

func TestConcurrently(t *testing.T) {
	c, cluster, _ := credentials(t)

	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			r := request(cloud.GCP, "reader")
			r.Name = fmt.Sprint(i)

			if _, _, err := c.Registry(t.Context(), r, gar); err != nil {
				t.Error(err)
			}

			if i%5 == 0 {
				c.Forget(r.Kind, r.Namespace, r.Name)
			}
		})
	}

	wg.Wait()

	if got := cluster.tokens.Load(); got < 1 || got > 20 {
		t.Errorf("%d tokens", got)
	}
}

func TestEnds(t *testing.T) {
	c, _, _ := credentials(t)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()

	if _, err := c.GCP(ctx, request(cloud.GCP, "reader")); err == nil {
		t.Error("there is a token")
	}
}

func figures(t *testing.T, r *prometheus.Registry) map[string]float64 {
	t.Helper()

	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}

	got := map[string]float64{}

	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			labels := map[string]string{}

			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}

			for _, l := range []string{"status", "event_type", "kind", "name", "namespace", "operation"} {
				if v, ok := labels[l]; ok {
					name += " " + v
				}
			}

			got[name] = value(m)
		}
	}

	return got
}

func value(m *dto.Metric) float64 { return m.GetCounter().GetValue() + m.GetGauge().GetValue() }
