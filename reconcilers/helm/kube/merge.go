package kube

import (
	"encoding/json"
	"fmt"

	helmkube "helm.sh/helm/v3/pkg/kube"
	apiextensionsv1beta1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1beta1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/jsonmergepatch"
	"k8s.io/apimachinery/pkg/util/mergepatch"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/cli-runtime/pkg/resource"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"

	"github.com/weir-dev/weir/reconcilers/access"
)

// attempts is how often a change is tried that others get in the way of.
const attempts = 5

// merge makes one object what it should be without server-side apply, and tells whether it was created. The original is what the
// release had before, or nil: then what is there is the base.
func (c *Client) merge(original, target *resource.Info, how change) (created bool, err error) {
	for range attempts {
		created, err = c.mergeOnce(original, target, how)
		if !apierrors.IsConflict(err) && !apierrors.IsAlreadyExists(err) {
			break
		}
	}
	return created, err
}

func (c *Client) mergeOnce(original, target *resource.Info, how change) (bool, error) {
	ref := access.Of(objectOf(target))
	live, err := c.Client.Get(c.ctx, ref)
	if apierrors.IsNotFound(err) {
		return true, c.make(original, target)
	}
	if err != nil {
		return false, fmt.Errorf("could not get information about the resource %s: %w", describe(target), err)
	}
	if original == nil {
		if err := c.adoptable(live, target); err != nil {
			return false, err
		}
		original = &resource.Info{Object: live}
	}
	if how.force {
		return false, c.replace(target, live)
	}
	patch, patchType, err := difference(objectOf(original), target, live, how.live)
	if err != nil {
		return false, fmt.Errorf("compare %q with what is there: %w", ref, err)
	}
	if len(patch) == 0 || string(patch) == "{}" {
		return false, nil
	}
	m, err := c.Client.Patch(c.ctx, ref, patchType, patch, access.PatchOptions{Manager: c.Owner.Manager})
	if err != nil {
		return false, fmt.Errorf("cannot patch %q: %w", ref, err)
	}
	c.wrote(ref.ID, m.ResourceVersion)
	c.learn(target)
	return false, nil
}

// make creates an object that was not there a moment ago.
func (c *Client) make(original, target *resource.Info) error {
	obj, err := c.Client.Create(c.ctx, objectOf(target), c.Owner.Manager)
	if err != nil {
		return fmt.Errorf("failed to create resource %q: %w", refOf(target), err)
	}
	if original != nil {
		c.Log("created %s again", describe(target))
	}
	c.wrote(refOf(target).ID, obj.GetResourceVersion())
	c.learn(target)
	return nil
}

// adoptable returns an error if an object that the release did not have must not become one of it.
func (c *Client) adoptable(live *unstructured.Unstructured, target *resource.Info) error {
	a := live.GetAnnotations()
	ours := live.GetLabels()[managedByLabel] == "Helm" && a[nameAnnotation] == c.Release && a[namespaceAnnotation] == c.Namespace
	if c.TakeOwnership || ours || !isMember(target) {
		return nil
	}
	return c.stranger(target)
}

// replace puts the target in the place of what is there.
func (c *Client) replace(target *resource.Info, live *unstructured.Unstructured) error {
	obj := objectOf(target).DeepCopy()
	obj.SetResourceVersion(live.GetResourceVersion())
	m, err := c.Client.Replace(c.ctx, obj, c.Owner.Manager)
	if err != nil {
		return fmt.Errorf("failed to replace object %q: %w", refOf(target), err)
	}
	c.wrote(refOf(target).ID, m.ResourceVersion)
	c.learn(target)
	return nil
}

// difference returns the patch that makes of what is there what the release wants, and keeps what others have added. Kinds
// that Kubernetes knows are merged by the strategies of their fields. Of others, what has drifted is seen only if asked for.
func difference(original *unstructured.Unstructured, target *resource.Info, live *unstructured.Unstructured, drift bool) ([]byte, types.PatchType, error) {
	from, err := json.Marshal(original.Object)
	if err != nil {
		return nil, "", fmt.Errorf("encode what was applied: %w", err)
	}
	to, err := json.Marshal(objectOf(target).Object)
	if err != nil {
		return nil, "", fmt.Errorf("encode what is to be applied: %w", err)
	}
	have, err := json.Marshal(live.Object)
	if err != nil {
		return nil, "", fmt.Errorf("encode what is there: %w", err)
	}
	typed := helmkube.AsVersioned(target)
	_, unknown := typed.(runtime.Unstructured)
	_, definition := typed.(*apiextensionsv1beta1.CustomResourceDefinition)
	switch {
	case !unknown && !definition:
		meta, err := strategicpatch.NewPatchMetaFromStruct(typed)
		if err != nil {
			return nil, "", fmt.Errorf("look up how the kind is merged: %w", err)
		}
		patch, err := strategicpatch.CreateThreeWayMergePatch(from, to, have, meta, true)
		return patch, types.StrategicMergePatchType, err
	case drift:
		patch, err := jsonmergepatch.CreateThreeWayJSONMergePatch(from, to, have, mergepatch.RequireKeyUnchanged("apiVersion"),
			mergepatch.RequireKeyUnchanged("kind"), mergepatch.RequireMetadataKeyUnchanged("name"))
		return patch, types.MergePatchType, err
	}
	patch, err := jsonpatch.CreateMergePatch(from, to)
	return patch, types.MergePatchType, err
}
