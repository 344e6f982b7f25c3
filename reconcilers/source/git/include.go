package git

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/artifact"
	"github.com/weir-dev/weir/reconcilers/engine"
)

// Repositories finds GitRepositories. One that does not exist is an IsNotFound error.
type Repositories interface {
	GitRepository(ctx context.Context, key types.NamespacedName) (*sourcev1.GitRepository, error)
}

// RepositoriesFunc is a function as Repositories.
type RepositoriesFunc func(ctx context.Context, key types.NamespacedName) (*sourcev1.GitRepository, error)

// GitRepository implements Repositories.
func (f RepositoriesFunc) GitRepository(ctx context.Context, key types.NamespacedName) (*sourcev1.GitRepository, error) {
	return f(ctx, key)
}

// Trees unpacks artifacts.
type Trees interface {
	// Open returns the files of an artifact, which have to be closed.
	Open(ctx context.Context, a *meta.Artifact) (*artifact.Tree, error)
}

// IncludeKeys returns the names of the GitRepositories whose artifacts go into that of the object: when one of them has a new
// artifact, the object has to run.
func IncludeKeys(obj *sourcev1.GitRepository) []types.NamespacedName {
	keys := make([]types.NamespacedName, 0, len(obj.Spec.Include))
	for _, i := range obj.Spec.Include {
		keys = append(keys, types.NamespacedName{Namespace: obj.Namespace, Name: i.GitRepositoryRef.Name})
	}

	return keys
}

// layout finds out where the files of other objects go. A path that leads out of its tree is an error, although it could be
// made one that does not: it means something that it would not get.
func (r *reconciler) layout(_ context.Context, obj *sourcev1.GitRepository, s *scope) error {
	for i := range obj.Spec.Include {
		spec := &obj.Spec.Include[i]

		from, err := inside(spec.FromPath)
		if err != nil {
			return fmt.Errorf("path calculation for include '%s' failed: fromPath %q: %w", spec.GitRepositoryRef.Name, spec.FromPath, err)
		}

		to, err := inside(spec.GetToPath())
		if err != nil {
			return fmt.Errorf("path calculation for include '%s' failed: toPath %q: %w", spec.GitRepositoryRef.Name, spec.ToPath, err)
		}

		s.includes = append(s.includes, include{name: spec.GitRepositoryRef.Name, from: from, to: to})
	}

	return nil
}

// inside returns a path as one that is relative to the root.
func inside(p string) (string, error) {
	p = strings.TrimLeft(p, "/")
	if p == "" {
		return ".", nil
	}

	if strings.ContainsAny(p, "\x00\\") {
		return "", errors.New("it is no path")
	}

	p = path.Clean(p)
	if p == ".." || strings.HasPrefix(p, "../") {
		return "", errors.New("it leads out of the tree")
	}

	return p, nil
}

// include finds the artifacts of the objects that are included.
func (r *reconciler) include(ctx context.Context, obj *sourcev1.GitRepository, s *scope) error {
	for i := range s.includes {
		part := &s.includes[i]

		other, err := r.included(ctx, obj, part.name)
		if err != nil {
			return err
		}

		part.artifact = other.Status.Artifact.DeepCopy()
	}

	return nil
}

// included returns an object that is included, if it has an artifact of its own.
func (r *reconciler) included(ctx context.Context, obj *sourcev1.GitRepository, name string) (*sourcev1.GitRepository, error) {
	unavailable := func(reason string, err error) error {
		engine.Set(obj, meta.ReconcilingCondition, metav1.ConditionTrue, meta.ProgressingWithRetryReason, err.Error())

		return engine.Wait(reason, r.RequeueDependency, err)
	}

	other, err := r.Repositories.GitRepository(ctx, types.NamespacedName{Namespace: obj.Namespace, Name: name})

	switch {
	case apierrors.IsNotFound(err):
		return nil, unavailable(sourcev1.NotFoundReason, fmt.Errorf("could not get resource for include '%s': %w", name, err))
	case err != nil:
		return nil, engine.Fail(sourcev1.NotFoundReason, fmt.Errorf("could not get resource for include '%s': %w", name, err))
	case other.Status.Artifact == nil:
		return nil, unavailable(sourcev1.NoArtifactReason, fmt.Errorf("no artifact available for include '%s'", name))
	}

	// People may write statuses, and an artifact is found by its digest alone.
	if a := other.Status.Artifact; path.Dir(a.Path) != r.storage.Owner(other).Path() || errors.Is(r.Store.Verify(a), artifact.ErrDigestMismatch) {
		return nil, unavailable(sourcev1.NoArtifactReason, fmt.Errorf("no artifact available for include '%s': its status names another one", name))
	}

	round, err := r.leadsTo(ctx, other, obj.Name)
	if err != nil {
		return nil, engine.Fail(sourcev1.NotFoundReason, fmt.Errorf("could not follow include '%s': %w", name, err))
	}

	if round {
		return nil, unavailable(sourcev1.NoArtifactReason, fmt.Errorf("include '%s' includes '%s' in turn", name, obj.Name))
	}

	return other, nil
}

// maxFollowed bounds how many objects are looked at to find out whether one includes itself.
const maxFollowed = 256

// leadsTo tells whether an object includes the one with the name, itself or through others: each new artifact of one would
// make a new one of the other, for ever.
func (r *reconciler) leadsTo(ctx context.Context, from *sourcev1.GitRepository, name string) (bool, error) {
	seen := map[string]bool{from.Name: true}

	for queue := []*sourcev1.GitRepository{from}; len(queue) > 0; queue = queue[1:] {
		if queue[0].Name == name {
			return true, nil
		}

		next, err := r.following(ctx, queue[0], seen)
		if err != nil {
			return false, err
		}

		queue = append(queue, next...)
	}

	return false, nil
}

// following returns the objects that an object includes and that have not been seen.
func (r *reconciler) following(ctx context.Context, obj *sourcev1.GitRepository, seen map[string]bool) ([]*sourcev1.GitRepository, error) {
	var next []*sourcev1.GitRepository

	for _, key := range IncludeKeys(obj) {
		if seen[key.Name] {
			continue
		}

		if seen[key.Name] = true; len(seen) > maxFollowed {
			return nil, fmt.Errorf("more than %d objects are included", maxFollowed)
		}

		other, err := r.Repositories.GitRepository(ctx, key)

		switch {
		case apierrors.IsNotFound(err):
		case err != nil:
			return nil, err //nolint:wrapcheck // the caller says what was wanted
		default:
			next = append(next, other)
		}
	}

	return next, nil
}

// sameIncludes tells whether the artifact in the status was made with the same parts.
func sameIncludes(obj *sourcev1.GitRepository, s *scope) bool {
	have := obj.Status.IncludedArtifacts
	if len(have) != len(s.includes) {
		return false
	}

	for i, part := range s.includes {
		if have[i] == nil || !have[i].HasRevision(part.artifact.Revision) || !have[i].HasDigest(part.artifact.Digest) {
			return false
		}
	}

	return true
}
