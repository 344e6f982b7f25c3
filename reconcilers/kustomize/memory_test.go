package kustomize

import (
	"context"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/engine"
)

// TestAnotherCluster shows that a plan that was approved for one cluster is not approved for another one, to which the same
// kubeconfig may lead at any time.
func TestAnotherCluster(t *testing.T) {
	here, there := &access.Factory{}, &access.Factory{}
	m := &memo{}

	m.at(here)
	m.inputs, m.adopted, m.approved = "inputs", true, "inputs"
	m.at(here)

	if m.inputs == "" || !m.adopted || m.approved == "" {
		t.Error("what is known of a cluster is forgotten though it is the same")
	}

	m.at(there)

	if m.inputs != "" || m.adopted || m.approved != "" {
		t.Errorf("of another cluster is known: inputs %q, adopted %t, approved %q", m.inputs, m.adopted, m.approved)
	}
}

// family are Kustomizations of one source.
type family []*kustomizev1.Kustomization

func (f family) OfSource(context.Context, string, types.NamespacedName) ([]*kustomizev1.Kustomization, error) {
	return f, nil
}

func (f family) DependingOn(context.Context, types.NamespacedName) ([]*kustomizev1.Kustomization, error) {
	return nil, nil
}

func (f family) Kustomization(_ context.Context, key types.NamespacedName) (*kustomizev1.Kustomization, error) {
	for _, k := range f {
		if k.Namespace == key.Namespace && k.Name == key.Name {
			return k, nil
		}
	}

	return nil, apierrors.NewNotFound(schema.GroupResource{}, key.Name)
}

// member returns a Kustomization of the one source that has applied a revision, with an inventory.
func member(name, applied string, inventory ...string) *kustomizev1.Kustomization {
	k := &kustomizev1.Kustomization{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, UID: types.UID(name), Generation: 1}}
	k.Spec.SourceRef.Kind, k.Spec.SourceRef.Name = "GitRepository", "repo"
	k.Status.ObservedGeneration, k.Status.LastAppliedRevision = 1, applied
	k.Status.Inventory = &meta.ResourceInventory{}

	for _, id := range inventory {
		k.Status.Inventory.Entries = append(k.Status.Inventory.Entries, meta.ResourceRef{ID: id, Version: "v1"})
	}

	return k
}

// TestSurvey shows for whom objects that leave a Kustomization are kept.
func TestSurvey(t *testing.T) {
	const x = "ns_x__ConfigMap"

	type want struct {
		on       string
		patience time.Duration
		wanted   bool
	}

	change := func(k *kustomizev1.Kustomization, f func(k *kustomizev1.Kustomization)) *kustomizev1.Kustomization {
		f(k)

		return k
	}

	cases := map[string]struct {
		reason  string
		other   *kustomizev1.Kustomization
		before  func(r *reconciler, other *kustomizev1.Kustomization)
		deleted bool // the one that asks
		want    want
	}{
		"Behind": {"It may take objects over when it comes to the revision.", member("b", "0"), nil, false, want{"b", longPatience, false}},
		"Come":   {"It has looked at the revision.", member("b", "1"), nil, false, want{}},
		"Listed": {
			"It has taken the object over, and did not run since the process started: the object may have been taken back.",
			member("b", "1", x), nil, false, want{"b", 0, true},
		},
		"Changed": {
			"Its spec has changed since.", change(member("b", "1"), func(k *kustomizev1.Kustomization) { k.Generation = 2 }), nil, false,
			want{"b", longPatience, false},
		},
		"Suspended": {
			"It does not run.", change(member("b", "0"), func(k *kustomizev1.Kustomization) { k.Spec.Suspend = true }), nil, false, want{},
		},
		"Stalled": {
			"It does not run before something changes.", change(member("b", "0"), func(k *kustomizev1.Kustomization) {
				engine.Set(k, meta.StalledCondition, metav1.ConditionTrue, "AccessDenied", "no")
			}), nil, false, want{},
		},
		"Deleted": {
			"It is deleted.", change(member("b", "0"), func(k *kustomizev1.Kustomization) { k.DeletionTimestamp = new(metav1.Now()) }), nil, false,
			want{},
		},
		"Elsewhere": {
			"It is about another cluster.", change(member("b", "0"), func(k *kustomizev1.Kustomization) {
				k.Spec.KubeConfig = &meta.KubeConfigReference{SecretRef: &meta.SecretKeyReference{Name: "away"}}
			}), nil, false, want{},
		},
		"OtherSource": {
			"Objects may move from source to source, but nobody waits for that.",
			change(member("b", "0"), func(k *kustomizev1.Kustomization) { k.Spec.SourceRef.Name = "another" }), nil, false, want{},
		},
		"Applied": {
			"It has come, and its status is on its way.", member("b", "0"),
			func(r *reconciler, b *kustomizev1.Kustomization) {
				r.Family.come(context.Background(), b, "1", nil, r.Now())
			}, false, want{},
		},
		"Wants": {
			"It could not apply the object yet.", member("b", "0"), func(r *reconciler, b *kustomizev1.Kustomization) {
				r.Family.come(context.Background(), b, "1", map[string]struct{}{x: {}}, r.Now())
			}, false, want{"b", 0, true},
		},
		"WantsAfterAll": {
			"It was late before, and it is known now what it wants.", member("b", "0"), func(r *reconciler, b *kustomizev1.Kustomization) {
				r.Family.hint(&types.NamespacedName{Namespace: "ns", Name: "b"})
				r.Family.come(context.Background(), b, "1", map[string]struct{}{x: {}}, r.Now())
			}, false, want{"b", 0, true},
		},
		"WantsAnother": {
			"It could not apply its objects yet, but this one is none of them.", member("b", "0"), func(r *reconciler, b *kustomizev1.Kustomization) {
				r.Family.come(context.Background(), b, "1", map[string]struct{}{"ns_y__ConfigMap": {}}, r.Now())
			}, false, want{},
		},
		"AnotherOfTheName": {
			"What came was deleted.", member("b", "0"), func(r *reconciler, _ *kustomizev1.Kustomization) {
				r.Family.come(context.Background(), change(member("b", "0"), func(k *kustomizev1.Kustomization) { k.UID = "old" }), "1", nil, r.Now())
			}, false, want{"b", longPatience, false},
		},
		"Slow": {
			"It was waited for in vain before.", member("b", "0"),
			func(r *reconciler, _ *kustomizev1.Kustomization) {
				r.Family.giveUp(types.NamespacedName{Namespace: "ns", Name: "b"}, r.Now())
			},
			false, want{"b", shortPatience, false},
		},
		"Behind for once": {
			"It comes, but for the last revision.", member("b", "0"), func(r *reconciler, b *kustomizev1.Kustomization) {
				r.Family.come(context.Background(), b, "0", nil, r.Now())
				r.Family.giveUp(types.NamespacedName{Namespace: "ns", Name: "b"}, r.Now().Add(-time.Minute))
			}, false, want{"b", longPatience, false},
		},
		"Parent": {
			"Who applies the Kustomization is just changing it, and others may follow.", member("b", "1"),
			func(r *reconciler, _ *kustomizev1.Kustomization) {
				r.Family.begin(types.NamespacedName{Namespace: "ns", Name: "root"}, r.Now())
			},
			false, want{"root", longPatience, false},
		},
		"Child": {
			"One was made that the cache does not show yet.", member("b", "1"), func(r *reconciler, _ *kustomizev1.Kustomization) {
				r.Family.expect(map[types.NamespacedName]int64{{Namespace: "ns", Name: "c"}: 1}, r.Now())
			}, false, want{"c", longPatience, false},
		},
		"ChildShown": {
			"The cache shows it.", member("b", "1"), func(r *reconciler, _ *kustomizev1.Kustomization) {
				r.Family.expect(map[types.NamespacedName]int64{{Namespace: "ns", Name: "b"}: 1}, r.Now())
			}, false, want{},
		},
		"ChildNeverShown": {
			"The cache is not going to show it: it is of another shard.", member("b", "1"), func(r *reconciler, _ *kustomizev1.Kustomization) {
				r.Family.expect(map[types.NamespacedName]int64{{Namespace: "ns", Name: "c"}: 1}, r.Now().Add(-shortPatience))
			}, false, want{},
		},
		"Dependent": {
			"One that depends on the one that is deleted never comes.", change(member("b", "0"), func(k *kustomizev1.Kustomization) {
				k.Spec.DependsOn = []meta.DependencyReference{{Name: "a"}}
			}), nil, true, want{},
		},
		"DependentOfOneThatStays": {
			"One that depends on one that stays comes.", change(member("b", "0"), func(k *kustomizev1.Kustomization) {
				k.Spec.DependsOn = []meta.DependencyReference{{Name: "a"}}
			}), nil, false, want{"b", longPatience, false},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			a := member("a", "1")
			a.Labels = map[string]string{kustomizev1.OwnerNamespaceLabel: "ns", kustomizev1.OwnerNameLabel: "root"}

			if tc.deleted {
				a.DeletionTimestamp = new(metav1.Now())
			}

			all := family{a, tc.other}
			r := &reconciler{Deps: Deps{Family: NewFamily(all, nil), Now: time.Now}}

			if tc.before != nil {
				tc.before(r, tc.other)
			}

			ref := access.Ref{ID: access.ID{Kind: "ConfigMap", Namespace: "ns", Name: "x"}, Version: "v1"}

			got, err := r.survey(t.Context(), questOf(a, "1", []access.Ref{ref}))
			if err != nil {
				t.Fatal(err)
			}

			if (want{got.on.Name, got.patience, len(got.wanted) > 0}) != tc.want {
				t.Errorf("%s\ngot %+v, want %+v", tc.reason, got, tc.want)
			}
		})
	}
}

// TestWoken shows that who waits is woken when the last one whom it waits for has come, and not before.
func TestWoken(t *testing.T) {
	all := family{member("a", "1"), member("b", "0"), member("c", "0"), member("d", "0")}
	woken := 0
	f := NewFamily(all, func(key types.NamespacedName) {
		if key.Name != "a" {
			t.Errorf("%s is woken", key)
		}

		woken++
	})
	r := &reconciler{Deps: Deps{Family: f, Now: time.Now}}

	a, err := r.ask(t.Context(), questOf(all[0], "1", nil))
	if err != nil || a.on.Name == "" {
		t.Fatalf("nobody is waited for: %+v, %v", a, err)
	}

	for _, k := range all[1:] {
		if woken > 0 {
			t.Errorf("woken before %s has come", k.Name)
		}

		f.come(t.Context(), k, "1", nil, r.Now())
	}

	if woken == 0 {
		t.Error("nobody is woken")
	}

	if a, err := r.ask(t.Context(), questOf(all[0], "1", nil)); err != nil || a.on.Name != "" || len(f.vigils) > 0 {
		t.Errorf("somebody is waited for: %+v, %v", a, err)
	}

	for _, k := range all {
		f.forget(t.Context(), types.NamespacedName{Namespace: k.Namespace, Name: k.Name})
	}

	if n := len(f.arrivals) + len(f.applying) + len(f.children) + len(f.slow) + len(f.freed) + len(f.vigils); n > 0 {
		t.Errorf("%d things are kept of those who are gone", n)
	}
}
