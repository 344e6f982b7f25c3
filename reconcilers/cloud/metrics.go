package cloud

import "github.com/prometheus/client_golang/prometheus"

// Metrics are the figures of the cache, under the names that dashboards for Flux read. A nil *Metrics takes nothing.
type Metrics struct {
	events    *prometheus.CounterVec
	requests  *prometheus.CounterVec
	evictions prometheus.Counter
	items     prometheus.Gauge
}

// NewMetrics registers the metrics:
//
//   - gotk_token_cache_events_total{event_type,kind,name,namespace,operation}: by object; event_type is cache_hit or cache_miss;
//   - gotk_token_cache_requests_total{status}: status is success or failure;
//   - gotk_token_cache_evictions_total: tokens that made room for others;
//   - gotk_token_cached_items: tokens that are kept.
//
// Source: reference §3.4.
func NewMetrics(r prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gotk_token_cache_events_total",
			Help: "Total number of cache retrieval events for a Gitops Toolkit resource reconciliation.",
		}, []string{"event_type", "kind", "name", "namespace", "operation"}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gotk_token_cache_requests_total",
			Help: "Total number of cache requests by their status.",
		}, []string{"status"}),
		evictions: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gotk_token_cache_evictions_total",
			Help: "Total number of cache evictions.",
		}),
		items: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "gotk_token_cached_items",
			Help: "Total number of items in the cache.",
		}),
	}

	for _, c := range []prometheus.Collector{m.events, m.requests, m.evictions, m.items} {
		if err := r.Register(c); err != nil {
			return nil, err //nolint:wrapcheck // names the metric
		}
	}

	return m, nil
}

const (
	eventHit  = "cache_hit"
	eventMiss = "cache_miss"

	// operation is what the tokens are for.
	operation = "reconcile"
)

func (m *Metrics) event(typ string, o object) {
	if m != nil {
		m.events.WithLabelValues(typ, o.kind, o.name, o.namespace, operation).Inc()
	}
}

func (m *Metrics) request(err error) {
	if m == nil {
		return
	}

	status := "success"
	if err != nil {
		status = "failure"
	}

	m.requests.WithLabelValues(status).Inc()
}

func (m *Metrics) evicted() {
	if m != nil {
		m.evictions.Inc()
	}
}

func (m *Metrics) kept(items int) {
	if m != nil {
		m.items.Set(float64(items))
	}
}

func (m *Metrics) forget(o object) {
	if m == nil {
		return
	}

	for _, typ := range []string{eventHit, eventMiss} {
		m.events.DeleteLabelValues(typ, o.kind, o.name, o.namespace, operation)
	}
}
