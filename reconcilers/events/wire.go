package events

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/api/validate/content"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"

	"github.com/weir-dev/weir/reconcilers/engine"
)

// The longest reporting instance and name of an Event, in bytes.
const (
	maxInstance = 128
	maxName     = 253
)

// encode returns the body of an event in protobuf, which takes the API server less than JSON.
func encode(n engine.Notification, s *series, instance string, at time.Time) ([]byte, error) {
	instance = n.Controller + "-" + instance
	e := &eventsv1.Event{
		TypeMeta:            metav1.TypeMeta{APIVersion: "events.k8s.io/v1", Kind: "Event"},
		ObjectMeta:          metav1.ObjectMeta{Namespace: s.namespace, Name: s.name},
		EventTime:           metav1.NewMicroTime(at),
		ReportingController: n.Controller,
		ReportingInstance:   instance[:min(len(instance), maxInstance)],
		Type:                n.Event.Type,
		Reason:              n.Event.Reason,
		Action:              n.Event.Action,
		Note:                n.Event.Message,
		Regarding:           n.Object,
		Related:             n.Event.Related,
	}

	if s.count > 1 {
		e.Series = &eventsv1.EventSeries{Count: int32(min(s.count, 1<<30)), LastObservedTime: metav1.NewMicroTime(at)} //nolint:gosec // bounded
	}

	var b bytes.Buffer
	if err := protobuf.NewSerializer(nil, nil).Encode(e, &b); err != nil {
		return nil, fmt.Errorf("encode event: %w", err)
	}

	return b.Bytes(), nil
}

// patch returns the merge patch that tells how often an event came.
func patch(s *series) ([]byte, error) {
	b, err := json.Marshal(map[string]any{"series": eventsv1.EventSeries{
		Count: int32(min(s.count, 1<<30)), LastObservedTime: metav1.NewMicroTime(s.last), //nolint:gosec // bounded
	}})
	if err != nil {
		return nil, fmt.Errorf("encode series: %w", err)
	}

	return b, nil
}

// nameOf returns the name of an event about an object, as client-go makes it. The stamp is the time, and different for each
// event of a process. The names of a few kinds of objects are none that an event can have.
func nameOf(object string, stamp int64) string {
	suffix := "." + strconv.FormatInt(stamp, 16)
	if len(object)+len(suffix) > maxName || len(content.IsDNS1123Subdomain(object)) > 0 {
		return "event" + suffix
	}

	return object + suffix
}

// namespaceOf returns the namespace of events about an object: those about objects without one are in the default one.
func namespaceOf(object string) string {
	if object == "" {
		return metav1.NamespaceDefault
	}

	return object
}
