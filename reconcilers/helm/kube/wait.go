package kube

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	helmkube "helm.sh/helm/v3/pkg/kube"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/cli-runtime/pkg/resource"

	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/health"
)

const (
	// glance is how long a wait relies on the hub before it looks whether that may watch everything.
	glance = 5 * time.Second
	// mostNamed is how many objects an error names.
	mostNamed = 10
)

// WaitError says that objects have not become what was awaited.
type WaitError struct {
	// Conditions of these objects.
	Conditions []health.Condition
	// Failed says that they have failed. Otherwise there was not enough time.
	Failed bool
	// Err is why there was no more time.
	Err error
}

// Error implements error.
func (e *WaitError) Error() string {
	var parts []string
	for i, c := range e.Conditions {
		if i == mostNamed {
			parts = append(parts, fmt.Sprintf("and %d more", len(e.Conditions)-i))
			break
		}
		parts = append(parts, fmt.Sprintf("resource %s not ready. status: %s, message: %s", c.ID, c.Status, c.Message))
	}
	if e.Err != nil {
		parts = append(parts, e.Err.Error())
	}
	return strings.Join(parts, "; ")
}

// Unwrap returns why there was no more time.
func (e *WaitError) Unwrap() error { return e.Err }

// Wait implements kube.Interface. It does not wait for Jobs. Its errors are of type *WaitError, if the wait has begun.
func (c *Client) Wait(resources helmkube.ResourceList, timeout time.Duration) error {
	return c.await(resources.Filter(func(info *resource.Info) bool { return !isJob(info) }), timeout)
}

// WaitWithJobs implements kube.Interface. Its errors are of type *WaitError, if the wait has begun.
func (c *Client) WaitWithJobs(resources helmkube.ResourceList, timeout time.Duration) error {
	return c.await(resources, timeout)
}

func (c *Client) await(resources helmkube.ResourceList, timeout time.Duration) error {
	resources = resources.Filter(func(info *resource.Info) bool { return !isPaused(info) && (!c.Legacy || isKnown(info)) })
	return c.settle(watched{resources: resources, rules: c.Rules}, timeout)
}

// WaitForDelete implements kube.InterfaceExt. It does not wait for what was left alone because another release has it. Its errors
// are of type *WaitError, if the wait has begun.
func (c *Client) WaitForDelete(resources helmkube.ResourceList, timeout time.Duration) error {
	resources = resources.Filter(func(info *resource.Info) bool { return info.Name != "" && !c.isSpared(refOf(info).ID) })
	return c.settle(watched{resources: resources, goal: health.Goal{Gone: true}}, timeout)
}

// WaitAndGetCompletedPodPhase implements kube.Interface.
func (c *Client) WaitAndGetCompletedPodPhase(name string, timeout time.Duration) (corev1.PodPhase, error) {
	id := access.ID{Kind: "Pod", Namespace: c.Namespace, Name: name}
	w := watched{named: []access.ID{id}, rules: completion(nil), goal: health.Goal{Patient: true}}
	err := c.settle(w, timeout)
	var failed *WaitError
	switch {
	case err == nil:
		return corev1.PodSucceeded, nil
	case errors.As(err, &failed) && failed.Failed:
		return corev1.PodFailed, nil
	}
	return corev1.PodUnknown, err
}

// watched is what is awaited of what.
type watched struct {
	resources helmkube.ResourceList
	named     []access.ID // more of them
	rules     map[schema.GroupKind]health.Rule
	goal      health.Goal
}

// settle waits for the goal. The interests are those of a waiter of its own: what the release has applied is the applier's.
func (c *Client) settle(w watched, timeout time.Duration) error {
	if len(w.resources)+len(w.named) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(c.ctx, timeout)
	defer cancel()
	ctx, interrupt := context.WithCancelCause(ctx)
	defer interrupt(nil)
	waiter := c.Owner.ID
	waiter.Kind += "/wait"
	defer c.Hub.Untrack(waiter)
	lost := &failures{}
	w.goal.IDs = c.declare(waiter, w, lost)

	var report health.Report
	var reached bool
	took := c.during(func() { report, reached = c.watch(ctx, interrupt, waiter, w.goal) })
	report.Failed = append(report.Failed, lost.among(report.Current)...)
	if err := verdict(ctx, report, reached, w.goal); err != nil {
		return err
	}
	return took
}

// failures are those of Jobs that vanish when they are done, which may be before anybody has looked. The watch that tells
// of their end has told of their failure before.
type failures struct {
	mu   sync.Mutex
	seen map[access.ID]health.Condition
}

func (f *failures) note(id access.ID, live *health.Live) {
	if live == nil || live.Status != status.FailedStatus {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.seen == nil {
		f.seen = map[access.ID]health.Condition{}
	}
	f.seen[id] = health.Condition{ID: id, Status: live.Status, Message: live.Message}
}

// among returns the failures of what counts as current.
func (f *failures) among(current []health.Condition) []health.Condition {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []health.Condition
	for _, c := range current {
		if failed, ok := f.seen[c.ID]; ok {
			out = append(out, failed)
		}
	}
	return out
}

// declare tells the hub what is awaited, and returns the identities.
func (c *Client) declare(waiter access.ID, w watched, lost *failures) []access.ID {
	var tracked, vanishing []access.ID
	named := slices.Clone(w.named)
	for _, info := range w.resources {
		id := refOf(info).ID
		_, labelled := objectOf(info).GetLabels()[c.label()]
		switch {
		case !w.goal.Gone && isJob(info) && vanishes(info):
			vanishing = append(vanishing, id)
		case labelled:
			tracked = append(tracked, id)
		default:
			named = append(named, id)
		}
	}
	named = append(named, vanishing...)
	c.Hub.Check(waiter, health.Checks{Named: named, Rules: w.rules, Vanishing: vanishing})
	c.Hub.Track(waiter, c.label(), tracked)
	c.Hub.Follow(waiter, vanishing, lost.note)
	c.mu.Lock()
	written := maps.Clone(c.written)
	c.mu.Unlock()
	for _, id := range tracked {
		c.expect(id, c.label(), written)
	}
	for _, id := range named {
		c.expect(id, "", written)
	}
	return slices.Concat(tracked, named)
}

func (c *Client) expect(id access.ID, label string, written map[access.ID]string) {
	if version := written[id]; version != "" {
		c.Hub.Expect(id, label, version)
	}
}

// watch waits until the goal is reached or ctx ends. What the process may not watch is read with the rights of the release.
func (c *Client) watch(ctx context.Context, interrupt context.CancelCauseFunc, waiter access.ID, goal health.Goal) (health.Report, bool) {
	for {
		if c.Interrupted != nil {
			if err := c.Interrupted(); err != nil {
				interrupt(err)
			}
		}
		if c.Hub.Blind(waiter) {
			if err := c.Hub.Poll(ctx, c.Client, waiter); err != nil {
				c.Log("failed to read what is waited for: %v", err)
			}
		}
		some, cancel := context.WithTimeout(ctx, glance)
		report, reached := c.Hub.Settle(some, waiter, goal)
		cancel()
		if reached || ctx.Err() != nil {
			return report, reached
		}
	}
}

// verdict makes an error of what a wait has come to.
func verdict(ctx context.Context, r health.Report, reached bool, goal health.Goal) error {
	switch {
	case goal.Gone && !reached:
		left := slices.DeleteFunc(slices.Concat(r.Current, r.InProgress, r.Failed, r.Unknown), func(c health.Condition) bool {
			return c.Status == status.NotFoundStatus
		})
		return &WaitError{Conditions: left, Err: context.Cause(ctx)}
	case goal.Gone:
		return nil
	case len(r.Failed) > 0:
		return &WaitError{Conditions: r.Failed, Failed: true}
	case !reached:
		return &WaitError{Conditions: slices.Concat(r.InProgress, r.Unknown), Err: context.Cause(ctx)}
	}
	return nil
}

func isJob(info *resource.Info) bool {
	gvk := info.Mapping.GroupVersionKind
	return gvk.Group == "batch" && gvk.Kind == "Job"
}

// isKnown tells the kinds of which Helm 3 knew whether they are ready.
func isKnown(info *resource.Info) bool {
	gvk := info.Mapping.GroupVersionKind
	switch gvk.Group {
	case "":
		return slices.Contains([]string{"Pod", "PersistentVolumeClaim", "Service", "ReplicationController"}, gvk.Kind)
	case "apps":
		return slices.Contains([]string{"Deployment", "DaemonSet", "StatefulSet", "ReplicaSet"}, gvk.Kind)
	case "batch":
		return gvk.Kind == "Job"
	case "apiextensions.k8s.io":
		return gvk.Kind == "CustomResourceDefinition"
	}
	return false
}

// isPaused tells Deployments that do not roll out because they were told not to.
func isPaused(info *resource.Info) bool {
	gvk := info.Mapping.GroupVersionKind
	if gvk.Group != "apps" || gvk.Kind != "Deployment" {
		return false
	}
	paused, _, _ := unstructured.NestedBool(objectOf(info).Object, "spec", "paused")
	return paused
}

// vanishes tells Jobs that are deleted by themselves when they are done.
func vanishes(info *resource.Info) bool {
	_, found, _ := unstructured.NestedFieldNoCopy(objectOf(info).Object, "spec", "ttlSecondsAfterFinished")
	return found
}
