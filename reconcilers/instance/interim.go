package instance

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/reconcilers/distribution"
	"github.com/weir-dev/weir/reconcilers/engine"
)

// interim is a revision of the release that runs, which is wanted while the next release waits for a window: edits of the spec do not
// wait with it.
type interim struct {
	useless string // what the last one was made of, if it led to what runs already
}

// detour makes what the spec makes of the release that runs the target, in the place of that of the next release, and tells whether it has.
// If it has not although the spec was edited, it says why.
func (r *reconciler) detour(ctx context.Context, obj *fluxv1.FluxInstance, s *scope) (ok bool, why error) {
	good, err := r.lastGood(ctx, obj, s)
	if err != nil {
		return false, nil //nolint:nilerr // holding the revision back is going to say so
	}
	digest, err := specDigest(obj)
	if err != nil {
		return false, err
	}
	if digest == good.details.Spec {
		return false, nil
	}
	if good.details.Artifact == nil {
		return false, errors.New("the release that runs came with an operator that is gone")
	}
	if r.Releases == nil {
		return false, errors.New("this operator has no access to registries")
	}
	key := digest + "\n" + good.details.Revision + "\n" + s.credentials
	if s.memory.interim.useless == key {
		return false, nil
	}
	set, err := r.inPlace(ctx, obj, s, good)
	if err != nil {
		return false, fmt.Errorf("artifact %s of the release that runs: %w", good.details.Artifact.Digest, err)
	}
	if set.Revision() == obj.Status.LastAppliedRevision {
		s.memory.interim.useless = key
		return false, nil
	}
	return true, nil
}

// inPlace builds the instance of the artifact that it runs, verified anew.
func (r *reconciler) inPlace(ctx context.Context, obj *fluxv1.FluxInstance, s *scope, good *record) (*distribution.Set, error) {
	pinned, err := pin(obj, good)
	if err != nil {
		return nil, err
	}
	engine.Progress(ctx, "Fetching the distribution that runs")
	rel, err := r.Releases.Fetch(ctx, pinned)
	if err != nil {
		return nil, err
	}
	set, err := rel.Build(placed(obj), distribution.Options{Image: r.Image})
	if err != nil {
		return nil, err
	}
	if !sameRelease(&obj.Status, set, rel.Artifact.Digest) {
		return nil, errors.New("it makes another release now")
	}
	s.built, s.release = set, rel
	return set, nil
}

// pin returns the instance as it would be if it asked for the artifact that it runs.
func pin(obj *fluxv1.FluxInstance, good *record) (*fluxv1.FluxInstance, error) {
	a := good.details.Artifact
	ref, err := name.ParseReference(strings.TrimPrefix(a.URL, "oci://"))
	if err != nil {
		return nil, fmt.Errorf("%q is no reference", a.URL)
	}
	pinned := obj.DeepCopy()
	pinned.Spec.Distribution.Artifact = "oci://" + ref.Context().Name() + "@" + a.Digest
	pinned.Spec.Distribution.Version = strings.TrimPrefix(good.set.Version, "v")
	pinned.Status.Artifact = a // it is no older than itself
	return pinned, nil
}
