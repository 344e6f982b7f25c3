package platform

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
)

// How much of what a diagnosis shows.
const (
	diagnosisEvents = 40
	diagnosisLines  = 40
)

// Diagnose writes for people what keeps the cluster from being as it should: the conditions of what is not ready, warning
// events, and the end of the logs of the components and of pods that are not ready. What cannot be read is said and left out.
func (c *Client) Diagnose(ctx context.Context, w io.Writer) {
	clientset, err := kubernetes.NewForConfig(c.Config)
	if err != nil {
		fmt.Fprintf(w, "no diagnosis: %v\n", err)

		return
	}

	err = errors.Join(c.diagnoseObjects(ctx, w), diagnoseEvents(ctx, clientset, w), diagnosePods(ctx, clientset, w))
	if err != nil {
		fmt.Fprintf(w, "the diagnosis is incomplete: %v\n", err)
	}
}

func (c *Client) diagnoseObjects(ctx context.Context, w io.Writer) error {
	fmt.Fprintln(w, "== Objects that are not ready")

	var errs []error

	for _, kind := range []schema.GroupVersionKind{
		FluxInstance(), GitRepository(), Kustomization(), Deployment(), Core("Namespace"),
	} {
		list := &unstructured.UnstructuredList{}
		list.SetGroupVersionKind(kind)

		if err := c.List(ctx, list); err != nil {
			if !meta.IsNoMatchError(err) {
				errs = append(errs, err)
			}

			continue
		}

		for i := range list.Items {
			if o := &list.Items[i]; Current(o, "") != nil || kind.Group == fluxv1.GroupVersion.Group {
				describe(w, o)
			}
		}
	}

	return errors.Join(errs...)
}

// describe writes the conditions of the object.
func describe(w io.Writer, o *unstructured.Unstructured) {
	fmt.Fprintf(w, "%s generation %d, observed %d\n", Name(o), o.GetGeneration(), Number(o, "status", "observedGeneration"))

	if at := o.GetDeletionTimestamp(); at != nil {
		fmt.Fprintf(w, "  deleted at %s, finalizers %q\n", at.UTC().Format("15:04:05"), o.GetFinalizers())
	}

	conditions, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions") //nolint:errcheck // then there are none
	for _, each := range conditions {
		if f, ok := each.(map[string]any); ok {
			fmt.Fprintf(w, "  %s=%s %s: %s\n", text(f, "type"), text(f, "status"), text(f, "reason"), text(f, "message"))
		}
	}
}

func diagnoseEvents(ctx context.Context, clientset kubernetes.Interface, w io.Writer) error {
	fmt.Fprintln(w, "== Warnings")

	list, err := clientset.CoreV1().Events("").List(ctx, metav1.ListOptions{FieldSelector: "type=" + corev1.EventTypeWarning})
	if err != nil {
		return err
	}

	slices.SortStableFunc(list.Items, func(a, b corev1.Event) int { return eventTime(a).Compare(eventTime(b).Time) })

	for _, e := range list.Items[max(0, len(list.Items)-diagnosisEvents):] {
		fmt.Fprintf(w, "%s %s/%s/%s %s: %s\n", eventTime(e).UTC().Format("15:04:05"),
			e.InvolvedObject.Kind, e.InvolvedObject.Namespace, e.InvolvedObject.Name, e.Reason, e.Message)
	}

	return nil
}

func eventTime(e corev1.Event) metav1.Time {
	if e.LastTimestamp.IsZero() {
		return metav1.Time{Time: e.EventTime.Time}
	}

	return e.LastTimestamp
}

func diagnosePods(ctx context.Context, clientset kubernetes.Interface, w io.Writer) error {
	fmt.Fprintln(w, "== Pods")

	pods, err := clientset.CoreV1().Pods("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}

	for i := range pods.Items {
		p := &pods.Items[i]
		ready := podReady(p)
		fmt.Fprintf(w, "%s/%s %s ready=%t %s\n", p.Namespace, p.Name, p.Status.Phase, ready, waiting(p))

		if p.Namespace == Namespace || !ready {
			writeLog(ctx, clientset, w, p)
		}
	}

	return nil
}

func podReady(p *corev1.Pod) bool {
	return slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// waiting says why the containers of the pod do not run.
func waiting(p *corev1.Pod) string {
	var reasons []string

	for _, s := range p.Status.ContainerStatuses {
		if s.State.Waiting != nil {
			reasons = append(reasons, s.Name+": "+s.State.Waiting.Reason+": "+s.State.Waiting.Message)
		}

		if t := s.LastTerminationState.Terminated; t != nil {
			reasons = append(reasons, fmt.Sprintf("%s: ended with %d: %s", s.Name, t.ExitCode, t.Reason))
		}
	}

	return strings.Join(reasons, "; ")
}

func writeLog(ctx context.Context, clientset kubernetes.Interface, w io.Writer, p *corev1.Pod) {
	lines := int64(diagnosisLines)

	for _, previous := range []bool{true, false} {
		content, err := clientset.CoreV1().Pods(p.Namespace).
			GetLogs(p.Name, &corev1.PodLogOptions{TailLines: &lines, Previous: previous}).DoRaw(ctx)
		if err != nil && previous {
			continue // it has not ended before
		}

		if err != nil {
			fmt.Fprintf(w, "  no log: %v\n", err)

			continue
		}

		for line := range bytes.Lines(content) {
			fmt.Fprintf(w, "  | %s", line)
		}
	}
}

// Tail returns the end of a file, such as a log, for people.
func Tail(content []byte, lines int) string {
	all := strings.SplitAfter(strings.TrimRight(string(content), "\n"), "\n")

	return strings.Join(all[max(0, len(all)-lines):], "")
}
