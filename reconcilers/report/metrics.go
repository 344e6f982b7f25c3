package report

import (
	"strconv"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
)

// Metrics tell of each object of a Flux kind, under the names that dashboards for Flux Operator read, and each as a gauge that is 1:
//
//   - flux_instance_info{uid,kind,name,exported_namespace,ready,reason,suspended,registry,revision};
//   - flux_resourceset_info{uid,kind,name,exported_namespace,ready,reason,suspended,resources,revision};
//   - flux_resourcesetinputprovider_info{uid,kind,name,exported_namespace,ready,reason,suspended,url};
//   - flux_resource_info{uid,kind,name,exported_namespace,ready,reason,suspended,revision,url,ref,source_name,path}, of all other
//     kinds;
//   - flux_operator_info{version,api_version,platform}.
//
// They are as of the last report. Objects that were gone by then are gone here. A nil *Metrics takes nothing.
type Metrics struct {
	operator                                prometheus.Metric
	info                                    *prometheus.Desc
	instance, resourceSet, provider, others *prometheus.Desc

	mu      sync.Mutex
	objects []object // never changed, only replaced
}

// NewMetrics registers the metrics. Of the operator itself they tell from now on, of objects when a report was made.
func NewMetrics(r prometheus.Registerer, operator fluxv1.OperatorReport) (*Metrics, error) {
	desc := func(name, help string, more ...string) *prometheus.Desc {
		labels := append([]string{"uid", "kind", "name", "exported_namespace", "ready", "reason", "suspended"}, more...)
		return prometheus.NewDesc(name, help, labels, nil)
	}
	m := &Metrics{
		info:        prometheus.NewDesc("flux_operator_info", "The operator itself.", []string{"version", "api_version", "platform"}, nil),
		instance:    desc("flux_instance_info", "A FluxInstance, and how it is.", "registry", "revision"),
		resourceSet: desc("flux_resourceset_info", "A ResourceSet, and how it is.", "resources", "revision"),
		provider:    desc("flux_resourcesetinputprovider_info", "A ResourceSetInputProvider, and how it is.", "url"),
		others: desc("flux_resource_info", "An object of a Flux kind, and how it is.",
			"revision", "url", "ref", "source_name", "path"),
	}
	var err error
	m.operator, err = prometheus.NewConstMetric(m.info, prometheus.GaugeValue, 1, operator.Version, operator.APIVersion, operator.Platform)
	if err != nil {
		return nil, err //nolint:wrapcheck // names the metric
	}
	return m, r.Register(m)
}

// set takes what was seen.
func (m *Metrics) set(objects []object) {
	if m == nil {
		return
	}
	for i := range objects {
		objects[i].message = "" // nobody reads it here, and it may be long
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.objects = objects
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.info, m.instance, m.resourceSet, m.provider, m.others} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	ch <- m.operator
	m.mu.Lock()
	objects := m.objects
	m.mu.Unlock()
	for i := range objects {
		desc, more := m.describe(&objects[i])
		ch <- series(desc, &objects[i], more)
	}
}

// describe returns the metric of an object, and the values of the labels that are its own.
func (m *Metrics) describe(o *object) (desc *prometheus.Desc, more []string) {
	switch o.kind {
	case fluxv1.FluxInstanceKind:
		return m.instance, []string{o.registry, o.revision}
	case fluxv1.ResourceSetKind:
		return m.resourceSet, []string{strconv.Itoa(o.resources), o.revision}
	case fluxv1.ResourceSetInputProviderKind:
		return m.provider, []string{o.url}
	}
	return m.others, []string{o.revision, o.url, o.ref, o.source, o.path}
}

func series(desc *prometheus.Desc, o *object, more []string) prometheus.Metric {
	suspended := "False"
	if o.suspended {
		suspended = "True"
	}
	labels := append(make([]string, 0, 12), o.uid, o.kind, o.name, o.namespace, o.ready, o.reason, suspended)
	metric, err := prometheus.NewConstMetric(desc, prometheus.GaugeValue, 1, append(labels, more...)...)
	if err != nil {
		return prometheus.NewInvalidMetric(desc, err)
	}
	return metric
}
