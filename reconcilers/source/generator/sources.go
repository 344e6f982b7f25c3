package generator

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/api/sourceextensions/v1beta1"
	"github.com/weir-dev/weir/reconcilers/artifact"
	"github.com/weir-dev/weir/reconcilers/engine"
)

// originRevision is the key of an artifact's metadata under which it says what code it was made from.
const originRevision = "org.opencontainers.image.revision"

// observed is a source as a run found it.
type observed struct{ artifact *meta.Artifact }

// origin returns the revision of the code that the source was made from: its own, if it says nothing else.
func (o observed) origin() string {
	if origin := o.artifact.Metadata[originRevision]; origin != "" {
		return origin
	}

	return o.artifact.Revision
}

// validate reads the spec.
func (r *reconciler) validate(_ context.Context, obj *v1beta1.ArtifactGenerator, s *scope) error {
	for _, src := range obj.Spec.Sources {
		if key := SourceKey(obj, src); r.NoCrossNamespaceRefs && key.Namespace != obj.Namespace {
			return engine.Stall(meta.AccessDeniedReason,
				fmt.Errorf("cross-namespace reference to source %s/%s is not allowed", src.Kind, key))
		}
	}

	recipe, err := readRecipe(&obj.Spec)
	if err == nil {
		err = ownOutput(obj, obj.Spec.Artifacts, func(a v1beta1.OutputArtifact) string { return a.Name })
	}

	if err != nil {
		return engine.Stall(meta.ValidationFailedReason, err)
	}

	s.recipe = recipe

	return nil
}

// ownOutput refuses a generator that feeds on what it makes: each run would make something else.
func ownOutput[T any](obj *v1beta1.ArtifactGenerator, outputs []T, name func(T) string) error {
	for _, src := range obj.Spec.Sources {
		key := SourceKey(obj, src)
		if src.Kind != sourcev1.ExternalArtifactKind || key.Namespace != obj.Namespace {
			continue
		}

		if slices.ContainsFunc(outputs, func(o T) bool { return name(o) == key.Name }) {
			return fmt.Errorf("source '%s' is the artifact '%s' that this generator makes", src.Alias, key.Name)
		}
	}

	return nil
}

// observe finds the sources.
func (r *reconciler) observe(ctx context.Context, obj *v1beta1.ArtifactGenerator, s *scope) error {
	s.sources = map[string]observed{}

	for _, src := range obj.Spec.Sources {
		key := SourceKey(obj, src)

		found, err := r.Sources.Source(ctx, src.Kind, key)
		if err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("get sources failed: unable to get source '%s/%s': %w", src.Kind, key, err)
		}

		if err != nil {
			return r.missing(fmt.Errorf("get sources failed: %w", err))
		}

		a := found.GetArtifact()
		if a == nil {
			return r.missing(fmt.Errorf("get sources failed: source '%s/%s' is not ready", src.Kind, key))
		}

		s.sources[src.Alias] = observed{artifact: a}
	}

	s.digest = digestOf(s.sources)

	return r.acyclic(ctx, obj)
}

// missing ends a run that cannot go on without a source. The watch of the source starts the next one.
func (r *reconciler) missing(err error) error {
	return engine.Wait(v1beta1.SourceFetchFailedReason, r.RequeueDependency, err)
}

// digestOf tells states of the sources apart: their content, and the revisions that artifacts may take from them.
func digestOf(sources map[string]observed) string {
	sum := sha256.New()

	for _, alias := range slices.Sorted(maps.Keys(sources)) {
		o := sources[alias]
		fmt.Fprintf(sum, "%q %q %q %q\n", alias, o.artifact.Digest, o.artifact.Revision, o.origin())
	}

	return fmt.Sprintf("sha256:%x", sum.Sum(nil))
}

// maxGenerators is how many generators may stand behind the sources of one.
const maxGenerators = 1000

// acyclic refuses a generator whose sources are, over other generators, made of what it makes.
func (r *reconciler) acyclic(ctx context.Context, obj *v1beta1.ArtifactGenerator) error {
	self := types.NamespacedName{Namespace: obj.Namespace, Name: obj.Name}
	seen := map[types.NamespacedName]bool{}

	for queue := []*v1beta1.ArtifactGenerator{obj}; len(queue) > 0; queue = queue[1:] {
		for _, src := range queue[0].Spec.Sources {
			if src.Kind != sourcev1.ExternalArtifactKind {
				continue
			}

			maker, err := r.maker(ctx, SourceKey(queue[0], src))

			switch {
			case err != nil:
				return fmt.Errorf("get sources failed: %w", err)
			case maker == self:
				return engine.Fail(meta.ValidationFailedReason, fmt.Errorf(
					"source '%s' of ArtifactGenerator '%s/%s' is made by this generator: artifacts cannot be made of themselves",
					src.Alias, queue[0].Namespace, queue[0].Name))
			case maker.Name == "" || seen[maker]:
				continue
			case len(seen) == maxGenerators:
				return fmt.Errorf("get sources failed: more than %d generators stand behind the sources", maxGenerators)
			}

			seen[maker] = true

			next := &v1beta1.ArtifactGenerator{}
			if err := r.Client.Get(ctx, maker, next); err == nil {
				queue = append(queue, next)
			} else if !apierrors.IsNotFound(err) {
				return fmt.Errorf("get sources failed: get ArtifactGenerator '%s': %w", maker, err)
			}
		}
	}

	return nil
}

// maker returns the generator that an ExternalArtifact comes from, or nothing.
func (r *reconciler) maker(ctx context.Context, key types.NamespacedName) (types.NamespacedName, error) {
	found, err := r.Sources.Source(ctx, sourcev1.ExternalArtifactKind, key)
	if apierrors.IsNotFound(err) {
		return types.NamespacedName{}, nil
	}

	if err != nil {
		return types.NamespacedName{}, fmt.Errorf("unable to get source '%s/%s': %w", sourcev1.ExternalArtifactKind, key, err)
	}

	ea, ok := found.(*sourcev1.ExternalArtifact)
	if !ok {
		return types.NamespacedName{}, nil
	}

	maker, _ := MakerKey(ea)

	return maker, nil
}

// fetchers is how many sources are fetched at once.
const fetchers = 8

// fetch unpacks the sources.
func (r *reconciler) fetch(ctx context.Context, _ *v1beta1.ArtifactGenerator, s *scope) error {
	engine.Progress(ctx, "fetching sources")

	aliases := slices.Sorted(maps.Keys(s.sources))
	trees, errs := make([]*artifact.Tree, len(aliases)), make([]error, len(aliases))

	var wait sync.WaitGroup

	places := make(chan struct{}, fetchers)

	for i, alias := range aliases {
		wait.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()

			if trees[i], errs[i] = r.Trees.Open(ctx, s.sources[alias].artifact); errs[i] != nil {
				errs[i] = fmt.Errorf("fetch sources failed: source '%s': %w", alias, errs[i])
			}
		})
	}

	wait.Wait()

	s.roots = map[string]*os.Root{}

	for i, tree := range trees {
		if tree == nil {
			continue
		}

		s.trees = append(s.trees, tree)

		root, err := os.OpenRoot(tree.Dir)
		if err != nil {
			return fmt.Errorf("fetch sources failed: source '%s': open root: %w", aliases[i], err)
		}

		s.roots[aliases[i]] = root
	}

	if i := slices.IndexFunc(errs, func(err error) bool { return err != nil }); i >= 0 {
		return r.unfetched(errs[i])
	}

	return nil
}

// unfetched says when to try again to fetch a source: an artifact that is not there, or not what it was said to be, is on its
// way to be replaced.
func (r *reconciler) unfetched(err error) error {
	for _, passing := range []error{artifact.ErrNotFound, artifact.ErrDigestMismatch, artifact.ErrUnavailable} {
		if errors.Is(err, passing) {
			return r.missing(err)
		}
	}

	return err
}
