package template

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation"

	v1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/reconcilers/access"
)

// Use is what an object is referred to for.
type Use string

// What objects are referred to for.
const (
	Copy       Use = "copyFrom"              // its data goes into another one
	Kubeconfig Use = "convertKubeConfigFrom" // address and authority of a cluster go into a ConfigMap
	Checksum   Use = "checksumFrom"          // the checksum of its data goes into annotations
)

// The kinds that can be referred to.
const (
	configMap = "ConfigMap"
	secret    = "Secret"
)

// Reference names a ConfigMap or Secret that objects of a set refer to.
type Reference struct {
	Use Use
	// Kind is ConfigMap or Secret.
	Kind            string
	Namespace, Name string
}

// String returns <kind>/<namespace>/<name>.
func (r Reference) String() string { return r.Kind + "/" + r.Namespace + "/" + r.Name }

// Compare orders references by use, kind, namespace and name.
func (r Reference) Compare(o Reference) int {
	return cmp.Or(
		cmp.Compare(r.Use, o.Use), cmp.Compare(r.Kind, o.Kind),
		cmp.Compare(r.Namespace, o.Namespace), cmp.Compare(r.Name, o.Name),
	)
}

// References returns what Resolve asks its Reader for, sorted, each once per use. Of what the set itself has, checksums are
// taken without asking. A malformed reference is an *Error.
func (s *Set) References() ([]Reference, error) {
	all, err := s.requests()
	if err != nil {
		return nil, err
	}

	own := s.own()

	var out []Reference

	for _, r := range all {
		for _, ref := range r.references {
			if ref.Use != Checksum || own[ref.id()] == nil {
				out = append(out, ref)
			}
		}
	}

	slices.SortFunc(out, Reference.Compare)

	return slices.Compact(out), nil
}

// External returns the objects, as <kind>/<namespace>/<name>, sorted, whose checksums go into objects of the set, and which
// are not of the set themselves: those of the field externalChecksumRefs of the status.
func (s *Set) External() ([]string, error) {
	all, err := s.References()
	if err != nil {
		return nil, err
	}

	var out []string

	for _, r := range all {
		if r.Use == Checksum {
			out = append(out, r.String())
		}
	}

	return out, nil
}

// id of the object.
func (r Reference) id() access.ID {
	return access.ID{Kind: r.Kind, Namespace: r.Namespace, Name: r.Name}
}

// own returns the ConfigMaps and Secrets of the set.
func (s *Set) own() map[access.ID]*unstructured.Unstructured {
	out := map[access.ID]*unstructured.Unstructured{}

	for _, u := range s.Objects() {
		if isCore(u, configMap) || isCore(u, secret) {
			out[identity(u)] = u
		}
	}

	return out
}

func isCore(u *unstructured.Unstructured, kind string) bool {
	return u.GetKind() == kind && u.GroupVersionKind().Group == ""
}

// request is what an object asks for with one annotation.
type request struct {
	object     *unstructured.Unstructured
	references []Reference
	key        string         // of a kubeconfig, empty for the usual ones
	annotated  map[string]any // the annotations that a checksum goes into
}

// requests returns what all objects ask for, in the order in which it is to be done.
func (s *Set) requests() ([]request, error) {
	var copies, kubeconfigs, checksums []request

	for _, u := range s.Objects() {
		copied, err := copied(u)
		if err != nil {
			return nil, err
		}

		converted, err := converted(u)
		if err != nil {
			return nil, err
		}

		summed, err := summed(u, u.Object)
		if err != nil {
			return nil, err
		}

		copies, kubeconfigs, checksums = append(copies, copied...), append(kubeconfigs, converted...), append(checksums, summed...)
	}

	return slices.Concat(copies, kubeconfigs, checksums), nil
}

// copied returns the request of a ConfigMap or Secret for the data of another, if it has one.
func copied(u *unstructured.Unstructured) ([]request, error) {
	from, ok := u.GetAnnotations()[v1.CopyFromAnnotation]
	if !ok || !isCore(u, configMap) && !isCore(u, secret) {
		return nil, nil
	}

	r, err := named(u, Copy, u.GetKind(), from)

	return []request{r}, err
}

// converted returns the request of a ConfigMap for a kubeconfig, if it has one.
func converted(u *unstructured.Unstructured) ([]request, error) {
	from, ok := u.GetAnnotations()[v1.ConvertKubeConfigFromAnnotation]
	if !ok || !isCore(u, configMap) {
		return nil, nil
	}

	from, key, _ := strings.Cut(from, ":")
	r, err := named(u, Kubeconfig, secret, from)
	r.key = key

	return []request{r}, err
}

// named returns a request for <namespace>/<name>.
func named(u *unstructured.Unstructured, use Use, kind, from string) (request, error) {
	namespace, name, _ := strings.Cut(from, "/")
	if !isName(namespace) || !isName(name) {
		form := "<namespace>/<name>"
		if use == Kubeconfig {
			form += "[:<key>]"
		}

		return request{}, malformed(u, use, from, form)
	}

	return request{object: u, references: []Reference{{use, kind, namespace, name}}}, nil
}

func isName(s string) bool { return len(validation.IsDNS1123Subdomain(s)) == 0 }

func malformed(u *unstructured.Unstructured, use Use, value, form string) error {
	return &Error{Place: describe(u), Err: fmt.Errorf("annotation %s/%s: %q is not %s", v1.Group, use, value, form)}
}

// summed returns the requests for checksums of all annotations in a value, wherever they are.
func summed(u *unstructured.Unstructured, v any) ([]request, error) {
	var out []request

	switch v := v.(type) {
	case map[string]any:
		if r, err := summedHere(u, v); err != nil {
			return nil, err
		} else if r != nil {
			out = append(out, *r)
		}

		for _, key := range sorted(v) {
			more, err := summed(u, v[key])
			if err != nil {
				return nil, err
			}

			out = append(out, more...)
		}
	case []any:
		for _, e := range v {
			more, err := summed(u, e)
			if err != nil {
				return nil, err
			}

			out = append(out, more...)
		}
	}

	return out, nil
}

// summedHere returns the request of a map that has metadata.
func summedHere(u *unstructured.Unstructured, m map[string]any) (*request, error) {
	metadata, _ := m["metadata"].(map[string]any)
	annotations, _ := metadata["annotations"].(map[string]any)

	from, ok := annotations[v1.ChecksumFromAnnotation].(string)
	if !ok {
		return nil, nil //nolint:nilnil // it asks for none
	}

	r := &request{object: u, annotated: annotations}

	for part := range strings.SplitSeq(from, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}

		kind, rest, _ := strings.Cut(part, "/")
		namespace, name, _ := strings.Cut(rest, "/")

		if kind != configMap && kind != secret || !isName(namespace) || !isName(name) {
			return nil, malformed(u, Checksum, part, "ConfigMap/<namespace>/<name> or Secret/<namespace>/<name>")
		}

		r.references = append(r.references, Reference{Checksum, kind, namespace, name})
	}

	if len(r.references) == 0 {
		return nil, malformed(u, Checksum, from, "a list of <kind>/<namespace>/<name>")
	}

	slices.SortFunc(r.references, Reference.Compare)
	r.references = slices.Compact(r.references)

	return r, nil
}
