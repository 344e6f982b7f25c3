package build

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/kustomize/api/resource"
	"sigs.k8s.io/yaml"
)

// named is the error with what was fetched by its own name, and not by where the library sees it.
func (t *tree) named(err error) error {
	if t.mounts == nil || len(t.mounts.list) == 0 {
		return err
	}

	return &namedError{err: err, mounts: t.mounts.list}
}

// namedError is an error in whose text what was fetched has its name.
type namedError struct {
	err    error
	mounts []mount
}

// Error implements error.
func (e *namedError) Error() string {
	text := e.err.Error()

	for i, m := range slices.Backward(e.mounts) { // /.fetched/1 is in /.fetched/10
		at := fmt.Sprintf("%s%d", mountRoot, i)
		name := m.reference.place()

		text = strings.ReplaceAll(text, ".."+at, name)
		text = strings.ReplaceAll(text, at, name)
	}

	return text
}

// Unwrap returns the error.
func (e *namedError) Unwrap() error { return e.err }

// place is the repository, or the file, as it may be shown.
func (r *reference) place() string { return withoutCredentials(cmp.Or(r.repository, r.file)) }

// nameOrigins writes into the origin annotations where what was fetched comes from, as the library does for what it fetches.
func (t *tree) nameOrigins(objects []*unstructured.Unstructured, dir string) error {
	if t.mounts == nil || len(t.mounts.list) == 0 {
		return nil
	}

	for _, u := range objects {
		annotations := u.GetAnnotations()

		var origin resource.Origin
		if text, ok := annotations[originAnnotation]; !ok || yaml.Unmarshal([]byte(text), &origin) != nil {
			continue
		}

		if !t.mounts.nameOrigin(&origin, dir) {
			continue
		}

		text, err := origin.String()
		if err != nil {
			return fmt.Errorf("%s %q: %w", u.GetKind(), u.GetName(), err)
		}

		annotations[originAnnotation] = text
		u.SetAnnotations(annotations)
	}

	return nil
}

// nameOrigin changes an origin that lies in what was fetched, and tells whether it did.
func (m *mounts) nameOrigin(origin *resource.Origin, dir string) bool {
	changed := false

	for _, field := range []*string{&origin.Path, &origin.ConfiguredIn} {
		name := path.Join(dir, *field)

		for _, e := range m.list {
			inner, ok := strings.CutPrefix(name, area(e.base)+"/")
			if !ok {
				continue
			}

			changed = true
			origin.Repo, origin.Ref, *field = e.reference.repository, e.reference.version, inner

			if _, isFile := e.files.(single); isFile {
				origin.Repo, origin.Ref, *field = "", "", e.reference.shown()
			}
		}
	}

	return changed
}
