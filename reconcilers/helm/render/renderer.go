package render

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"helm.sh/helm/v3/pkg/postrender"
	"helm.sh/helm/v3/pkg/release"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	v2 "github.com/weir-dev/weir/api/helm/v2"
	"github.com/weir-dev/weir/reconcilers/build"
)

// Transformer runs kustomize over a stream of objects. *build.Builder is one.
type Transformer interface {
	Transform(ctx context.Context, owner string, stream []byte, spec build.Spec) (*build.Set, error)
}

// Renderer changes the objects of one release, for one action. It is not safe for concurrent use.
type Renderer struct {
	// Helm passes no context on.
	ctx         context.Context //nolint:containedctx // see above
	transformer Transformer
	obj         *v2.HelmRelease
	// idle are the patches of each post-renderer that have found nothing so far, and may yet among the hooks.
	idle []map[int]bool
}

var _ postrender.PostRenderer = (*Renderer)(nil)

// New returns the renderer of a release. The HelmRelease is only read.
func New(ctx context.Context, t Transformer, obj *v2.HelmRelease) *Renderer {
	return &Renderer{ctx: ctx, transformer: t, obj: obj}
}

// Run implements postrender.PostRenderer: it renders what is no hook.
func (r *Renderer) Run(in *bytes.Buffer) (*bytes.Buffer, error) {
	documents, err := parse(in.String(), "")
	if err != nil {
		return nil, err
	}

	r.idle = nil
	if documents, err = r.render(documents); err != nil {
		return nil, err
	}

	if r.obj.GetPostRenderStrategy() != v2.PostRenderCombined {
		if err := r.settle(); err != nil {
			return nil, err
		}
	}

	text, err := join(documents, true)

	return bytes.NewBufferString(text), err
}

// Hooks returns the hooks of a release as the strategy of the spec has them: as they are, or rendered by themselves or together with
// what Run had before. To be together means that a patch has to find its object among the one or the other, and not in both.
func (r *Renderer) Hooks(hooks []*release.Hook) ([]*release.Hook, error) {
	strategy := r.obj.GetPostRenderStrategy()

	switch {
	case strategy == v2.PostRenderNoHooks:
		return hooks, nil
	case len(hooks) == 0 && strategy == v2.PostRenderSeparate:
		return nil, nil
	case strategy == v2.PostRenderSeparate:
		r.idle = nil
	}

	var documents []document

	for i, h := range hooks {
		found, err := parse(h.Manifest, h.Path)
		if err != nil {
			return nil, err
		}

		for _, d := range found {
			documents = append(documents, document{d.object, strconv.Itoa(i)})
		}
	}

	documents, err := r.render(documents)
	if err != nil {
		return nil, fmt.Errorf("render hooks: %w", err)
	}

	if err := r.settle(); err != nil {
		return nil, err
	}

	return rebuild(hooks, documents)
}

// rebuild returns the hooks with what was made of them. One of which nothing is left is none.
func rebuild(hooks []*release.Hook, documents []document) ([]*release.Hook, error) {
	parts := make([][]document, len(hooks))

	for _, d := range documents {
		i, err := strconv.Atoi(d.source)
		if err != nil || i < 0 || i >= len(hooks) {
			return nil, fmt.Errorf("a post-renderer has removed the annotations of the hook %s", describe(d.object))
		}

		parts[i] = append(parts[i], d)
	}

	out := make([]*release.Hook, 0, len(hooks))

	for i, h := range hooks {
		if len(parts[i]) == 0 {
			continue
		}

		text, err := join(parts[i], false)
		if err != nil {
			return nil, err
		}

		changed := *h
		changed.Manifest = text
		changed.Name, changed.Kind = parts[i][0].object.GetName(), parts[i][0].object.GetKind()
		out = append(out, &changed)
	}

	return out, nil
}

// render runs the chain.
func (r *Renderer) render(documents []document) ([]document, error) {
	if r.idle == nil {
		r.idle = make([]map[int]bool, len(r.obj.Spec.PostRenderers))
	}

	for i, p := range r.obj.Spec.PostRenderers {
		if p.Kustomize == nil || len(p.Kustomize.Patches)+len(p.Kustomize.Images) == 0 {
			continue
		}

		var err error
		if documents, err = r.kustomize(i, p.Kustomize, documents); err != nil {
			return nil, fmt.Errorf("spec.postRenderers[%d]: %w", i, err)
		}
	}

	labels := map[string]string{v2.OwnerNameLabel: r.obj.Name, v2.OwnerNamespaceLabel: r.obj.Namespace}
	common := r.obj.Spec.CommonMetadata

	for _, d := range documents {
		var err error
		if common != nil {
			err = errors.Join(add(d.object, "labels", common.Labels), add(d.object, "annotations", common.Annotations))
		}

		if err = errors.Join(err, add(d.object, "labels", labels)); err != nil {
			return nil, err
		}
	}

	return documents, nil
}

// settle refuses patches that have found nothing.
func (r *Renderer) settle() error {
	for i, idle := range r.idle {
		for j, p := range patchesOf(r.obj.Spec.PostRenderers[i].Kustomize) {
			if idle[j] {
				return fmt.Errorf("spec.postRenderers[%d]: no object for the patch of %s", i, p.whose())
			}
		}
	}

	return nil
}

// kustomize runs one post-renderer. The library takes each object once only, so that others of the same name have runs of their own,
// as hooks may have.
func (r *Renderer) kustomize(i int, k *v2.Kustomize, documents []document) ([]document, error) {
	var (
		out     []document
		patches = patchesOf(k)
		found   = make([]bool, len(patches))
	)

	for _, batch := range batches(documents) {
		spec := build.Spec{Images: k.Images}

		for j, p := range patches {
			if p.meets(batch) {
				found[j] = true
				spec.Patches = append(spec.Patches, p.patch)
			}
		}

		changed, err := r.transform(batch, spec)
		if err != nil {
			return nil, err
		}

		out = append(out, changed...)
	}

	before := r.idle[i]
	r.idle[i] = map[int]bool{}

	for j, p := range patches {
		r.idle[i][j] = p.of != nil && !found[j] && (before == nil || before[j])
	}

	return out, nil
}

// mark is the annotation that tells of which template an object is, while the library has it. It is the one that Helm uses.
const mark = "postrenderer.helm.sh/postrender-filename"

func (r *Renderer) transform(documents []document, spec build.Spec) ([]document, error) {
	if len(spec.Patches)+len(spec.Images) == 0 {
		return documents, nil
	}

	for _, d := range documents {
		if err := add(d.object, "annotations", map[string]string{mark: d.source}); err != nil {
			return nil, err
		}
	}

	stream, err := lines(documents)
	if err != nil {
		return nil, err
	}

	set, err := r.transformer.Transform(r.ctx, r.obj.Namespace, stream, spec)
	if err != nil {
		return nil, err //nolint:wrapcheck // the caller says of what
	}

	out := make([]document, 0, len(set.Objects))

	for _, u := range set.Objects {
		out = append(out, document{u, unmark(u)})
	}

	return out, nil
}

// unmark takes the mark off an object, and returns what it says.
func unmark(u *unstructured.Unstructured) string {
	metadata, _ := u.Object["metadata"].(map[string]any)
	annotations, _ := metadata["annotations"].(map[string]any)
	source, _ := annotations[mark].(string)

	if delete(annotations, mark); len(annotations) == 0 {
		delete(metadata, "annotations")
	}

	return source
}

// batches parts the objects so that none has another one of the same name.
func batches(documents []document) [][]document {
	var (
		out  [][]document
		seen []map[identity]bool
	)

	for _, d := range documents {
		id := identify(d.object)

		i := slices.IndexFunc(seen, func(s map[identity]bool) bool { return !s[id] })
		if i < 0 {
			i = len(seen)
			seen = append(seen, map[identity]bool{})
			out = append(out, nil)
		}

		seen[i][id] = true
		out[i] = append(out[i], d)
	}

	return out
}
