package apply

import (
	"regexp"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weir-dev/weir/reconcilers/access"
)

const (
	// mostSeries bounds the fields that are told apart for one owner: names of keys in maps are without number.
	mostSeries = 100
	// mostShared bounds those of all owners of a namespace, so that no tenant makes them without number by making owners.
	mostShared = 2000
	// others is the object and the field of what is beyond the bounds.
	others = "other"
)

// Metrics are the figures of an Applier. A nil *Metrics takes nothing.
type Metrics struct {
	corrections *prometheus.CounterVec
	items       *regexp.Regexp

	mu     sync.Mutex
	known  map[access.ID]map[[2]string]struct{} // objects and fields by owner
	shared map[string]int                       // their number by namespace
}

// NewMetrics registers the metrics:
//
//   - weir_drift_corrections_total{kind,name,namespace,object,field}: how often a field of an object of that kind
//     ("apps/Deployment") was put back for the owner of that kind and name. The field is a path without the keys of items,
//     such as .spec.template.spec.containers.image; "" stands for a whole object. Beyond a limit for the owner and one for its
//     namespace, both are "other".
func NewMetrics(r prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{
		items: regexp.MustCompile(`\[[^\]]*\]`), known: map[access.ID]map[[2]string]struct{}{}, shared: map[string]int{},
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
			m.count(owner, object, f)
		}
	}
}

func (m *Metrics) count(owner access.ID, object, field string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	key := [2]string{object, field}
	mine := m.known[owner]
	if mine == nil {
		mine = map[[2]string]struct{}{}
		m.known[owner] = mine
	}
	if _, ok := mine[key]; !ok {
		if len(mine) >= mostSeries || m.shared[owner.Namespace] >= mostShared {
			key = [2]string{others, others}
		} else {
			mine[key] = struct{}{}
			m.shared[owner.Namespace]++
		}
	}
	m.corrections.WithLabelValues(owner.Kind, owner.Name, owner.Namespace, key[0], key[1]).Inc()
}

func (m *Metrics) forget(owner access.ID) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.shared[owner.Namespace] -= len(m.known[owner]); m.shared[owner.Namespace] <= 0 {
		delete(m.shared, owner.Namespace)
	}
	delete(m.known, owner)
	m.corrections.DeletePartialMatch(prometheus.Labels{"kind": owner.Kind, "name": owner.Name, "namespace": owner.Namespace})
}
