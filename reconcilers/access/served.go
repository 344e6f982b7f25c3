package access

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/version"
)

// Served is what an API server offers. It is shared and must not be changed.
type Served struct {
	// Version of the API server.
	Version version.Info
	// Kinds has each version as "apps/v1" and each kind as "apps/v1/Deployment", sorted.
	Kinds []string
}

// Served returns what the API server offers. All clients of a cluster share the answer, which is at most five seconds old, and
// not older than the last Invalidate.
func (c *Client) Served(ctx context.Context) (*Served, error) {
	k := c.factory.kinds
	if s := k.fresh(); s != nil {
		return s, nil
	}
	select {
	case k.asking <- struct{}{}:
		defer func() { <-k.asking }()
	case <-ctx.Done():
		return nil, fmt.Errorf("look up all kinds: %w", context.Cause(ctx))
	}
	if s := k.fresh(); s != nil { // another has asked meanwhile
		return s, nil
	}
	v, err := c.factory.own.ServerVersion(ctx)
	if err != nil {
		return nil, fmt.Errorf("ask for the version of the API server: %w", err)
	}
	if err := k.refresh(ctx); err != nil {
		return nil, fmt.Errorf("look up all kinds: %w", err)
	}
	return k.offer(*v), nil
}

// Serves asks the API server whether it serves the kind in the version. Unlike Mapping, it takes nothing for granted: a group whose
// server is away is an error.
func (c *Client) Serves(ctx context.Context, gvk schema.GroupVersionKind) (bool, error) {
	segments := []string{"apis", gvk.Group, gvk.Version}
	if gvk.Group == "" {
		segments = []string{"api", gvk.Version}
	}
	if err := checkSegments(segments[1:]...); err != nil {
		return false, nil //nolint:nilerr // no API server serves such a version
	}
	raw, err := c.do(ctx, gvk.GroupKind(), c.request("GET").AbsPath(segments...))
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("ask whether %q is served: %w", gvk, err)
	}
	var list metav1.APIResourceList
	if err := json.Unmarshal(raw, &list); err != nil {
		return false, fmt.Errorf("decode what is served in %q: %w", gvk.GroupVersion(), err)
	}
	return slices.ContainsFunc(list.APIResources, func(r metav1.APIResource) bool {
		return r.Kind == gvk.Kind && !isSubresource(r.Name)
	}), nil
}

// fresh returns what was offered lately, or nil.
func (k *kinds) fresh() *Served {
	k.mu.RLock()
	defer k.mu.RUnlock()
	if k.asked.IsZero() || k.clock.Since(k.asked) >= discoveryRest {
		return nil
	}
	return k.offered
}

// offer lists what is known to be served.
func (k *kinds) offer(v version.Info) *Served {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := &Served{Version: v}
	for gk, served := range k.served {
		for name := range served.mappings {
			gv := schema.GroupVersion{Group: gk.Group, Version: name}.String()
			s.Kinds = append(s.Kinds, gv, gv+"/"+gk.Kind)
		}
	}
	slices.Sort(s.Kinds)
	s.Kinds = slices.Clip(slices.Compact(s.Kinds))
	k.offered = s
	return s
}
