package instance

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/health"
)

const (
	// crashes is how often a container may end before it is past hope. One that comes up before what it needs ends once or twice.
	crashes = 3

	// pullPatience is how long a registry, or a Secret, may keep a container from starting.
	pullPatience = time.Minute
)

// diagnosis is what the pods of Deployments say that are not healthy.
type diagnosis struct {
	fatal string // why there is no hope; empty if there is some
	hint  string // what may be the cause otherwise
}

// trouble is what keeps a pod from being ready.
type trouble struct {
	text  string // without anything that changes as long as the trouble lasts
	fatal bool
}

// diagnose looks at the pods of the Deployments that are not healthy. It is a help: what cannot be read is left out.
func (r *reconciler) diagnose(ctx context.Context, s *scope, report health.Report) diagnosis {
	var d diagnosis
	for _, c := range slices.Concat(report.Failed, report.InProgress) {
		if !isDeployment(access.Ref{ID: c.ID}) {
			continue
		}
		live, err := s.deployment(ctx, c.ID)
		if err != nil {
			continue
		}
		if why := denied(live); why != "" {
			d.hint = cmp.Or(d.hint, c.ID.String()+": "+why)
		}
		pods, err := s.podsOf(ctx, live)
		if err != nil {
			continue
		}
		for i := range pods {
			t, ok := examine(&pods[i], r.Now())
			text := c.ID.String() + ": " + t.text
			switch {
			case !ok:
			case t.fatal:
				d.fatal = cmp.Or(d.fatal, text)
			default:
				d.hint = cmp.Or(d.hint, text)
			}
		}
	}
	return d
}

// deployment reads a Deployment.
func (p Place) deployment(ctx context.Context, id access.ID) (*appsv1.Deployment, error) {
	live, err := p.Client.Read(ctx, access.Ref{ID: id}, true)
	if err != nil {
		return nil, fmt.Errorf("get %q: %w", id, err)
	}
	d := &appsv1.Deployment{}
	if err := json.Unmarshal(live.Raw, d); err != nil {
		return nil, fmt.Errorf("decode %q: %w", id, err)
	}
	return d, nil
}

// denied says why the pods of a Deployment cannot be made, if that is so: a quota or a webhook denies them, and then there is no pod
// that could tell.
func denied(d *appsv1.Deployment) string {
	for _, c := range d.Status.Conditions {
		if c.Type == appsv1.DeploymentReplicaFailure && c.Status == corev1.ConditionTrue {
			return "its pods cannot be made: " + c.Message
		}
	}
	return ""
}

// podsOf returns the pods of the latest revision of a Deployment, by name. There are none as long as its controller has not seen that
// revision.
func (p Place) podsOf(ctx context.Context, d *appsv1.Deployment) ([]corev1.Pod, error) {
	selector, err := metav1.LabelSelectorAsSelector(d.Spec.Selector)
	if err != nil || d.Status.ObservedGeneration < d.Generation {
		return nil, err
	}
	q := access.Query{Namespace: d.Namespace, Labels: selector.String()}
	hash, err := p.hashOf(ctx, d, q)
	if err != nil || hash == "" {
		return nil, err
	}
	q.Labels, q.Full = q.Labels+","+appsv1.DefaultDeploymentUniqueLabelKey+"="+hash, true
	var pods []corev1.Pod
	_, err = p.Client.Each(ctx, schema.GroupKind{Kind: "Pod"}, q, func(i access.Item) error {
		pod := corev1.Pod{}
		if err := json.Unmarshal(i.Raw, &pod); err != nil {
			return fmt.Errorf("decode a pod of Deployment %q: %w", d.Name, err)
		}
		pods = append(pods, pod)
		return nil
	})
	slices.SortFunc(pods, func(a, b corev1.Pod) int { return strings.Compare(a.Name, b.Name) })
	return pods, err
}

// revisionAnnotation counts the revisions of a Deployment, on itself and on its ReplicaSets.
const revisionAnnotation = "deployment.kubernetes.io/revision"

// hashOf returns the label by which the pods of the latest revision of a Deployment are known.
func (p Place) hashOf(ctx context.Context, d *appsv1.Deployment, q access.Query) (hash string, err error) {
	_, err = p.Client.Each(ctx, schema.GroupKind{Group: appsv1.GroupName, Kind: "ReplicaSet"}, q, func(i access.Item) error {
		if metav1.IsControlledBy(i.Meta, d) && i.Meta.Annotations[revisionAnnotation] == d.Annotations[revisionAnnotation] {
			hash = i.Meta.Labels[appsv1.DefaultDeploymentUniqueLabelKey]
		}
		return nil
	})
	return hash, err
}

// examine says what keeps a pod from being ready, if anything does.
func examine(pod *corev1.Pod, now time.Time) (trouble, bool) {
	if pod.DeletionTimestamp != nil || isReady(pod) {
		return trouble{}, false
	}
	waits := now.Sub(pod.CreationTimestamp.Time) >= pullPatience
	for _, c := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		if t, ok := examineContainer(&c, waits); ok {
			t.text = fmt.Sprintf("pod %q: container %q %s", pod.Name, c.Name, t.text)
			return t, true
		}
	}
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			return trouble{text: fmt.Sprintf("pod %q is not scheduled: %s", pod.Name, c.Message)}, true
		}
	}
	return trouble{}, false
}

// examineContainer says what keeps a container from running. Its own words are left out: they may be its log.
func examineContainer(c *corev1.ContainerStatus, waits bool) (trouble, bool) {
	if w := c.State.Waiting; w != nil {
		switch w.Reason {
		case "InvalidImageName", "ErrImageNeverPull":
			return trouble{text: fmt.Sprintf("does not start: %s: image %q", w.Reason, c.Image), fatal: true}, true
		case "ErrImagePull", "ImagePullBackOff", "RegistryUnavailable", "ImageInspectError":
			return trouble{text: fmt.Sprintf("does not start: image %q cannot be pulled", c.Image), fatal: waits}, true
		case "CreateContainerConfigError", "CreateContainerError", "RunContainerError":
			return trouble{text: "does not start: " + w.Reason, fatal: waits}, true
		}
	}
	end := cmp.Or(c.State.Terminated, c.LastTerminationState.Terminated)
	if end == nil || end.ExitCode == 0 && c.RestartCount == 0 {
		return trouble{}, false
	}
	text := fmt.Sprintf("keeps ending, last with exit code %d", end.ExitCode)
	if end.Reason != "" {
		text += " (" + end.Reason + ")"
	}
	return trouble{text: text, fatal: c.RestartCount >= crashes}, true
}

func isReady(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// crashed says which container of a Deployment's pods ended in failure since a time, if one did.
func (p Place) crashed(ctx context.Context, id access.ID, since time.Time) (string, error) {
	d, err := p.deployment(ctx, id)
	if err != nil {
		return "", err
	}
	pods, err := p.podsOf(ctx, d)
	if err != nil {
		return "", err
	}
	for i := range pods {
		for _, c := range pods[i].Status.ContainerStatuses {
			end := cmp.Or(c.State.Terminated, c.LastTerminationState.Terminated)
			if end != nil && end.ExitCode != 0 && end.FinishedAt.After(since) {
				return fmt.Sprintf("%s: pod %q: container %q ended with exit code %d (%s)",
					id, pods[i].Name, c.Name, end.ExitCode, cmp.Or(end.Reason, "Error")), nil
			}
		}
	}
	return "", nil
}

// isOurs tells whether the health of an object is up to the release. That of what it synchronizes is up to the contents of a
// repository.
func isOurs(c health.Condition) bool { return !isSync(access.Ref{ID: c.ID}) }
