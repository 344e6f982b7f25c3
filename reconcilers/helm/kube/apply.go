package kube

import (
	"context"
	"errors"
	"time"

	helmkube "helm.sh/helm/v3/pkg/kube"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/cli-runtime/pkg/resource"

	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/apply"
)

// blink is how long an Apply waits for a definition or a namespace before the permit is given back.
const blink = 50 * time.Millisecond

// apply makes the cluster have the targets, all of them as one set. Originals are what the release had before.
func (c *Client) apply(original, target helmkube.ResourceList) (*helmkube.Result, error) {
	if err := c.strangers(original, target); err != nil {
		return &helmkube.Result{}, err
	}
	set := make([]*unstructured.Unstructured, len(target))
	infos := make(map[access.ID]*resource.Info, len(target))
	for i, info := range target {
		set[i] = objectOf(info)
		infos[refOf(info).ID] = info
	}
	o := apply.Options{Inventory: refs(original), Timeout: c.Timeout, Blink: blink, Concurrency: concurrency}
	for {
		result, err := c.Applier.Apply(c.ctx, c.Client, c.Owner, set, o)
		if waiting, ok := errors.AsType[*apply.Waiting](err); ok {
			if err := c.during(func() { c.rest(waiting) }); err != nil {
				return outcome(infos, result.Changes), err
			}
			continue
		}
		return outcome(infos, result.Changes), err
	}
}

// rest waits until the set may be gone on with.
func (c *Client) rest(w *apply.Waiting) {
	ctx, cancel := context.WithTimeout(c.ctx, w.After)
	defer cancel()
	if len(w.Goal.IDs) == 0 {
		<-ctx.Done()
		return
	}
	c.Hub.Settle(ctx, c.Owner.ID, w.Goal)
}

// outcome tells Helm what was done.
func outcome(infos map[access.ID]*resource.Info, changes apply.Changes) *helmkube.Result {
	res := &helmkube.Result{}
	for _, change := range changes {
		info := infos[change.ID]
		switch {
		case info == nil:
		case change.Action == apply.Created:
			res.Created = append(res.Created, info)
		default:
			res.Updated = append(res.Updated, info)
		}
	}
	return res
}

func refs(resources helmkube.ResourceList) []access.Ref {
	out := make([]access.Ref, len(resources))
	for i, info := range resources {
		out[i] = refOf(info)
	}
	return out
}
