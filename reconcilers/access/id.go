package access

import (
	"cmp"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/weir-dev/weir/api/meta"
)

// ID is the identity of an object in a cluster. It is comparable. Namespace is empty for cluster-scoped objects, Group
// for the core group.
type ID struct {
	Group     string
	Kind      string
	Namespace string
	Name      string
}

// Ref is an ID with the API version, without group, in which to read or write the object. An empty Version stands for
// the one that the API server prefers.
type Ref struct {
	ID
	Version string
}

// Of returns the identity and version of an object, as it declares them.
func Of(obj *unstructured.Unstructured) Ref {
	gvk := obj.GroupVersionKind()
	return Ref{
		ID:      ID{Group: gvk.Group, Kind: gvk.Kind, Namespace: obj.GetNamespace(), Name: obj.GetName()},
		Version: gvk.Version,
	}
}

// String returns Kind/namespace/name, or Kind/name without a namespace, as messages and change logs have it.
func (id ID) String() string {
	if id.Namespace == "" {
		return id.Kind + "/" + id.Name
	}
	return id.Kind + "/" + id.Namespace + "/" + id.Name
}

// GroupKind returns the kind with its group.
func (id ID) GroupKind() schema.GroupKind {
	return schema.GroupKind{Group: id.Group, Kind: id.Kind}
}

// Entry returns the identity as inventories write it: <namespace>_<name>_<group>_<kind>. In the names of RBAC kinds,
// which alone may hold colons, a colon is written as two underscores.
func (id ID) Entry() string {
	name := id.Name
	if isRBAC(id.Kind) {
		name = strings.ReplaceAll(name, ":", "__")
	}
	return id.Namespace + "_" + name + "_" + id.Group + "_" + id.Kind
}

// Compare orders identities by group, kind, namespace and name.
func (id ID) Compare(other ID) int {
	return cmp.Or(
		cmp.Compare(id.Group, other.Group),
		cmp.Compare(id.Kind, other.Kind),
		cmp.Compare(id.Namespace, other.Namespace),
		cmp.Compare(id.Name, other.Name),
	)
}

// ParseEntry reads what Entry writes.
func ParseEntry(s string) (ID, error) {
	namespace, rest, ok := strings.Cut(s, "_")
	rest, kind, ok2 := cutLast(rest)
	name, group, ok3 := cutLast(rest)
	if !ok || !ok2 || !ok3 || kind == "" || name == "" {
		return ID{}, fmt.Errorf("inventory entry %q is not <namespace>_<name>_<group>_<kind>", s)
	}
	if isRBAC(kind) {
		name = strings.ReplaceAll(name, "__", ":")
	}
	return ID{Group: group, Kind: kind, Namespace: namespace, Name: name}, nil
}

// Inventory returns the reference as a status lists it.
func (r Ref) Inventory() meta.ResourceRef {
	return meta.ResourceRef{ID: r.Entry(), Version: r.Version}
}

// ParseInventory reads what Inventory writes.
func ParseInventory(r meta.ResourceRef) (Ref, error) {
	id, err := ParseEntry(r.ID)
	return Ref{ID: id, Version: r.Version}, err
}

func cutLast(s string) (before, after string, found bool) {
	i := strings.LastIndexByte(s, '_')
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

func isRBAC(kind string) bool {
	switch kind {
	case "Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding":
		return true
	}
	return false
}
