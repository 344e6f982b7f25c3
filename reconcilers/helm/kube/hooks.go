package kube

import (
	"context"
	"fmt"
	"io"
	"maps"
	"strings"
	"time"
	"unicode"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	helmkube "helm.sh/helm/v3/pkg/kube"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/cli-runtime/pkg/resource"

	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/health"
)

const (
	lastLines   = 10
	lastBytes   = 4 << 10
	mostLogs    = 5 // containers of one hook
	logPatience = 10 * time.Second

	outputLines = 1000
	outputBytes = 64 << 10
)

// HookLog is what a container of a failed hook has written last.
type HookLog struct {
	// Hook is the Job or Pod.
	Hook access.ID
	// Pod and Container that have written it.
	Pod, Container string
	// Lines without control characters, at most ten, at most 4 KiB together.
	Lines []string
}

// WatchUntilReady implements kube.Interface: it waits until Jobs and Pods have completed, and for nothing else. Its errors are of
// type *WaitError, if the wait has begun. Of what has failed, or not completed in time, HookLogs has the last lines.
func (c *Client) WatchUntilReady(resources helmkube.ResourceList, timeout time.Duration) error {
	resources = resources.Filter(func(info *resource.Info) bool { return isJob(info) || isPod(info) })
	err := c.settle(watched{resources: resources, rules: completion(c.Rules), goal: health.Goal{Patient: true}}, timeout)
	if err != nil && c.ctx.Err() == nil {
		for _, info := range resources {
			c.keepLogs(refOf(info).ID)
		}
	}
	return err
}

// HookLogs returns the last lines of hooks that have failed.
func (c *Client) HookLogs() []HookLog {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]HookLog(nil), c.logs...)
}

func isPod(info *resource.Info) bool {
	gvk := info.Mapping.GroupVersionKind
	return gvk.Group == "" && gvk.Kind == "Pod"
}

// completion returns the rules with one by which a Pod is current when it has succeeded, not when it is ready.
func completion(rules map[schema.GroupKind]health.Rule) map[schema.GroupKind]health.Rule {
	out := maps.Clone(rules)
	if out == nil {
		out = map[schema.GroupKind]health.Rule{}
	}
	out[schema.GroupKind{Kind: "Pod"}] = health.Rule{Key: "helm-hook-pod", Evaluate: completed}
	return out
}

func completed(pod map[string]any) (status.Status, string) {
	phase, _, _ := unstructured.NestedString(pod, "status", "phase")
	switch corev1.PodPhase(phase) {
	case corev1.PodSucceeded:
		return status.CurrentStatus, "Pod has completed"
	case corev1.PodFailed:
		reason, _, _ := unstructured.NestedString(pod, "status", "reason")
		return status.FailedStatus, strings.TrimSpace("Pod has failed " + reason)
	default:
		return status.InProgressStatus, "Pod is " + strings.ToLower(phase)
	}
}

// keepLogs notes the last lines of a hook. That there are none to be had is no failure of its own.
func (c *Client) keepLogs(hook access.ID) {
	ctx, cancel := context.WithTimeout(c.ctx, logPatience)
	defer cancel()
	q := access.Query{Namespace: hook.Namespace, Fields: "metadata.name=" + hook.Name}
	if hook.Kind == "Job" {
		q = access.Query{Namespace: hook.Namespace, Labels: "job-name=" + hook.Name}
	}
	pods, err := c.pods(ctx, q)
	if err != nil {
		c.Log("cannot read the pods of hook %s: %v", hook, err)
		return
	}
	pod := latest(pods.Items)
	if pod == nil {
		return
	}
	for i, container := range guilty(pod) {
		if i == mostLogs {
			return
		}
		raw, err := c.Client.Logs(ctx, pod.Namespace, pod.Name, container, lastLines, lastBytes)
		if err != nil {
			c.Log("cannot read what container %q of hook %s has written: %v", container, hook, err)
			continue
		}
		if lines := tail(raw); len(lines) > 0 {
			c.mu.Lock()
			c.logs = append(c.logs, HookLog{Hook: hook, Pod: pod.Name, Container: container, Lines: lines})
			c.mu.Unlock()
		}
	}
}

// latest returns the pod that was made last, or nil.
func latest(pods []corev1.Pod) *corev1.Pod {
	var out *corev1.Pod
	for i := range pods {
		if out == nil || out.CreationTimestamp.Before(&pods[i].CreationTimestamp) {
			out = &pods[i]
		}
	}
	return out
}

// guilty returns the containers that have failed, or all of them if none has.
func guilty(pod *corev1.Pod) []string {
	var all, failed []string
	for _, list := range [][]corev1.ContainerStatus{pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses} {
		for _, s := range list {
			all = append(all, s.Name)
			if hasFailed(s.State) || hasFailed(s.LastTerminationState) {
				failed = append(failed, s.Name)
			}
		}
	}
	if len(failed) > 0 {
		return failed
	}
	return all
}

func hasFailed(s corev1.ContainerState) bool {
	return s.Terminated != nil && s.Terminated.ExitCode != 0
}

// tail cuts lines, and takes out what would confuse who reads them.
func tail(raw []byte) []string {
	var out []string
	for line := range strings.SplitSeq(strings.ToValidUTF8(string(raw), "\uFFFD"), "\n") {
		line = strings.TrimRightFunc(strings.Map(func(r rune) rune {
			if r != '\t' && !unicode.IsPrint(r) {
				return -1
			}
			return r
		}, line), unicode.IsSpace)
		if line != "" {
			out = append(out, line)
		}
	}
	return out[max(0, len(out)-lastLines):]
}

// GetPodList implements kube.InterfaceLogs.
func (c *Client) GetPodList(namespace string, o metav1.ListOptions) (*corev1.PodList, error) {
	return c.pods(c.ctx, access.Query{Namespace: namespace, Labels: o.LabelSelector, Fields: o.FieldSelector})
}

// OutputContainerLogsForPodList implements kube.InterfaceLogs, with the last lines of each container.
func (c *Client) OutputContainerLogsForPodList(pods *corev1.PodList, namespace string, writer func(namespace, pod, container string) io.Writer) error {
	for _, pod := range pods.Items {
		for _, container := range pod.Spec.Containers {
			raw, err := c.Client.Logs(c.ctx, namespace, pod.Name, container.Name, outputLines, outputBytes)
			if err != nil {
				return fmt.Errorf("read what container %q of pod %q has written: %w", container.Name, pod.Name, err)
			}
			if writer == nil {
				continue
			}
			if _, err := writer(namespace, pod.Name, container.Name).Write(raw); err != nil {
				return fmt.Errorf("write down the log of pod %q: %w", pod.Name, err)
			}
		}
	}
	return nil
}

func (c *Client) pods(ctx context.Context, q access.Query) (*corev1.PodList, error) {
	objects, err := c.Client.List(ctx, schema.GroupKind{Kind: "Pod"}, q)
	if err != nil {
		return nil, fmt.Errorf("list pods: %w", err)
	}
	list := &corev1.PodList{}
	for _, obj := range objects {
		var pod corev1.Pod
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(obj.Object, &pod); err != nil {
			return nil, fmt.Errorf("decode pod %q: %w", obj.GetName(), err)
		}
		list.Items = append(list.Items, pod)
	}
	return list, nil
}
