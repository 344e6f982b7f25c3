package instance

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/reconcilers/access"
)

// claimant is an instance whose labels objects have. Two of them may look the same but for the hub: instances have the same name in all
// clusters, and mostly the same namespace.
type claimant struct{ hub, namespace, name string }

// String names it.
func (c claimant) String() string {
	text := fmt.Sprintf("FluxInstance %q", c.namespace+"/"+c.name)
	if c.hub != "" {
		text += fmt.Sprintf(" in cluster %q", c.hub)
	}
	return text
}

func (c claimant) compare(other claimant) int { return strings.Compare(c.String(), other.String()) }

// claim sees to it that what is about to be applied is nobody else's. As long as all is as it was applied, it is not.
func (r *reconciler) claim(ctx context.Context, obj *fluxv1.FluxInstance, s *scope) error {
	if s.Applier.Clean(Owner(obj).ID, s.digest()) {
		return nil
	}
	if s.way != beginning {
		return r.owned(ctx, obj, s, wanted(s.set))
	}
	known, err := r.consider(obj, s)
	if err != nil {
		return err
	}
	if s.claimed = known.claimed; s.claimed {
		return nil
	}
	err = r.owned(ctx, obj, s, wanted(s.set))
	known.claimed = err == nil
	return err
}

// owned returns the verdict of a conflict if somebody else deploys the definitions among the references, which all instances of a cluster
// have in common.
func (r *reconciler) owned(ctx context.Context, obj *fluxv1.FluxInstance, s *scope, refs []access.Ref) error {
	if s.Away() {
		if err := s.resident(ctx, obj); err != nil {
			return err
		}
	}
	others, err := s.claimants(ctx, obj, refs)
	if err != nil {
		return err
	}
	for _, other := range slices.SortedFunc(maps.Keys(others), claimant.compare) {
		alive, err := r.alive(ctx, obj, s, other)
		if err != nil {
			return err
		}
		if alive {
			return r.contest(ctx, obj, s, other)
		}
	}
	return nil
}

// resident returns the verdict of a conflict if the remote cluster has an instance of its own: an operator there reconciles it, or is about
// to.
func (s *scope) resident(ctx context.Context, obj *fluxv1.FluxInstance) error {
	var found []claimant
	gk := schema.GroupKind{Group: fluxv1.GroupVersion.Group, Kind: fluxv1.FluxInstanceKind}
	_, err := s.Client.Each(ctx, gk, access.Query{Full: true}, func(item access.Item) error {
		other := fluxv1.FluxInstance{}
		if err := json.Unmarshal(item.Raw, &other); err != nil {
			return fmt.Errorf("decode FluxInstance: %w", err)
		}
		if !other.IsRemote() {
			found = append(found, claimant{namespace: other.Namespace, name: other.Name})
		}
		return nil
	})
	if err != nil && !isGone(err) {
		return fmt.Errorf("list the instances of the remote cluster: %w", err)
	}
	if len(found) == 0 {
		return nil
	}
	return conflict("cluster %q has %s of its own: delete it (annotated with %s: disabled, it leaves what runs), or this one",
		obj.Status.Cluster.ID, found[0], fluxv1.ReconcileAnnotation)
}

// claimants are the other instances whose labels the definitions among the references have.
func (s *scope) claimants(ctx context.Context, obj *fluxv1.FluxInstance, refs []access.Ref) (map[claimant]bool, error) {
	ours := map[string]bool{}
	for _, ref := range refs {
		if isDefinition(ref) {
			ours[ref.Name] = true
		}
	}
	self := claimant{s.Labels[fluxv1.HubLabel], obj.Namespace, obj.Name}
	others := map[claimant]bool{}
	gk := schema.GroupKind{Group: apiextensionsv1.GroupName, Kind: "CustomResourceDefinition"}
	_, err := s.Client.Each(ctx, gk, access.Query{Labels: fluxv1.OwnerNameLabel}, func(item access.Item) error {
		labels := item.Meta.Labels
		other := claimant{labels[fluxv1.HubLabel], labels[fluxv1.OwnerNamespaceLabel], labels[fluxv1.OwnerNameLabel]}
		if ours[item.Meta.Name] && other != self {
			others[other] = true
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list definitions: %w", err)
	}
	return others, nil
}

// alive tells whether the other instance may still look after what has its labels. Of those in other clusters nothing is known. One of the
// cluster itself was looked for by resident, or is at home, where there is one at a time.
func (r *reconciler) alive(ctx context.Context, obj *fluxv1.FluxInstance, s *scope, other claimant) (bool, error) {
	home, err := r.home.get(ctx, r.Home.Client)
	if err != nil {
		return false, err
	}
	if other.hub == "" || other.hub != home {
		return other.hub != "", nil
	}
	ref := access.Ref{ID: access.ID{
		Group: fluxv1.GroupVersion.Group, Kind: fluxv1.FluxInstanceKind, Namespace: other.namespace, Name: other.name,
	}, Version: fluxv1.GroupVersion.Version}
	live, err := r.Home.Client.Get(ctx, ref)
	if isGone(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("get %q: %w", ref, err)
	}
	where, _, err := unstructured.NestedString(live.Object, "status", "cluster", "id")
	if err != nil {
		return false, fmt.Errorf("read %q: %w", ref, err)
	}
	here, err := r.here(ctx, obj, s)
	return where == here, err
}

// here returns the id of the cluster of the run.
func (r *reconciler) here(ctx context.Context, obj *fluxv1.FluxInstance, s *scope) (string, error) {
	if s.Away() {
		return obj.Status.Cluster.ID, nil
	}
	return r.home.get(ctx, r.Home.Client)
}

// contest returns the verdict of a conflict with the other instance, unless the user has decided it for this one. A decision counts until
// it is carried out: who takes the cluster over later is not overruled by it.
func (r *reconciler) contest(ctx context.Context, obj *fluxv1.FluxInstance, s *scope, other claimant) error {
	id, err := r.here(ctx, obj, s)
	if err != nil {
		return err
	}
	if obj.Status.LastAppliedRevision != "" || !obj.DeletionTimestamp.IsZero() {
		return conflict("cluster %q was taken over by %s", id, other)
	}
	if obj.Annotations[fluxv1.ClusterAnnotation] == id {
		return nil
	}
	return conflict("cluster %q is managed by %s: delete that one, or set the annotation %s: %q to take over what it has deployed",
		id, other, fluxv1.ClusterAnnotation, id)
}
