package kube

import (
	"context"
	"fmt"
	"slices"
	"time"

	helmkube "helm.sh/helm/v3/pkg/kube"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// look is how often it is asked whether the API server serves what it has established.
const look = 50 * time.Millisecond

// Establish waits until the API server serves what definitions in the cluster define, and has everybody know it. The errors of the wait
// are of type *WaitError.
func (c *Client) Establish(crds []*unstructured.Unstructured, timeout time.Duration) error {
	if len(crds) == 0 {
		return nil
	}
	var list helmkube.ResourceList
	for _, crd := range crds {
		m, err := c.mapping(crd, nil, true)
		if err != nil {
			return err
		}
		info, err := c.info(crd.DeepCopy(), m)
		if err != nil {
			return err
		}
		list = append(list, info)
	}
	ctx, cancel := context.WithTimeout(c.ctx, timeout)
	defer cancel()
	if err := c.await(list, timeout); err != nil {
		return fmt.Errorf("wait for CustomResourceDefinitions: %w", err)
	}
	return c.serve(ctx, crds)
}

// serve waits until discovery tells of the definitions, which takes the API server a moment after they are established.
func (c *Client) serve(ctx context.Context, crds []*unstructured.Unstructured) error {
	wanted := served(crds)
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		c.Client.Factory().Invalidate()
		offered, err := c.Client.Served(ctx)
		if err != nil {
			return fmt.Errorf("wait for CustomResourceDefinitions: %w", err)
		}
		missing := slices.IndexFunc(wanted, func(kind string) bool {
			_, found := slices.BinarySearch(offered.Kinds, kind)
			return !found
		})
		if missing < 0 {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("wait for CustomResourceDefinitions: %q is not served: %w", wanted[missing], context.Cause(ctx))
		}
	}
}

// served returns what definitions say is served, as in access.Served.
func served(crds []*unstructured.Unstructured) []string {
	var out []string
	for _, crd := range crds {
		group, _, _ := unstructured.NestedString(crd.Object, "spec", "group")
		kind, _, _ := unstructured.NestedString(crd.Object, "spec", "names", "kind")
		versions, _, _ := unstructured.NestedSlice(crd.Object, "spec", "versions")
		for _, item := range versions {
			version, _ := item.(map[string]any)
			name, _ := version["name"].(string)
			if on, _ := version["served"].(bool); on {
				out = append(out, group+"/"+name+"/"+kind)
			}
		}
	}
	return out
}
