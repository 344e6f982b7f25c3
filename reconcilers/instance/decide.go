package instance

import (
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/health"
)

// unified is the Deployment that stands for those of all components in the topology Unified, and, with a suffix, its shards.
const unified = "weir"

// references reads an inventory. Entries that are none are left out: nothing could be done with them.
func references(inventory *meta.ResourceInventory) []access.Ref {
	if inventory == nil {
		return nil
	}
	var refs []access.Ref
	for _, entry := range inventory.Entries {
		if ref, err := access.ParseInventory(entry); err == nil {
			refs = append(refs, ref)
		}
	}
	return refs
}

// inventory writes the references, each object once, in order. Of two references to one object the first counts.
func inventory(lists ...[]access.Ref) *meta.ResourceInventory {
	seen := map[access.ID]bool{}
	out := &meta.ResourceInventory{Entries: []meta.ResourceRef{}}
	for _, ref := range slices.Concat(lists...) {
		if !seen[ref.ID] {
			seen[ref.ID] = true
			out.Entries = append(out.Entries, ref.Inventory())
		}
	}
	slices.SortFunc(out.Entries, func(a, b meta.ResourceRef) int { return strings.Compare(a.ID, b.ID) })
	return out
}

// without returns the references to objects that are not among others.
func without(refs, others []access.Ref) []access.Ref {
	return slices.DeleteFunc(slices.Clone(refs), func(ref access.Ref) bool {
		return slices.ContainsFunc(others, func(o access.Ref) bool { return o.ID == ref.ID })
	})
}

// superseded returns the Deployments that have to go before the wanted ones come, when the topology or the namespace changes: the two
// would reconcile the same objects side by side, and a volume of one could keep the other from starting.
func superseded(have, want []access.Ref) []access.Ref {
	wantUnified := slices.ContainsFunc(want, isUnified)
	first := slices.IndexFunc(want, isDeployment)
	if first < 0 {
		return nil
	}
	var old []access.Ref
	for _, ref := range without(have, want) {
		if isDeployment(ref) && (isUnified(ref) != wantUnified || ref.Namespace != want[first].Namespace) {
			old = append(old, ref)
		}
	}
	return old
}

func isDeployment(ref access.Ref) bool {
	return ref.Group == appsv1.GroupName && ref.Kind == "Deployment"
}

func isNoDeployment(ref access.Ref) bool { return !isDeployment(ref) }

func isDefinition(ref access.Ref) bool {
	return ref.Group == apiextensionsv1.GroupName && ref.Kind == "CustomResourceDefinition"
}

func isUnified(ref access.Ref) bool {
	return isDeployment(ref) && (ref.Name == unified || strings.HasPrefix(ref.Name, unified+"-"))
}

// isSync tells whether the object is the source or the Kustomization of spec.sync.
func isSync(ref access.Ref) bool {
	return ref.Group == sourcev1.GroupVersion.Group || ref.Group == kustomizev1.GroupVersion.Group
}

// servedBy returns the component that reconciles, and finalizes, the source or Kustomization of spec.sync.
func servedBy(ref access.Ref) string {
	if ref.Group == kustomizev1.GroupVersion.Group {
		return fluxv1.KustomizeController
	}
	return fluxv1.SourceController
}

// identities are the references without versions.
func identities(refs []access.Ref) []access.ID {
	ids := make([]access.ID, 0, len(refs))
	for _, ref := range refs {
		ids = append(ids, ref.ID)
	}
	return ids
}

// named is how many objects a message names.
const named = 10

// describe says which objects are not as they should be, and why.
func describe(lists ...[]health.Condition) string {
	all := slices.Concat(lists...)
	var parts []string
	for i, c := range all {
		if i == named {
			parts = append(parts, "…")
			break
		}
		part := c.ID.String() + " status: '" + string(c.Status) + "'"
		if c.Message != "" {
			part += ": " + c.Message
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, ", ")
}
