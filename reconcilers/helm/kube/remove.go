package kube

import (
	"fmt"
	"slices"

	helmkube "helm.sh/helm/v3/pkg/kube"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/resource"

	"github.com/weir-dev/weir/reconcilers/access"
)

// Delete implements kube.Interface.
func (c *Client) Delete(resources helmkube.ResourceList) (*helmkube.Result, []error) {
	return c.remove(resources, metav1.DeletePropagationBackground)
}

// DeleteWithPropagationPolicy implements kube.InterfaceDeletionPropagation. Helm calls it for what a release consists of, when
// that is uninstalled: nothing of it is of interest to the applier any more.
func (c *Client) DeleteWithPropagationPolicy(resources helmkube.ResourceList, policy metav1.DeletionPropagation) (*helmkube.Result, []error) {
	c.Applier.Forget(c.Owner.ID)
	return c.remove(resources, policy)
}

// remove deletes objects, kind by kind, goes on after errors, and returns them. What is gone counts as deleted.
func (c *Client) remove(resources helmkube.ResourceList, policy metav1.DeletionPropagation) (*helmkube.Result, []error) {
	res := &helmkube.Result{}
	var errs []error
	for batch := range batches(resources) {
		failed := make([]error, len(batch))
		parallel(len(batch), func(i int) { failed[i] = c.removeOne(batch[i], policy) })
		for i, info := range batch {
			if failed[i] == nil {
				res.Deleted = append(res.Deleted, info)
			} else {
				errs = append(errs, failed[i])
			}
		}
	}
	return res, errs
}

// removeOne deletes an object, unless it belongs to another release by now.
func (c *Client) removeOne(info *resource.Info, policy metav1.DeletionPropagation) error {
	ref := refOf(info)
	for range attempts {
		live, err := c.Client.GetMeta(c.ctx, ref)
		if apierrors.IsNotFound(err) {
			return nil
		}
		if isUnserved(err) {
			return c.unserved(info)
		}
		if err != nil {
			return fmt.Errorf("delete %q: %w", ref, err)
		}
		if !isHook(info) && c.others(live) {
			c.Log("not deleting %s: it belongs to another release by now", describe(info))
			c.spare(ref.ID)
			return nil
		}
		err = c.Client.Delete(c.ctx, ref, access.DeleteOptions{UID: live.UID, Propagation: policy})
		if err == nil || apierrors.IsNotFound(err) {
			return nil
		}
		if !apierrors.IsConflict(err) {
			return fmt.Errorf("delete %q: %w", ref, err)
		}
	}
	return fmt.Errorf("delete %q: it was made anew %d times in between", ref, attempts)
}

// unserved returns nil if nothing of a kind can exist, because its definition is gone. An API that is away is not.
func (c *Client) unserved(info *resource.Info) error {
	served, err := c.Client.Serves(c.ctx, info.Mapping.GroupVersionKind)
	if err != nil {
		return fmt.Errorf("delete %q: %w", refOf(info), err)
	}
	if served {
		return fmt.Errorf("delete %q: the kind has come back just now", refOf(info))
	}
	return nil
}

// others tells whether an object says that it is of another release.
func (c *Client) others(live *metav1.PartialObjectMetadata) bool {
	name, ok := live.Annotations[nameAnnotation]
	namespace := live.Annotations[namespaceAnnotation]
	return ok && (name != c.Release || namespace != "" && namespace != c.Namespace)
}

// prune deletes what a release has no longer. What fails stays, and is told to who reads Helm's log, as Helm does it.
func (c *Client) prune(stale helmkube.ResourceList) helmkube.ResourceList {
	stale = stale.Filter(func(info *resource.Info) bool { return !c.kept(info) })
	res, errs := c.remove(stale, metav1.DeletePropagationBackground)
	for _, err := range errs {
		c.Log("failed to delete what the release does not have any more: %v", err)
	}
	return slices.DeleteFunc(res.Deleted, func(info *resource.Info) bool { return c.isSpared(refOf(info).ID) })
}

// kept tells whether an object that has left the release asks to stay.
func (c *Client) kept(info *resource.Info) bool {
	live, err := c.Client.GetMeta(c.ctx, refOf(info))
	if err != nil {
		return false // who deletes it will see
	}
	if live.Annotations[helmkube.ResourcePolicyAnno] != helmkube.KeepPolicy {
		return false
	}
	c.Log("skipping delete of %s due to annotation [%s=%s]", describe(info), helmkube.ResourcePolicyAnno, helmkube.KeepPolicy)
	return true
}

func (c *Client) isSpared(id access.ID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.spared[id]
	return ok
}

// isUnserved tells the error about a kind that the API server does not know.
func isUnserved(err error) bool { return err != nil && apimeta.IsNoMatchError(err) }
