package operator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/weir-dev/weir/reconcilers/access"
)

// ErrChanged says that somebody else changed the Deployment at the same time: it has to be looked at again.
var ErrChanged = errors.New("it was changed at the same time")

// Upgrade gives the Deployment the image, after the cluster has the definitions of its kinds. A *BlockedError says that it cannot have them,
// and ErrChanged that the container is no longer as it was observed; in both cases the Deployment stays as it is.
func (s *Self) Upgrade(ctx context.Context, state State, image string, definitions []*unstructured.Unstructured) error {
	if err := s.define(ctx, definitions); err != nil {
		return err
	}
	return s.change(ctx, state, Build{Image: image, Argument: image})
}

// Restore gives the Deployment back what this process runs. Its errors are those of Upgrade.
func (s *Self) Restore(ctx context.Context, state State) error {
	return s.change(ctx, state, state.Running)
}

func (s *Self) change(ctx context.Context, state State, to Build) error {
	patch, err := json.Marshal(state.patch(to))
	if err != nil {
		return fmt.Errorf("encode patch of %q: %w", state.Deployment, err)
	}
	ref := access.Ref{ID: state.Deployment, Version: "v1"}
	_, err = s.options.Client.Patch(ctx, ref, types.JSONPatchType, patch, access.PatchOptions{Manager: Manager})
	if apierrors.IsInvalid(err) && s.moved(ctx, state) { // the API server does not say whether it was a test of the patch
		err = ErrChanged
	}
	if err != nil {
		return fmt.Errorf("change the image of %q: %w", state.Deployment, err)
	}
	return nil
}

// moved tells whether the container is no longer where and as it was observed.
func (s *Self) moved(ctx context.Context, state State) bool {
	now, err := s.Observe(ctx)
	return err != nil || now.place != state.place
}

type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value"`
}

// patch replaces two values, where they were seen. The rest of the Deployment may change meanwhile.
func (s State) patch(to Build) []operation {
	p := s.place
	container := fmt.Sprintf("/spec/template/spec/containers/%d", p.container)
	argument := fmt.Sprintf("%s/args/%d", container, p.argument)
	return []operation{
		{"test", "/metadata/uid", string(s.live.UID)},
		{"test", container + "/name", p.name},
		{"test", container + "/image", p.Image},
		{"test", argument, p.prefix + p.Argument},
		{"replace", container + "/image", to.Image},
		{"replace", argument, p.prefix + to.Argument},
	}
}
