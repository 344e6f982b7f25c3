package access

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clocktesting "k8s.io/utils/clock/testing"
)

// server is what discovery answers.
type server struct {
	asked  int
	kinds  map[string][]metav1.APIResource // by group/version, in the order of versions
	order  []string
	prefer map[string]string
	failed map[schema.GroupVersion]error
	err    error
}

func (s *server) discover(context.Context) (*metav1.APIGroupList, map[schema.GroupVersion]*metav1.APIResourceList, map[schema.GroupVersion]error, error) {
	s.asked++
	if s.err != nil {
		return nil, nil, nil, s.err
	}
	groups := &metav1.APIGroupList{}
	lists := map[schema.GroupVersion]*metav1.APIResourceList{}
	at := map[string]int{}
	for _, text := range s.order {
		gv, err := schema.ParseGroupVersion(text)
		if err != nil {
			return nil, nil, nil, err
		}
		if _, ok := at[gv.Group]; !ok {
			at[gv.Group] = len(groups.Groups)
			groups.Groups = append(groups.Groups, metav1.APIGroup{
				Name: gv.Group, PreferredVersion: metav1.GroupVersionForDiscovery{Version: s.prefer[gv.Group]},
			})
		}
		g := &groups.Groups[at[gv.Group]]
		g.Versions = append(g.Versions, metav1.GroupVersionForDiscovery{GroupVersion: text, Version: gv.Version})
		lists[gv] = &metav1.APIResourceList{GroupVersion: text, APIResources: s.kinds[text]}
	}
	return groups, lists, s.failed, nil
}

func newServer() *server {
	return &server{
		order: []string{"v1", "apps/v1", "apps/v1beta1", "apps/v2alpha1"},
		kinds: map[string][]metav1.APIResource{
			"v1":            {{Name: "configmaps", Kind: "ConfigMap", Namespaced: true}, {Name: "pods/eviction", Kind: "Eviction", Namespaced: true}},
			"apps/v1":       {{Name: "deployments", Kind: "Deployment", Namespaced: true}},
			"apps/v1beta1":  {{Name: "deployments", Kind: "Deployment", Namespaced: true}, {Name: "olds", Kind: "Old"}},
			"apps/v2alpha1": {{Name: "olds", Kind: "Old"}},
		},
		prefer: map[string]string{"": "v1", "apps": "v1"},
	}
}

func TestDeletableKinds(t *testing.T) {
	s := newServer()
	verbs := func(group string, resource int, verbs ...string) { s.kinds[group][resource].Verbs = verbs }
	verbs("v1", 0, "get", "list", "delete")
	verbs("v1", 1, "create")
	verbs("apps/v1", 0, "delete", "list")
	verbs("apps/v1beta1", 1, "list")
	verbs("apps/v2alpha1", 0, "list", "delete")
	k := newKinds(s.discover, clocktesting.NewFakePassiveClock(time.Unix(0, 0)))
	for range 2 {
		got, err := k.deletable(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		want := []schema.GroupKind{{Kind: "ConfigMap"}, {Group: "apps", Kind: "Deployment"}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-want, +got:\n%s", diff)
		}
	}
	if s.asked != 2 {
		t.Errorf("the API server was asked %d times, and may have learned of a kind in between", s.asked)
	}
	s.err = errors.New("down")
	if _, err := k.deletable(t.Context()); !errors.Is(err, s.err) {
		t.Errorf("the error is %v", err)
	}
}

func TestKindsAreLookedUpOnce(t *testing.T) {
	s := newServer()
	clock := clocktesting.NewFakePassiveClock(time.Unix(0, 0))
	k := newKinds(s.discover, clock)
	find := func(group, kind, version string) string {
		m, err := k.find(t.Context(), schema.GroupKind{Group: group, Kind: kind}, version)
		if err != nil {
			if !apimeta.IsNoMatchError(err) {
				t.Fatal(err)
			}
			return "none"
		}
		return m.GroupVersion().String() + "/" + m.Resource
	}
	cases := []struct{ reason, group, kind, version, want string }{
		{"the preferred version of the group", "apps", "Deployment", "", "apps/v1/deployments"},
		{"a version that is asked for", "apps", "Deployment", "v1beta1", "apps/v1beta1/deployments"},
		{"the first version that has the kind", "apps", "Old", "", "apps/v1beta1/olds"},
		{"the core group", "", "ConfigMap", "v1", "v1/configmaps"},
		{"a version that does not exist", "apps", "Deployment", "v3", "none"},
		{"a kind that does not exist", "apps", "Nothing", "", "none"},
		{"a subresource is no kind", "", "Eviction", "v1", "none"},
	}
	for _, c := range cases {
		if got := find(c.group, c.kind, c.version); got != c.want {
			t.Errorf("%s: got %q, want %q", c.reason, got, c.want)
		}
	}
	if s.asked != 1 {
		t.Errorf("the API server was asked %d times", s.asked)
	}
}

func TestUnknownKinds(t *testing.T) {
	s := newServer()
	clock := clocktesting.NewFakePassiveClock(time.Unix(0, 0))
	k := newKinds(s.discover, clock)
	gadget := schema.GroupKind{Group: "example.com", Kind: "Gadget"}
	known := func() bool { _, err := k.find(t.Context(), gadget, ""); return err == nil }

	known()
	s.order = append(s.order, "example.com/v1")
	s.kinds["example.com/v1"] = []metav1.APIResource{{Name: "gadgets", Kind: "Gadget"}}
	if known() || s.asked != 1 {
		t.Errorf("an unknown kind stays so for a while; asked %d times", s.asked)
	}
	k.invalidate()
	if !known() || s.asked != 2 {
		t.Errorf("unless what is known is invalid; asked %d times", s.asked)
	}
	k.forget(gadget)
	s.order = s.order[:len(s.order)-1]
	if known() || s.asked != 3 {
		t.Errorf("a kind that is not served any more is forgotten; asked %d times", s.asked)
	}
	clock.SetTime(clock.Now().Add(discoveryRest))
	if known() || s.asked != 4 {
		t.Errorf("after a while it is asked for again; asked %d times", s.asked)
	}
	s.err = errors.New("down")
	k.invalidate()
	if _, err := k.find(t.Context(), gadget, ""); !errors.Is(err, s.err) {
		t.Errorf("not knowing is no answer: %v", err)
	}
	s.err = nil
	s.order, s.failed = []string{"v1"}, map[schema.GroupVersion]error{{Group: "apps", Version: "v1"}: errors.New("down")}
	known()
	if _, err := k.find(t.Context(), schema.GroupKind{Group: "apps", Kind: "Deployment"}, "v1"); err != nil {
		t.Errorf("an API that is down keeps its kinds: %v", err)
	}
}

func TestLearn(t *testing.T) {
	s := newServer()
	k := newKinds(s.discover, clocktesting.NewFakePassiveClock(time.Unix(0, 0)))
	version := func(name string, served bool) any { return map[string]any{"name": name, "served": served} }
	k.learn(&unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{
		"group": "example.com", "scope": "Namespaced",
		"names":    map[string]any{"kind": "Gadget", "plural": "gadgets"},
		"versions": []any{version("v1beta1", true), version("v2", false), version("v1", true), version("v1alpha1", true)},
	}}})
	got, err := k.find(t.Context(), schema.GroupKind{Group: "example.com", Kind: "Gadget"}, "")
	want := Mapping{GroupVersionResource: schema.GroupVersionResource{Group: "example.com", Version: "v1", Resource: "gadgets"}, Kind: "Gadget", Namespaced: true, Deletable: true}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("the best served version is preferred: %v (-want +got):\n%s", err, diff)
	}
	if s.asked != 0 {
		t.Error("the API server was asked for what was learnt")
	}
	k.learn(&unstructured.Unstructured{Object: map[string]any{}}) // says nothing
}
