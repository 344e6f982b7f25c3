package migration

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	utiljson "k8s.io/apimachinery/pkg/util/json"

	"github.com/weir-dev/weir/reconcilers/access"
)

// Definition is what of a CustomResourceDefinition says how its objects are stored.
type Definition struct {
	// Name, such as buckets.source.toolkit.fluxcd.io.
	Name string
	// Group and Kind of the objects.
	schema.GroupKind
	// Versions that it has, in its order, and Served those of them that the API server answers to.
	Versions, Served []string
	// Storage is the version that is written.
	Storage string
	// Stored are the versions that objects may be stored in. It is empty for a manifest.
	Stored []string
	// Deleting says that it, and with it all objects, is on its way out.
	Deleting bool

	uid             types.UID
	resourceVersion string
	generation      int64
}

// Ref names the definition.
func Ref(name string) access.Ref {
	return access.Ref{
		ID:      access.ID{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition", Name: name},
		Version: "v1",
	}
}

// document is a CustomResourceDefinition without the schemas, which make up nearly all of it.
type document struct {
	Metadata struct {
		Name              string    `json:"name"`
		UID               types.UID `json:"uid"`
		ResourceVersion   string    `json:"resourceVersion"`
		Generation        int64     `json:"generation"`
		DeletionTimestamp string    `json:"deletionTimestamp"`
	} `json:"metadata"`
	Spec struct {
		Group string `json:"group"`
		Names struct {
			Kind string `json:"kind"`
		} `json:"names"`
		Versions []struct {
			Name    string `json:"name"`
			Served  bool   `json:"served"`
			Storage bool   `json:"storage"`
		} `json:"versions"`
	} `json:"spec"`
	Status struct {
		StoredVersions []string `json:"storedVersions"`
	} `json:"status"`
}

// Read reads a definition from the cluster. The error is the API server's.
func Read(ctx context.Context, c *access.Client, name string) (*Definition, error) {
	item, err := c.Read(ctx, Ref(name), true)
	if err != nil {
		return nil, err
	}
	return parse(item.Raw)
}

// Of reads a definition from a manifest.
func Of(manifest *unstructured.Unstructured) (*Definition, error) {
	raw, err := json.Marshal(manifest.Object)
	if err != nil {
		return nil, fmt.Errorf("encode definition %q: %w", manifest.GetName(), err)
	}
	return parse(raw)
}

func parse(raw []byte) (*Definition, error) {
	var doc document
	if err := utiljson.Unmarshal(raw, &doc); err != nil {
		return nil, fmt.Errorf("decode a definition: %w", err)
	}
	d := &Definition{
		Name:      doc.Metadata.Name,
		GroupKind: schema.GroupKind{Group: doc.Spec.Group, Kind: doc.Spec.Names.Kind},
		Stored:    doc.Status.StoredVersions,
		Deleting:  doc.Metadata.DeletionTimestamp != "",

		uid: doc.Metadata.UID, resourceVersion: doc.Metadata.ResourceVersion, generation: doc.Metadata.Generation,
	}
	for _, v := range doc.Spec.Versions {
		d.Versions = append(d.Versions, v.Name)
		if v.Served {
			d.Served = append(d.Served, v.Name)
		}
		if v.Storage {
			d.Storage = v.Name
		}
	}
	if d.Storage == "" {
		return nil, fmt.Errorf("definition %q has no storage version", d.Name)
	}
	return d, nil
}

// Settled tells whether nothing is stored in any but the storage version.
func (d *Definition) Settled() bool {
	return len(d.Stored) == 1 && d.Stored[0] == d.Storage
}

// same tells whether both are one definition with the same spec.
func (d *Definition) same(o *Definition) bool {
	return d.uid == o.uid && d.generation == o.generation && d.Storage == o.Storage
}

// Task is what to do before a definition may be replaced by another.
type Task int

// Tasks.
const (
	// Nothing is to be done.
	Nothing Task = iota

	// Fields have to be moved to a version that stays. All objects are stored in such a one.
	Fields

	// Objects have to be stored in the storage version of the live definition, which stays.
	Objects
)

// Compare says what the change from the live definition, which is in a cluster, to the target, which is a manifest, asks
// for. An error of type *RefusedError says that it cannot be done.
func Compare(live, target *Definition) (Task, error) {
	gone := func(v string) bool { return !slices.Contains(target.Versions, v) }
	lost := slices.DeleteFunc(slices.Clone(live.Stored), func(v string) bool { return !gone(v) })
	switch {
	case len(lost) > 0 && gone(live.Storage):
		return Nothing, &RefusedError{Definition: live.Name, Storage: live.Storage, Target: target.Versions}
	case len(lost) > 0:
		return Objects, nil
	case slices.ContainsFunc(live.Versions, gone):
		return Fields, nil
	}
	return Nothing, nil
}
