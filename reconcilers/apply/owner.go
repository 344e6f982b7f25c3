package apply

import (
	"cmp"
	"strings"

	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/health"
)

// Owner is who applies a set, and how its objects show that.
type Owner struct {
	// ID of the object that owns the set, such as a Kustomization.
	access.ID
	// Prefix of the labels <prefix>/name and <prefix>/namespace that each object of the set gets.
	Prefix string
	// Markers is the prefix of the markers <markers>/reconcile, /ssa, /force and /prune with which users steer single
	// objects. Empty means Prefix.
	Markers string
	// Manager is the field manager.
	Manager string
}

// Labels returns the labels that objects of the owner carry.
func (o Owner) Labels() map[string]string {
	return map[string]string{o.nameLabel(): o.Name, o.namespaceLabel(): o.Namespace}
}

func (o Owner) nameLabel() string      { return o.Prefix + "/name" }
func (o Owner) namespaceLabel() string { return o.Prefix + "/namespace" }

// owns tells whether the labels are the owner's.
func (o Owner) owns(labels map[string]string) bool {
	owned := 0
	for key, value := range labels {
		switch name, ok := strings.CutPrefix(key, o.Prefix); {
		case !ok:
		case name == "/name" && value == o.Name, name == "/namespace" && value == o.Namespace:
			owned++
		}
	}
	return owned == 2
}

// Generation returns the one that the owner's last apply of the object has made or found. Zero if there was none.
func (a *Applier) Generation(owner, id access.ID) int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	if l := a.ledgers[owner]; l != nil && l.records[id] != nil {
		return l.records[id].generation
	}
	return 0
}

// marks are the markers on one object, as labels or annotations. Their values compare case-insensitively.
type marks struct {
	ignore       bool // reconcile: disabled, or ssa: Ignore
	ifNotPresent bool // ssa: IfNotPresent
	merge        bool // ssa: Merge
	force        bool // force: enabled
	keep         bool // prune: disabled
	undetected   bool // driftDetection: disabled
}

// marks reads the owner's markers. It is called for every object and event, and allocates nothing.
func (o Owner) marks(labels, annotations map[string]string) marks {
	var m marks
	prefix := cmp.Or(o.Markers, o.Prefix)
	for _, from := range [...]map[string]string{labels, annotations} {
		for key, value := range from {
			if name, ok := strings.CutPrefix(key, prefix); ok {
				m.read(name, value)
			}
		}
	}
	return m
}

func (m *marks) read(name, value string) {
	is := func(want string) bool { return strings.EqualFold(value, want) }
	switch name {
	case "/reconcile":
		m.ignore = m.ignore || is(meta.DisabledValue)
	case "/ssa":
		m.ignore = m.ignore || is("Ignore")
		m.ifNotPresent = m.ifNotPresent || is("IfNotPresent")
		m.merge = m.merge || is("Merge")
	case "/force":
		m.force = m.force || is(meta.EnabledValue)
	case "/prune":
		m.keep = m.keep || is(meta.DisabledValue)
	case "/driftDetection":
		m.undetected = m.undetected || is(meta.DisabledValue)
	}
}

// exempts tells whether a marker on a live object keeps it as it is, or, for drift, what became of it.
func (o Owner) exempts(l *health.Live, drift bool) bool {
	m := o.liveMarks(l)
	return m.ignore || drift && m.undetected
}

func (o Owner) liveMarks(l *health.Live) marks { return o.marks(l.Labels, l.Annotations) }

// Takeover names field managers whose fields the owner takes over, so that what they set and the set does not have is
// removed.
type Takeover struct {
	// Manager is the name, or its beginning if Prefix is set.
	Manager string
	Prefix  bool
	// Updates restricts it to writes other than server-side applies.
	Updates bool
}

func (t Takeover) matches(name string, applied bool) bool {
	if t.Updates && applied {
		return false
	}
	if t.Prefix {
		return strings.HasPrefix(name, t.Manager)
	}
	return name == t.Manager
}

// takeovers are all managers whose fields an owner takes over: those of people's tools, those of the time before
// server-side apply, those of earlier generations of the owner, and those that the caller adds.
type takeovers []Takeover

func (o Owner) takeovers(more []Takeover) takeovers {
	return append(takeovers{
		{Manager: "kubectl", Prefix: true},
		{Manager: "before-first-apply", Updates: true},
		{Manager: o.Manager, Updates: true},
	}, more...)
}

// match tells whether the fields of the manager are taken over by the owner, whose own applied ones are not.
func (t takeovers) match(name string, applied bool, own string) bool {
	if applied && name == own {
		return false
	}
	for _, m := range t {
		if m.matches(name, applied) {
			return true
		}
	}
	return false
}
