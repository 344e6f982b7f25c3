package engine

import (
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/weir-dev/weir/api/meta"
)

// Recorder takes events. It has to return at once.
type Recorder interface {
	// Record takes one event about the object, reported by the controller.
	Record(obj Object, kind, controller string, e Event)
}

// RecorderFunc is a function as a Recorder.
type RecorderFunc func(obj Object, kind, controller string, e Event)

// Record implements Recorder.
func (f RecorderFunc) Record(obj Object, kind, controller string, e Event) {
	f(obj, kind, controller, e)
}

// The longest note and reason of an events.k8s.io/v1 Event, in bytes.
const (
	maxNote        = 1024
	maxEventReason = 128
)

// Recorders records every event in the cluster, and those above trace severity at the notification controller too.
type Recorders struct {
	// Cluster takes the events for the Kubernetes API, with messages that it takes. Nil records none there.
	Cluster interface{ Send(Notification) }

	// Sink takes the events for the notification controller. Nil sends none.
	Sink interface{ Send(Notification) }
}

// Notification is an event on its way to those who are told of it.
type Notification struct {
	Object     corev1.ObjectReference
	Event      Event
	Controller string
}

// Record implements Recorder.
func (r Recorders) Record(obj Object, kind, controller string, e Event) {
	e = complete(obj, e)
	ref := reference(obj, kind)

	if r.Cluster != nil {
		noted := e
		noted.Message = truncate(strings.ToValidUTF8(e.Message, "\uFFFD"), maxNote)
		r.Cluster.Send(Notification{Object: ref, Event: noted, Controller: controller})
	}

	if r.Sink != nil && (e.Severity != meta.EventSeverityTrace || e.Type == corev1.EventTypeWarning) {
		r.Sink.Send(Notification{Object: ref, Event: e, Controller: controller})
	}
}

// complete fills in the defaults of an event, and adds the metadata that the annotations of the object ask for.
func complete(obj Object, e Event) Event {
	if e.Type == "" {
		e.Type = corev1.EventTypeNormal
	}

	if e.Severity == "" {
		e.Severity = meta.EventSeverityInfo
		if e.Type == corev1.EventTypeWarning {
			e.Severity = meta.EventSeverityError
		}
	}

	e.Reason = mendReason(e.Reason)
	e.Reason = e.Reason[:min(len(e.Reason), maxEventReason)]

	if e.Action == "" {
		e.Action = "Reconcile"
	}

	metadata := map[string]string{}
	for k, v := range obj.GetAnnotations() {
		if strings.HasPrefix(k, meta.EventAnnotationPrefix) {
			metadata[k] = v
		}
	}

	group := obj.GetObjectKind().GroupVersionKind().Group
	for k, v := range e.Metadata {
		if !strings.Contains(k, "/") && group != "" {
			k = group + "/" + k
		}

		metadata[k] = v
	}

	e.Metadata = metadata

	return e
}

func reference(obj Object, kind string) corev1.ObjectReference {
	return corev1.ObjectReference{
		APIVersion: obj.GetObjectKind().GroupVersionKind().GroupVersion().String(), Kind: kind,
		Namespace: obj.GetNamespace(), Name: obj.GetName(), UID: obj.GetUID(), ResourceVersion: obj.GetResourceVersion(),
	}
}
