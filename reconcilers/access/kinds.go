package access

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/version"
	"k8s.io/utils/clock"
)

const (
	// discoveryRest is how long an unknown kind stays unknown before the API server is asked again.
	discoveryRest = 5 * time.Second
	// mostKinds is how many kinds, each version counted, an API server may serve.
	mostKinds = 50_000
	// kindBytes is about what one of them takes.
	kindBytes = 512
)

// Mapping says where the API server serves a kind.
type Mapping struct {
	schema.GroupVersionResource
	Kind       string
	Namespaced bool
	Deletable  bool // its objects can be listed and deleted
}

type discover func(context.Context) (*metav1.APIGroupList, map[schema.GroupVersion]*metav1.APIResourceList, map[schema.GroupVersion]error, error)

// kinds is what the API server is known to serve. It is filled by the first look-up and again when an unknown kind is
// asked for, once per discoveryRest.
type kinds struct {
	discover discover
	clock    clock.PassiveClock

	room *Room // for what is served

	asking chan struct{} // holds a token while somebody asks the API server

	mu     sync.RWMutex
	served map[schema.GroupKind]versions
	asked  time.Time // zero: ask at the next unknown kind
	taken  int64     // of the room

	offered *Served // as of the last refresh that somebody wanted all of, nil if anything has changed since
}

type versions struct {
	preferred string
	mappings  map[string]Mapping // by version
}

func newKinds(d discover, c clock.PassiveClock) *kinds {
	return &kinds{discover: d, clock: c, asking: make(chan struct{}, 1), served: map[schema.GroupKind]versions{}}
}

// find returns where the kind is served in version v, or in the preferred one if v is empty. An unknown kind
// is an error of type *meta.NoKindMatchError.
func (k *kinds) find(ctx context.Context, gk schema.GroupKind, v string) (Mapping, error) {
	if m, ok, _ := k.look(gk, v); ok {
		return m, nil
	}
	select {
	case k.asking <- struct{}{}:
		defer func() { <-k.asking }()
	case <-ctx.Done():
		return Mapping{}, fmt.Errorf("look up kind %q: %w", gk, context.Cause(ctx))
	}
	m, ok, fresh := k.look(gk, v) // another may have asked meanwhile
	if !ok && !fresh {
		if err := k.refresh(ctx); err != nil {
			return Mapping{}, fmt.Errorf("look up kind %q: %w", gk, err)
		}
		m, ok, _ = k.look(gk, v)
	}
	if !ok {
		return Mapping{}, noMatch(gk, v)
	}
	return m, nil
}

// deletable returns the kinds whose objects can be listed and deleted, sorted, as the API server tells them now.
func (k *kinds) deletable(ctx context.Context) ([]schema.GroupKind, error) {
	select {
	case k.asking <- struct{}{}:
		defer func() { <-k.asking }()
	case <-ctx.Done():
		return nil, fmt.Errorf("look up all kinds: %w", context.Cause(ctx))
	}
	if err := k.refresh(ctx); err != nil {
		return nil, fmt.Errorf("look up all kinds: %w", err)
	}
	k.mu.RLock()
	defer k.mu.RUnlock()
	var out []schema.GroupKind
	for gk, v := range k.served {
		if v.mappings[v.preferred].Deletable {
			out = append(out, gk)
		}
	}
	slices.SortFunc(out, func(a, b schema.GroupKind) int { return strings.Compare(a.String(), b.String()) })
	return out, nil
}

func (k *kinds) look(gk schema.GroupKind, v string) (m Mapping, found, fresh bool) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	served := k.served[gk]
	if v == "" {
		v = served.preferred
	}
	m, found = served.mappings[v]
	return m, found, !k.asked.IsZero() && k.clock.Since(k.asked) < discoveryRest
}

func (k *kinds) refresh(ctx context.Context) error {
	k.mu.Lock()
	k.asked = k.clock.Now() // before the answer: what is invalidated meanwhile is asked again
	k.mu.Unlock()
	groups, resources, failed, err := k.discover(ctx)
	if err != nil {
		k.invalidate()
		return fmt.Errorf("discover what the API server serves: %w", err)
	}
	served, n := mappings(groups, resources)
	if n > mostKinds {
		k.invalidate()
		return fmt.Errorf("discover what the API server serves: more than %d kinds", mostKinds)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.room.Take(int64(n)*kindBytes - k.taken); err != nil {
		k.asked = time.Time{}
		return fmt.Errorf("discover what the API server serves: %w", err)
	}
	k.taken = int64(n) * kindBytes
	for gk, v := range k.served { // an aggregated API that is down keeps its kinds
		if _, ok := served[gk]; !ok && anyFailed(gk.Group, failed) {
			served[gk] = v
		}
	}
	k.served, k.offered = served, nil
	return nil
}

// close forgets everything.
func (k *kinds) close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.room.Give(k.taken)
	k.taken, k.served, k.asked, k.offered = 0, map[schema.GroupKind]versions{}, time.Time{}, nil
}

func (k *kinds) invalidate() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.asked = time.Time{}
}

// forget drops a kind that turned out not to be served.
func (k *kinds) forget(gk schema.GroupKind) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, ok := k.served[gk]; ok {
		delete(k.served, gk)
		k.asked, k.offered = time.Time{}, nil
	}
}

// learn adds what the CustomResourceDefinition serves.
func (k *kinds) learn(crd *unstructured.Unstructured) {
	group, _, _ := unstructured.NestedString(crd.Object, "spec", "group")
	kind, _, _ := unstructured.NestedString(crd.Object, "spec", "names", "kind")
	plural, _, _ := unstructured.NestedString(crd.Object, "spec", "names", "plural")
	scope, _, _ := unstructured.NestedString(crd.Object, "spec", "scope")
	list, _, _ := unstructured.NestedSlice(crd.Object, "spec", "versions")
	v := versions{mappings: map[string]Mapping{}}
	for _, item := range list {
		entry, _ := item.(map[string]any)
		name, _ := entry["name"].(string)
		if served, _ := entry["served"].(bool); !served || name == "" {
			continue
		}
		v.mappings[name] = Mapping{
			GroupVersionResource: schema.GroupVersionResource{Group: group, Version: name, Resource: plural},
			Kind:                 kind,
			Namespaced:           scope == "Namespaced",
			Deletable:            true,
		}
		if v.preferred == "" || prefer(name, v.preferred) {
			v.preferred = name
		}
	}
	if group == "" || kind == "" || plural == "" || len(v.mappings) == 0 {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.offered = nil
	k.served = maps.Clone(k.served)
	k.served[schema.GroupKind{Group: group, Kind: kind}] = v
}

// mappings turns discovery's answer around. The first version of a kind in the order of its group is the preferred
// one, unless the group's own preference has the kind too. It counts the resources, and stops when there are too many.
func mappings(groups *metav1.APIGroupList, resources map[schema.GroupVersion]*metav1.APIResourceList) (served map[schema.GroupKind]versions, n int) {
	served = map[schema.GroupKind]versions{}
	for _, group := range groups.Groups {
		for _, v := range group.Versions {
			gv := schema.GroupVersion{Group: group.Name, Version: v.Version}
			list := resources[gv]
			if list == nil {
				continue
			}
			if n += len(list.APIResources); n > mostKinds {
				return nil, n
			}
			for i := range list.APIResources {
				add(served, gv, &list.APIResources[i], group.PreferredVersion.Version)
			}
		}
	}
	return served, n
}

func add(served map[schema.GroupKind]versions, gv schema.GroupVersion, r *metav1.APIResource, preferred string) {
	if isSubresource(r.Name) {
		return
	}
	gk := schema.GroupKind{Group: gv.Group, Kind: r.Kind}
	v, ok := served[gk]
	if !ok {
		v = versions{preferred: gv.Version, mappings: map[string]Mapping{}}
	}
	if gv.Version == preferred {
		v.preferred = preferred
	}
	if _, twice := v.mappings[gv.Version]; !twice {
		v.mappings[gv.Version] = Mapping{
			GroupVersionResource: gv.WithResource(r.Name), Kind: r.Kind, Namespaced: r.Namespaced,
			Deletable: slices.Contains(r.Verbs, "list") && slices.Contains(r.Verbs, "delete"),
		}
	}
	served[gk] = v
}

// prefer orders versions as the API server does: v2 before v1 before v2beta1 before v1alpha1 before anything else.
func prefer(a, b string) bool { return version.CompareKubeAwareVersionStrings(a, b) > 0 }

func isSubresource(name string) bool { return strings.Contains(name, "/") }

func anyFailed(group string, failed map[schema.GroupVersion]error) bool {
	for gv := range failed {
		if gv.Group == group {
			return true
		}
	}
	return false
}

func noMatch(gk schema.GroupKind, v string) error {
	e := &apimeta.NoKindMatchError{GroupKind: gk}
	if v != "" {
		e.SearchedVersions = []string{v}
	}
	return e
}
