package operator

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/weir-dev/weir/reconcilers/access"
)

// BlockedError says that a definition which an operator needs cannot be brought into the cluster: somebody has to do that by hand.
type BlockedError struct{ Err error }

// Error implements error.
func (e *BlockedError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *BlockedError) Unwrap() error { return e.Err }

// define brings the definitions of the operator's kinds into the cluster. It looks at all of them before it changes one.
func (s *Self) define(ctx context.Context, definitions []*unstructured.Unstructured) error {
	var due []*unstructured.Unstructured
	for _, wanted := range definitions {
		missing, err := s.due(ctx, wanted)
		if err != nil {
			return err
		}
		if missing {
			due = append(due, wanted)
		}
	}
	for _, wanted := range due {
		ref := access.Of(wanted)
		body, err := json.Marshal(wanted.Object)
		if err != nil {
			return fmt.Errorf("encode %q: %w", ref.ID, err)
		}
		if _, err := s.options.Client.Apply(ctx, ref, body, access.ApplyOptions{Manager: Manager, Force: true}); err != nil {
			return fmt.Errorf("apply %q: %w", ref.ID, err)
		}
	}
	return nil
}

// due tells whether a definition is to be applied.
func (s *Self) due(ctx context.Context, wanted *unstructured.Unstructured) (bool, error) {
	ref := access.Of(wanted)
	live, err := s.options.Client.Get(ctx, ref)
	if apierrors.IsNotFound(err) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("get %q: %w", ref.ID, err)
	}
	due, err := replaces(live, wanted)
	if err != nil {
		return false, &BlockedError{Err: fmt.Errorf("%s %w", ref.ID, err)}
	}
	return due, nil
}

// replaces decides whether a definition takes the place of the live one. One that has more stays: an older operator can do with it, and
// without its fields objects would lose what they have there.
func replaces(live, wanted *unstructured.Unstructured) (bool, error) {
	lost, gained := missing(live, wanted), missing(wanted, live)
	by := managerOf(live)
	switch {
	case lost != "" && gained != "":
		return false, fmt.Errorf("has %s, which that of the release lacks, and lacks %s", lost, gained)
	case by != "" && gained != "":
		return false, fmt.Errorf("lacks %s, and is managed by %s", gained, by)
	}
	return by == "" && lost == "", nil
}

// missing names the first thing that a definition has and another one lacks: a version, or a field of one.
func missing(have, other *unstructured.Unstructured) string {
	others := versions(other)
	mine := versions(have)
	for _, name := range slices.Sorted(maps.Keys(mine)) {
		theirs, ok := others[name]
		if !ok {
			return "the version " + name
		}
		if field := missingField(mine[name], theirs); field != "" {
			return "the field " + strings.TrimPrefix(field, ".") + " in " + name
		}
	}
	return ""
}

// versions returns the schemas of a definition, by version.
func versions(definition *unstructured.Unstructured) map[string]map[string]any {
	list, _, _ := unstructured.NestedSlice(definition.Object, "spec", "versions")
	all := map[string]map[string]any{}
	for _, item := range list {
		version, _ := item.(map[string]any)
		name, _ := version["name"].(string)
		schema, _, _ := unstructured.NestedMap(version, "schema", "openAPIV3Schema")
		all[name] = schema
	}
	return all
}

// missingField returns the path of the first field that a schema knows and the other drops.
func missingField(have, other map[string]any) string {
	const keep = "x-kubernetes-preserve-unknown-fields"
	if keeps, _ := other[keep].(bool); keeps {
		return ""
	}
	if keeps, _ := have[keep].(bool); keeps {
		return ".*"
	}
	mine, _ := have["properties"].(map[string]any)
	theirs, _ := other["properties"].(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(mine)) {
		a, _ := mine[name].(map[string]any)
		b, ok := theirs[name].(map[string]any)
		if !ok {
			return "." + name
		}
		if field := missingField(a, b); field != "" {
			return "." + name + field
		}
	}
	for _, within := range []string{"items", "additionalProperties"} {
		a, is := have[within].(map[string]any)
		if !is {
			continue
		}
		b, _ := other[within].(map[string]any)
		if field := missingField(a, b); field != "" {
			return field
		}
	}
	return ""
}
