package kube

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	helmkube "helm.sh/helm/v3/pkg/kube"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/cli-runtime/pkg/resource"

	"github.com/weir-dev/weir/reconcilers/access"
)

// concurrency is the number of requests in parallel.
const concurrency = 8

// Create implements kube.Interface.
func (c *Client) Create(resources helmkube.ResourceList) (*helmkube.Result, error) {
	c.Log("creating %d resource(s)", len(resources))
	if c.ServerSide && len(resources) > 0 && !slices.ContainsFunc(resources, isLoose) {
		return c.apply(nil, resources)
	}
	if err := c.check(resources); err != nil {
		return &helmkube.Result{}, err
	}
	return c.each(resources, c.create)
}

// Update implements kube.Interface. The result is never nil.
func (c *Client) Update(original, target helmkube.ResourceList, force bool) (*helmkube.Result, error) {
	return c.update(original, target, change{force: force})
}

// UpdateThreeWayMerge implements kube.InterfaceThreeWayMerge. The result is never nil.
func (c *Client) UpdateThreeWayMerge(original, target helmkube.ResourceList, force bool) (*helmkube.Result, error) {
	return c.update(original, target, change{force: force, live: true})
}

// change says how an object is changed without server-side apply.
type change struct {
	force bool // replace it
	live  bool // correct what others have done to objects of kinds that Kubernetes does not know
}

func (c *Client) update(original, target helmkube.ResourceList, how change) (*helmkube.Result, error) {
	c.Log("checking %d resources for changes", len(target))
	res, err := c.bring(original, target, how)
	if err != nil {
		return res, err
	}
	res.Deleted = c.prune(original.Difference(target))
	return res, nil
}

// bring makes the cluster have the targets.
func (c *Client) bring(original, target helmkube.ResourceList, how change) (*helmkube.Result, error) {
	if c.ServerSide {
		return c.apply(original, target)
	}
	c.Applier.Forget(c.Owner.ID) // what it would see from now on is no drift
	if err := c.check(target); err != nil {
		return &helmkube.Result{}, err
	}
	return c.each(target, func(info *resource.Info) (bool, error) { return c.merge(original.Get(info), info, how) })
}

// isLoose tells what is applied by itself: hooks, and what Helm brings along, such as a namespace.
func isLoose(info *resource.Info) bool { return !isMember(info) }

// check refuses objects that cannot be written in their version, before anything is.
func (c *Client) check(resources helmkube.ResourceList) error {
	for _, info := range resources {
		obj := objectOf(info)
		gvk := obj.GroupVersionKind()
		if _, err := c.Client.Mapping(c.ctx, gvk.GroupKind(), gvk.Version); err != nil {
			return noMatch(obj, err)
		}
	}
	return nil
}

// each writes resources: kind by kind, those of one kind in parallel. It ends with the kind in which something was refused.
func (c *Client) each(resources helmkube.ResourceList, fn func(*resource.Info) (created bool, err error)) (*helmkube.Result, error) {
	res := &helmkube.Result{}
	for batch := range batches(resources) {
		created, errs := make([]bool, len(batch)), make([]error, len(batch))
		parallel(len(batch), func(i int) { created[i], errs[i] = fn(batch[i]) })
		for i, info := range batch {
			if created[i] {
				res.Created = append(res.Created, info)
			} else {
				res.Updated = append(res.Updated, info)
			}
		}
		if err := errors.Join(errs...); err != nil {
			return res, err
		}
	}
	return res, nil
}

// create writes one object that is not there yet, as far as Helm knows.
func (c *Client) create(info *resource.Info) (bool, error) {
	obj := objectOf(info)
	if c.ServerSide && info.Name != "" {
		return true, c.applyOne(info)
	}
	created, err := c.Client.Create(c.ctx, obj, c.Owner.Manager)
	if apierrors.IsAlreadyExists(err) && isMember(info) { // it has appeared since Helm looked
		return c.merge(nil, info, change{live: true})
	}
	if err != nil {
		return true, fmt.Errorf("create %q: %w", refOf(info), err)
	}
	info.Name = created.GetName() // of a generated one
	c.wrote(refOf(info).ID, created.GetResourceVersion())
	c.learn(info)
	return true, nil
}

// applyOne applies one object on the server's side.
func (c *Client) applyOne(info *resource.Info) error {
	ref := access.Of(objectOf(info))
	body, err := json.Marshal(objectOf(info).Object)
	if err != nil {
		return fmt.Errorf("encode %q: %w", ref, err)
	}
	m, err := c.Client.Apply(c.ctx, ref, body, access.ApplyOptions{Manager: c.Owner.Manager, Force: true})
	if err != nil {
		return fmt.Errorf("apply %q: %w", ref, err)
	}
	c.wrote(ref.ID, m.ResourceVersion)
	c.learn(info)
	return nil
}

// learn makes what a definition brings known soon.
func (c *Client) learn(info *resource.Info) {
	if info.Mapping.GroupVersionKind.Kind == "CustomResourceDefinition" {
		c.Client.Factory().Invalidate()
	}
}

// foreign returns an error if an object exists that is not one of the release.
func (c *Client) foreign(info *resource.Info) error {
	live, err := c.Client.GetMeta(c.ctx, refOf(info))
	if apierrors.IsNotFound(err) || isUnserved(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("could not get information about the resource %s: %w", describe(info), err)
	}
	if live.Labels[managedByLabel] == "Helm" && live.Annotations[nameAnnotation] == c.Release &&
		live.Annotations[namespaceAnnotation] == c.Namespace {
		return nil
	}
	return c.stranger(info)
}

// stranger is the error about an object that is not one of the release.
func (c *Client) stranger(info *resource.Info) error {
	return fmt.Errorf("%s exists and cannot be imported into the current release: invalid ownership metadata; label %q must be \"Helm\", "+
		"annotation %q must be %q, and annotation %q must be %q", describe(info), managedByLabel, nameAnnotation, c.Release,
		namespaceAnnotation, c.Namespace)
}

// strangers returns an error about all objects that are in the way of new ones. Helm has looked before the hooks ran; the rest of
// the window is what no API of Kubernetes closes for server-side apply.
func (c *Client) strangers(original, target helmkube.ResourceList) error {
	if c.TakeOwnership {
		return nil
	}
	fresh := target.Difference(original)
	errs := make([]error, len(fresh))
	parallel(len(fresh), func(i int) { errs[i] = c.foreign(fresh[i]) })
	return join(errs)
}

// join makes one line of errors.
func join(errs []error) error {
	errs = slices.DeleteFunc(errs, func(err error) bool { return err == nil })
	switch len(errs) {
	case 0:
		return nil
	case 1:
		return errs[0]
	}
	texts := make([]string, len(errs))
	for i, err := range errs {
		texts[i] = err.Error()
	}
	return &several{text: strings.Join(texts, " && "), errs: errs}
}

// several are errors in one line.
type several struct {
	text string
	errs []error
}

// Error implements error.
func (s *several) Error() string { return s.text }

// Unwrap returns all of them.
func (s *several) Unwrap() []error { return s.errs }

// batches cuts a list where the kind changes.
func batches(resources helmkube.ResourceList) func(func(helmkube.ResourceList) bool) {
	return func(yield func(helmkube.ResourceList) bool) {
		for len(resources) > 0 {
			n := 1
			for n < len(resources) && resources[n].Mapping.GroupVersionKind == resources[0].Mapping.GroupVersionKind {
				n++
			}
			if !yield(resources[:n]) {
				return
			}
			resources = resources[n:]
		}
	}
}

// parallel calls fn for each index below n.
func parallel(n int, fn func(int)) {
	var wg sync.WaitGroup
	next := make(chan int)
	for range min(n, concurrency) {
		wg.Go(func() {
			for i := range next {
				fn(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
}

// during runs fn without the permit. If that does not come back, because the action is to end, the action has none from then on.
func (c *Client) during(fn func()) error {
	c.Permit.Release()
	fn()
	return c.Permit.Take(c.ctx)
}
