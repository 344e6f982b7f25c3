package kustomize

import (
	"context"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/access"
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

func (f family) OfSource(context.Context, string, types.NamespacedName) []types.NamespacedName {
	var keys []types.NamespacedName
	for _, k := range f {
		keys = append(keys, types.NamespacedName{Namespace: k.Namespace, Name: k.Name})
	}

	return keys
}

func (f family) DependingOn(context.Context, types.NamespacedName) []types.NamespacedName { return nil }

func (f family) Kustomization(_ context.Context, key types.NamespacedName) (*kustomizev1.Kustomization, error) {
	for _, k := range f {
		if k.Namespace == key.Namespace && k.Name == key.Name {
			return k, nil
		}
	}

	return nil, apierrors.NewNotFound(schema.GroupResource{}, key.Name)
}

// TestLateInEachCluster shows that it counts for each cluster who has come to a revision: objects move between the
// Kustomizations of one.
func TestLateInEachCluster(t *testing.T) {
	of := func(name, cluster, attempted string) *kustomizev1.Kustomization {
		k := &kustomizev1.Kustomization{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name}}
		k.Spec.SourceRef.Kind, k.Spec.SourceRef.Name = "GitRepository", "repo"
		k.Status.LastAttemptedRevision = attempted

		if cluster != "" {
			k.Spec.KubeConfig = &meta.KubeConfigReference{SecretRef: &meta.SecretKeyReference{Name: cluster}}
		}

		return k
	}

	here, there, late := of("here", "", "1"), of("there", "away", "1"), of("late", "away", "0")
	all := family{here, there, late}
	r := &reconciler{Deps: Deps{Relatives: all, Dependencies: all}, memory: &memory{}}

	if r.late(t.Context(), here, "1") {
		t.Error("one waits for those of another cluster")
	}

	if !r.late(t.Context(), there, "1") {
		t.Error("one does not wait for another one of its cluster, because nobody is late in another cluster")
	}

	late.Status.LastAttemptedRevision = "1"

	if r.late(t.Context(), there, "1") {
		t.Error("one waits when all have come to the revision")
	}
}
