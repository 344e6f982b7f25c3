package git

import (
	"cmp"
	"strconv"
	"strings"

	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/flight"
)

// recipe says what makes an artifact of a commit.
type recipe struct {
	ignore     *string  // rules of the object
	under      []string // directories; none means all
	submodules bool
	includes   []include
}

// include is a part of the artifact of another object, and where it goes.
type include struct {
	name     string // of the other object
	artifact *meta.Artifact
	from, to string // clean paths; "." is the root
}

// recipeOf returns which files the object wants.
func recipeOf(obj *sourcev1.GitRepository, s *scope) recipe {
	return recipe{
		ignore: obj.Spec.Ignore, under: sparse(obj), submodules: obj.Spec.RecurseSubmodules, includes: s.includes,
	}
}

// sparse returns the directories that are wanted, without the "./" that people put before them.
func sparse(obj *sourcev1.GitRepository) []string {
	dirs := make([]string, 0, len(obj.Spec.SparseCheckout))
	for _, d := range obj.Spec.SparseCheckout {
		dirs = append(dirs, cmp.Or(strings.TrimPrefix(d, "./"), "."))
	}

	return dirs
}

// fingerprint tells recipes apart, of which some are long.
func (r recipe) fingerprint() flight.Fingerprint {
	ignore := ""
	if r.ignore != nil {
		ignore = "=" + *r.ignore
	}

	parts := []string{ignore, strconv.FormatBool(r.submodules), strconv.Itoa(len(r.under))}
	parts = append(parts, r.under...)

	for _, i := range r.includes {
		parts = append(parts, i.artifact.Digest, i.from, i.to)
	}

	return flight.FingerprintOf(parts...)
}
