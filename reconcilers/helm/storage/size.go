package storage

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"helm.sh/helm/v3/pkg/release"
	corev1 "k8s.io/api/core/v1"

	"github.com/weir-dev/weir/reconcilers/ingest"
)

const (
	// maxSize is what the API server takes as the data of a Secret, in bytes.
	maxSize = corev1.MaxSecretSize
	// growth is what is kept free in a new record, in bytes: it has to take what becomes of the release, such as an error.
	growth = 8 << 10
	// heaviest is how many parts an error names.
	heaviest = 5
)

// SizeError says that a release does not fit into a Secret. Nothing of it was written.
type SizeError struct {
	// Name and Revision of the release.
	Name     string
	Revision int
	// Size is what its Secret would have, and Limit what it may have, in bytes.
	Size, Limit int
	// Heaviest are the parts that take most of it, the largest first.
	Heaviest []Part
}

// Part of a release.
type Part struct {
	// Name of the part, such as: template "templates/all.yaml".
	Name string
	// Size that it takes in the Secret, about, in bytes.
	Size int
}

// Error implements error.
func (e *SizeError) Error() string {
	parts := make([]string, 0, len(e.Heaviest))
	for _, p := range e.Heaviest {
		parts = append(parts, fmt.Sprintf("%s about %d bytes", p.Name, p.Size))
	}

	return fmt.Sprintf("the record of release %q revision %d takes %d bytes, and a Secret has room for %d; most of it are %s",
		e.Name, e.Revision, e.Size, e.Limit, strings.Join(parts, ", "))
}

// Check returns a *SizeError if the release would be too large to be stored. It is for callers that do something, such as to apply
// definitions, before Helm stores the release.
func Check(r *release.Release) error {
	_, err := fit(r, unknown{}, maxSize-growth)

	return err
}

// fit returns the content of the Secret of a release, if it is not larger than most.
func fit(r *release.Release, u unknown, most int) ([]byte, error) {
	content, err := encode(r, u)
	if err != nil {
		return nil, err
	}

	if len(content) <= most {
		return content, nil
	}

	return nil, &SizeError{Name: r.Name, Revision: r.Version, Size: len(content), Limit: most, Heaviest: weigh(r)}
}

// weigh returns the parts of a release that take most.
func weigh(r *release.Release) []Part {
	parts := []Part{
		part("the rendered manifests", r.Manifest),
		part("the values", r.Config),
	}

	for _, h := range r.Hooks {
		parts = append(parts, part(fmt.Sprintf("hook %q", h.Path), h))
	}

	if c := r.Chart; c != nil {
		parts = append(parts, part("the values of the chart", c.Values), part("the schema of the chart", c.Schema))

		for _, f := range c.Templates {
			parts = append(parts, part(fmt.Sprintf("template %q", f.Name), f.Data))
		}

		for _, f := range c.Files {
			parts = append(parts, part(fmt.Sprintf("chart file %q", f.Name), f.Data))
		}
	}

	slices.SortStableFunc(parts, func(a, b Part) int { return cmp.Compare(b.Size, a.Size) })

	return parts[:min(heaviest, len(parts))]
}

// part measures a part by itself, compressed as the whole is.
func part(name string, content any) Part {
	raw, err := json.Marshal(content)
	if err != nil {
		return Part{Name: name} // the whole could be encoded, and so can this
	}

	packed, err := pack(raw, ingest.Gzip)
	if err != nil {
		return Part{Name: name}
	}

	return Part{Name: name, Size: len(packed)}
}
