package apply

import (
	"regexp"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weir-dev/weir/reconcilers/access"
)

// mostSeries bounds the fields that are told apart: names of keys in maps are without number.
const mostSeries = 2000

// Metrics are the figures of an Applier. A nil *Metrics takes nothing.
type Metrics struct {
	corrections *prometheus.CounterVec
	items       *regexp.Regexp

	mu    sync.Mutex
	known map[[2]string]struct{}
}

// NewMetrics registers the metrics:
//
//   - weir_drift_corrections_total{kind,name,namespace,object,field}: how often a field of an object of that kind
//     ("apps/Deployment") was put back for the owner of that kind and name. The field is a path without the keys of items,
//     such as .spec.template.spec.containers.image; "" stands for a whole object, "other" for those beyond a limit.
func NewMetrics(r prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{
		items: regexp.MustCompile(`\[[^\]]*\]`), known: map[[2]string]struct{}{},
		corrections: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_drift_corrections_total",
			Help: "How often a field that somebody else had changed was put back.",
		}, []string{"kind", "name", "namespace", "object", "field"}),
	}
	return m, r.Register(m.corrections)
}

func (m *Metrics) corrected(owner access.ID, changes Changes) {
	if m == nil {
		return
	}
	for _, c := range changes {
		if c.Drift == nil {
			continue
		}
		object := strings.TrimPrefix(c.Group+"/"+c.Kind, "/")
		fields := map[string]struct{}{}
		for _, f := range c.Drift.Fields {
			fields[m.items.ReplaceAllString(f, "")] = struct{}{}
		}
		if len(fields) == 0 {
			fields[""] = struct{}{}
		}
		for f := range fields {
			m.corrections.WithLabelValues(owner.Kind, owner.Name, owner.Namespace, object, m.bounded(object, f)).Inc()
		}
	}
}

func (m *Metrics) bounded(object, field string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	key := [2]string{object, field}
	if _, ok := m.known[key]; !ok && len(m.known) >= mostSeries {
		return "other"
	}
	m.known[key] = struct{}{}
	return field
}

func (m *Metrics) forget(owner access.ID) {
	if m != nil {
		m.corrections.DeletePartialMatch(prometheus.Labels{"kind": owner.Kind, "name": owner.Name, "namespace": owner.Namespace})
	}
}
