package apply

import (
	"cmp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/weir-dev/weir/reconcilers/access"
)

// The stages of an apply. A stage begins when the one before is written and, where that takes time, has taken effect.
const (
	foundations = iota // what others need to exist at all
	classes
	custom
	rest
	stages
)

// first and last are the kinds with a place of their own in the order, whatever their group.
func first() []string {
	return []string{
		"CustomResourceDefinition", "Namespace", "ClusterRole",
		"ClusterClass", "RuntimeClass", "PriorityClass", "StorageClass", "VolumeSnapshotClass", "IngressClass", "GatewayClass",
		"ClusterRoleBinding", "ResourceQuota", "ServiceAccount", "Role", "RoleBinding", "ConfigMap", "Secret", "Service", "LimitRange",
		"Deployment", "StatefulSet", "CronJob", "PodDisruptionBudget",
	}
}

func last() []string {
	return []string{"MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"}
}

// order says which objects come before which others.
type order struct {
	rank   map[string]int // of the kinds with a place; others have none
	others int
	custom []schema.GroupKind
}

func newOrder(custom []schema.GroupKind) order {
	o := order{rank: map[string]int{}, others: len(first()), custom: custom}
	for i, kind := range first() {
		o.rank[kind] = i
	}
	for i, kind := range last() {
		o.rank[kind] = o.others + 1 + i
	}
	return o
}

func (o order) of(kind string) int {
	if rank, ok := o.rank[kind]; ok {
		return rank
	}
	return o.others
}

// stage returns the stage of an object.
func (o order) stage(id access.ID) int {
	switch {
	case id.Kind == "CustomResourceDefinition", id.Kind == "Namespace", id.Kind == "ClusterRole":
		return foundations
	case strings.HasSuffix(id.Kind, "Class"):
		return classes
	case slices.Contains(o.custom, id.GroupKind()):
		return custom
	}
	return rest
}

// wave returns the group of kinds within a stage, all of which are written in parallel. What workloads refer to goes
// before them, since a pod that misses its account or configuration is retried late; what admits or refuses others
// goes after them, since it may be served by them.
func (o order) wave(id access.ID) int {
	switch rank := o.of(id.Kind); {
	case rank < o.of("Deployment"):
		return 0
	case rank <= o.others:
		return 1
	}
	return 2
}

// compare orders objects for application. The reverse is the order of deletion.
func (o order) compare(a, b access.ID) int {
	return cmp.Or(
		cmp.Compare(o.stage(a), o.stage(b)),
		cmp.Compare(o.of(a.Kind), o.of(b.Kind)),
		cmp.Compare(a.Group, b.Group),
		cmp.Compare(a.Kind, b.Kind),
		cmp.Compare(a.Namespace, b.Namespace),
		cmp.Compare(a.Name, b.Name),
	)
}

// together tells whether two objects may be written, or deleted, at the same time.
func (o order) together(a, b access.ID) bool {
	return o.stage(a) == o.stage(b) && o.wave(a) == o.wave(b)
}

// waves cuts a sorted list into runs of objects that go together.
func waves[T any](o order, sorted []T, id func(T) access.ID) [][]T {
	var out [][]T
	start := 0
	for i := range sorted {
		if i+1 == len(sorted) || !o.together(id(sorted[i]), id(sorted[i+1])) {
			out = append(out, sorted[start:i+1])
			start = i + 1
		}
	}
	return out
}
