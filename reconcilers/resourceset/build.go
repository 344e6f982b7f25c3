package resourceset

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/resourceset/template"
)

// set is what a ResourceSet wants to have applied.
type set struct {
	summary
	key    string // everything that it depends on
	digest string // of the objects, with what was copied into them, and of the steps that they are in
	steps  [][]*unstructured.Unstructured
	of     map[access.ID]int // the step of each object
	jobs   bool              // some are created anew when they have failed
}

// build renders the objects, if there is anything to do.
func (r *reconciler) build(ctx context.Context, obj *fluxv1.ResourceSet, s *scope) error {
	if !s.decision.work {
		return nil
	}
	s.memo.key = ""
	if known := s.memo.attempt.set; known != nil && known.key == s.key {
		s.set = known
		return nil
	}
	engine.Progress(ctx, "Building resources")
	rendered, err := r.render(ctx, obj, s)
	if errors.Is(err, errBusy) {
		return engine.Await(lookAgain, "Waiting for other large sets to be built")
	}
	if err != nil {
		return r.unbuilt(obj, s, err)
	}
	revision, err := rendered.Digest() // of what is no secret: what is copied into the objects can be one
	if err != nil {
		return r.unbuilt(obj, s, err)
	}
	if err := r.resolve(ctx, obj, s, rendered); err != nil {
		return err
	}
	next, err := newSet(obj, s, rendered, revision)
	if err != nil {
		return r.unbuilt(obj, s, err)
	}
	if known := s.memo.attempt.set; known == nil || known.digest != next.digest {
		clear(s.memo.attempt.waits)
	}
	s.set, s.memo.attempt.set, s.memo.last, s.memo.jobs = next, next, next.summary, next.jobs
	return nil
}

// render makes the objects. An error of the type *template.Error stays until something changes.
func (r *reconciler) render(ctx context.Context, obj *fluxv1.ResourceSet, s *scope) (*template.Set, error) {
	inputs, err := template.Combine(obj, s.providers)
	if err != nil {
		return nil, err
	}
	s.inputs = len(inputs)
	return template.Render(ctx, obj, inputs, template.Options{
		Now: r.Now,
		Scopes: func(ctx context.Context, gk schema.GroupKind, version string) (bool, error) {
			m, err := s.client.Mapping(ctx, gk, version)
			return m.Namespaced, err
		},
		Heavy: func() error { return r.admit(s) },
	})
}

// resolve writes into the objects what they ask for of others, as the account may read it.
func (r *reconciler) resolve(ctx context.Context, obj *fluxv1.ResourceSet, s *scope, rendered *template.Set) error {
	refs, err := rendered.References()
	if err != nil {
		return r.unbuilt(obj, s, err)
	}
	r.Links.set(client.ObjectKeyFromObject(obj), refs)
	read, seen := r.reader(obj, s.client), map[string]string{}
	err = rendered.Resolve(ctx, template.ReaderFunc(func(ctx context.Context, ref template.Reference) (*unstructured.Unstructured, error) {
		live, err := read.Get(ctx, ref)
		if err == nil {
			seen[ref.String()] = version(ref, live)
		}
		return live, err
	}))
	if err != nil { // may be due to what is referred to, of which nobody may tell
		return r.failed(obj, s, err)
	}
	versions := make([]string, len(refs))
	for i, ref := range refs {
		versions[i] = seen[ref.String()]
	}
	s.memo.refs, s.key = refs, s.base+"\n"+strings.Join(versions, "\n")
	return nil
}

// reader reads what objects refer to with the rights of the account. The rights of the process are not for other namespaces if that is
// forbidden.
func (r *reconciler) reader(obj *fluxv1.ResourceSet, c *access.Client) template.Reader {
	return template.ReaderFunc(func(ctx context.Context, ref template.Reference) (*unstructured.Unstructured, error) {
		if c.Identity() == "" && r.NoCrossNamespaceRefs && ref.Namespace != obj.Namespace {
			return nil, fmt.Errorf("can't access '%s', cross-namespace references have been blocked", ref)
		}
		return c.Get(ctx, access.Ref{ID: access.ID{Kind: ref.Kind, Namespace: ref.Namespace, Name: ref.Name}, Version: "v1"})
	})
}

// version identifies what was read.
func version(ref template.Reference, live *unstructured.Unstructured) string {
	return fmt.Sprintf("%s %s %s", ref, live.GetUID(), live.GetResourceVersion())
}

func newSet(obj *fluxv1.ResourceSet, s *scope, rendered *template.Set, revision string) (*set, error) {
	digest, err := rendered.Digest()
	if err != nil {
		return nil, err
	}
	external, err := rendered.External()
	if err != nil {
		return nil, err
	}
	out := &set{key: s.key, digest: digest, of: map[access.ID]int{}, steps: make([][]*unstructured.Unstructured, len(stages(obj)))}
	count := 0
	for i, st := range rendered.Steps {
		out.steps[i] = st.Objects
		out.digest += fmt.Sprintf(" %s=%d", st.Name, len(st.Objects))
		for _, u := range st.Objects {
			count++
			id := access.Of(u).ID
			out.of[id] = i
			if id.Namespace = ""; u.GetNamespace() != "" { // of a cluster-scoped kind, perhaps
				if _, taken := out.of[id]; !taken {
					out.of[id] = i
				}
			}
			out.jobs = out.jobs || renewable(u)
		}
	}
	out.summary = summary{revision: revision, external: external, metadata: map[string]string{
		"inputs": strconv.Itoa(s.inputs), "resources": strconv.Itoa(count),
	}}
	if len(obj.Spec.Steps) > 0 {
		out.metadata["steps"] = strconv.Itoa(len(obj.Spec.Steps))
	}
	return out, nil
}

// unbuilt is the verdict about a ResourceSet that cannot be rendered: for good, if that is due to the spec or the inputs.
func (r *reconciler) unbuilt(obj *fluxv1.ResourceSet, s *scope, err error) error {
	s.memo.end()
	if _, ok := errors.AsType[*template.Error](err); ok {
		return r.buildFailed(obj, err)
	}
	return failing(err)
}

// buildFailed is the verdict about a ResourceSet whose spec, or inputs, make no objects.
func (r *reconciler) buildFailed(obj *fluxv1.ResourceSet, err error) error {
	if c := engine.Condition(obj, meta.StalledCondition); c == nil || c.Message != "build failed: "+err.Error() || c.ObservedGeneration != obj.Generation {
		content, _ := json.Marshal(obj.Spec) //nolint:errchkjson // it was decoded from JSON
		sum := sha256.Sum256(content)
		obj.Status.History.Record("sha256:"+hex.EncodeToString(sum[:]), meta.BuildFailedReason, r.Now(), 0, nil)
	}
	return engine.Stall(meta.BuildFailedReason, fmt.Errorf("build failed: %w", err))
}
