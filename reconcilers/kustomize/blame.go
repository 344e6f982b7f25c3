package kustomize

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	"github.com/weir-dev/weir/reconcilers/apply"
	"github.com/weir-dev/weir/reconcilers/build"
)

// maxBlamed is how many refused objects are traced to their files: a message is for people.
const maxBlamed = 20

// blame adds to a failed apply which files the refused objects come from. That takes another build, which is why it is only
// done now; what cannot be found out is left out, and never hides the error.
func (r *reconciler) blame(ctx context.Context, obj *kustomizev1.Kustomization, s *scope, failed error) error {
	refused, ok := errors.AsType[apply.Errors](failed)
	if !ok {
		return failed
	}

	tree, err := r.Trees.Open(ctx, s.artifact)
	if err != nil {
		return failed
	}
	defer tree.Close()

	request := requestFor(obj, s)
	request.Dir = tree.Dir

	files, err := r.Builder.Origins(ctx, request)
	if err != nil {
		return failed
	}

	if lines := blamed(refused, files); len(lines) > 0 {
		return fmt.Errorf("%w\n%s", failed, strings.Join(lines, "\n"))
	}

	return failed
}

// blamed says of each refused object which file it comes from.
func blamed(refused apply.Errors, files map[build.Identity]string) []string {
	var lines []string

	for _, e := range refused {
		if len(lines) == maxBlamed {
			break
		}

		file := files[build.Identity{Group: e.Group, Kind: e.Kind, Namespace: e.Namespace, Name: e.Name}]
		if file == "" { // a namespace that the object of a cluster-scoped kind has, or lacks, is no part of its identity
			file = files[build.Identity{Group: e.Group, Kind: e.Kind, Name: e.Name}]
		}

		line := fmt.Sprintf("%s is from %q", e.ID, file)
		if file != "" && !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}

	return lines
}
