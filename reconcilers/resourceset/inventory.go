package resourceset

import (
	"slices"
	"strings"

	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/access"
)

// entries returns what an inventory holds, if there is one.
func entries(in *meta.ResourceInventory) []meta.ResourceRef {
	if in == nil {
		return nil
	}
	return in.Entries
}

// references reads an inventory. Entries that nobody can read are left out: no object has such a name.
func references(in *meta.ResourceInventory) []access.Ref {
	refs := make([]access.Ref, 0, len(entries(in)))
	for _, entry := range entries(in) {
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

// difference returns the references to objects that are not among others, each once.
func difference(refs, others []access.Ref) []access.Ref {
	in := make(map[access.ID]bool, len(others))
	for _, ref := range others {
		in[ref.ID] = true
	}
	var out []access.Ref
	for _, ref := range refs {
		if !in[ref.ID] {
			in[ref.ID] = true
			out = append(out, ref)
		}
	}
	return out
}

func identities(refs []access.Ref) []access.ID {
	ids := make([]access.ID, len(refs))
	for i, ref := range refs {
		ids[i] = ref.ID
	}
	return ids
}
