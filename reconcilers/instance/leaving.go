package instance

import (
	"slices"

	corev1 "k8s.io/api/core/v1"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	"github.com/weir-dev/weir/reconcilers/access"
)

// departure is what becomes of an object that is no longer wanted.
type departure struct {
	access.Ref
	stays   bool // and stays in the inventory
	orphans bool // it is deleted, and what it has deployed stays
	why     string
}

// String says it, for a plan.
func (d departure) String() string {
	text := d.Ref.String() + " is deleted"
	if d.stays {
		text = d.Ref.String() + " stays"
	}
	return text + d.why
}

// departures decides what becomes of the objects that are no longer wanted. What users made with them goes only where the spec says so,
// and never while the last good release comes back or is kept.
func departures(obj *fluxv1.FluxInstance, s *scope, stale []access.Ref) []departure {
	prune := obj.GetPrune()
	keeping := s.keeping != nil
	out := make([]departure, 0, len(stale))
	for _, ref := range stale {
		d := departure{Ref: ref}
		switch {
		case isDefinition(ref) && (keeping || s.wants(ref)):
			d.stays, d.why = true, " as it is"
		case isDefinition(ref) && !prune.Definitions:
			d.stays, d.why = true, ", with all objects of its kind: spec.prune.definitions is not set"
		case isDefinition(ref):
			d.why = ", with all objects of its kind; what these have deployed stays"
		case isKustomization(ref) && (keeping || !prune.Synced):
			d.orphans, d.why = true, ", and what it has deployed stays: spec.prune.synced is not set"
		case isKustomization(ref) && !s.runs(servedBy(ref)):
			d.orphans, d.why = true, ", and what it has deployed stays: "+servedBy(ref)+" is not there to delete it"
		case isKustomization(ref):
			d.why = ", with what it has deployed"
		case isClaim(ref):
			d.why = ", with its contents"
		}
		out = append(out, d)
	}
	return out
}

// runs tells whether the component is part of the target.
func (s *scope) runs(component string) bool {
	return slices.ContainsFunc(s.set.Images, func(i fluxv1.ComponentImage) bool { return i.Name == component })
}

// wants tells whether the object is part of what the spec asks for, whether that is the target or not.
func (s *scope) wants(ref access.Ref) bool {
	return s.built != nil && slices.ContainsFunc(wanted(s.built), func(o access.Ref) bool { return o.ID == ref.ID })
}

// leaving says what becomes of all that is deployed now and that the target does not have. It is what prune does after the target was
// applied, as far as that is known before.
func (s *scope) leaving(obj *fluxv1.FluxInstance) []departure {
	return departures(obj, s, without(s.previous, wanted(s.set)))
}

// split divides the references by whether they are definitions. With a definition the API server deletes all objects of its kind, and
// those are the users'.
func split(refs []access.Ref) (definitions, others []access.Ref) {
	for _, ref := range refs {
		if isDefinition(ref) {
			definitions = append(definitions, ref)
		} else {
			others = append(others, ref)
		}
	}
	return definitions, others
}

// isKustomization tells whether the object deploys what a sync brings.
func isKustomization(ref access.Ref) bool {
	return ref.Group == kustomizev1.GroupVersion.Group && ref.Kind == kustomizev1.KustomizationKind
}

// isClaim tells whether the object is a claim to a volume, whose contents go with it.
func isClaim(ref access.Ref) bool {
	return ref.Group == corev1.GroupName && ref.Kind == "PersistentVolumeClaim"
}
