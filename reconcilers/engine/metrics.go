package engine

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/weir-dev/weir/api/meta"
)

// readyStatuses are the values of a condition, each of which is a series.
var readyStatuses = []metav1.ConditionStatus{metav1.ConditionTrue, metav1.ConditionFalse, metav1.ConditionUnknown} //nolint:gochecknoglobals // a constant list

// Metrics are the figures of the reconcilers, under the names that dashboards and alerts for Flux read. A nil *Metrics
// takes and gives nothing.
type Metrics struct {
	duration  *prometheus.HistogramVec
	ready     *prometheus.GaugeVec
	suspended *prometheus.GaugeVec
}

// NewMetrics registers the metrics:
//
//   - gotk_reconcile_duration_seconds{kind,name,namespace}: histogram, ten exponential buckets from 10 ms to 1800 s;
//   - gotk_reconcile_condition{kind,name,namespace,type,status}: 1 for the status that Ready has, 0 for the others;
//   - gotk_suspend_status{kind,name,namespace}: 1 if suspended.
func NewMetrics(r prometheus.Registerer) (*Metrics, error) {
	labels := []string{"kind", "name", "namespace"}
	m := &Metrics{
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "gotk_reconcile_duration_seconds",
			Help:    "The duration in seconds of a reconcile.",
			Buckets: prometheus.ExponentialBucketsRange(10e-3, 1800, 10),
		}, labels),
		ready: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "gotk_reconcile_condition",
			Help: "The status of the Ready condition of an object.",
		}, append(labels[:3:3], "type", "status")),
		suspended: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "gotk_suspend_status",
			Help: "Whether an object is suspended.",
		}, labels),
	}

	for _, c := range []prometheus.Collector{m.duration, m.ready, m.suspended} {
		if err := r.Register(c); err != nil {
			return nil, err //nolint:wrapcheck // names the metric
		}
	}

	return m, nil
}

func (m *Metrics) observe(kind string, obj Object, d time.Duration) {
	if m == nil {
		return
	}

	m.duration.WithLabelValues(kind, obj.GetName(), obj.GetNamespace()).Observe(d.Seconds())

	suspended := 0.0
	if obj.Suspended() {
		suspended = 1
	}

	m.suspended.WithLabelValues(kind, obj.GetName(), obj.GetNamespace()).Set(suspended)
}

func (m *Metrics) condition(kind string, obj Object) {
	if m == nil {
		return
	}

	have := metav1.ConditionUnknown
	if c := Condition(obj, meta.ReadyCondition); c != nil {
		have = c.Status
	}

	for _, s := range readyStatuses {
		value := 0.0
		if s == have {
			value = 1
		}

		m.ready.WithLabelValues(kind, obj.GetName(), obj.GetNamespace(), meta.ReadyCondition, string(s)).Set(value)
	}
}

func (m *Metrics) forget(kind string, key types.NamespacedName) {
	if m == nil {
		return
	}

	labels := prometheus.Labels{"kind": kind, "name": key.Name, "namespace": key.Namespace}
	m.duration.DeletePartialMatch(labels)
	m.ready.DeletePartialMatch(labels)
	m.suspended.DeletePartialMatch(labels)
}
