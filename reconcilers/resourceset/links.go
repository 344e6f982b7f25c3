package resourceset

import (
	"maps"
	"slices"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/types"

	"github.com/weir-dev/weir/reconcilers/resourceset/template"
)

// Links knows which ResourceSets use which ConfigMaps and Secrets: what their objects copy from, convert, or have the checksums of. That is
// known when they are rendered. The zero value is empty. It is safe for concurrent use.
type Links struct {
	mu   sync.RWMutex
	uses map[types.NamespacedName][]target
	used map[target]map[types.NamespacedName]struct{}
}

// target is a ConfigMap or Secret.
type target struct {
	kind string
	types.NamespacedName
}

// To returns the ResourceSets that use the object, whose kind is ConfigMap or Secret, in the order of their names.
func (l *Links) To(kind string, key types.NamespacedName) []types.NamespacedName {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return slices.SortedFunc(maps.Keys(l.used[target{kind, key}]), func(a, b types.NamespacedName) int {
		return strings.Compare(a.String(), b.String())
	})
}

// set notes what a ResourceSet uses, in place of what was noted before.
func (l *Links) set(owner types.NamespacedName, refs []template.Reference) {
	targets := make([]target, 0, len(refs))
	for _, ref := range refs {
		targets = append(targets, target{ref.Kind, types.NamespacedName{Namespace: ref.Namespace, Name: ref.Name}})
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if slices.Equal(targets, l.uses[owner]) {
		return
	}
	for _, t := range l.uses[owner] {
		if delete(l.used[t], owner); len(l.used[t]) == 0 {
			delete(l.used, t)
		}
	}
	if delete(l.uses, owner); len(targets) == 0 {
		return
	}
	if l.uses == nil {
		l.uses, l.used = map[types.NamespacedName][]target{}, map[target]map[types.NamespacedName]struct{}{}
	}
	l.uses[owner] = targets
	for _, t := range targets {
		if l.used[t] == nil {
			l.used[t] = map[types.NamespacedName]struct{}{}
		}
		l.used[t][owner] = struct{}{}
	}
}
