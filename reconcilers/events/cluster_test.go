package events_test

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	clientevents "k8s.io/client-go/tools/events"

	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/events"
	"github.com/weir-dev/weir/test/cluster"
)

var shared cluster.Shared

func TestMain(m *testing.M) { os.Exit(shared.Main(m)) }

// newRecorder returns a started recorder that writes to the cluster, what tells what it dropped, and a new namespace.
func newRecorder(t *testing.T, client *kubernetes.Clientset, instance string) (*events.Recorder, *bench, string) {
	t.Helper()

	namespace, err := client.CoreV1().Namespaces().Create(t.Context(),
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "events-"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}

	factory, err := access.New(shared.Start(t).Config(), access.Options{})
	if err != nil {
		t.Fatal(err)
	}

	b := &bench{metrics: prometheus.NewRegistry()}

	r, err := events.New(factory.Own(), events.Options{Instance: instance, Log: b.log(), Metrics: b.metrics})
	if err != nil {
		t.Fatal(err)
	}

	r.Start(context.WithoutCancel(t.Context()))

	return r, b, namespace.Name
}

func newClient(t *testing.T) *kubernetes.Clientset {
	t.Helper()

	client, err := kubernetes.NewForConfig(shared.Start(t).Config())
	if err != nil {
		t.Fatal(err)
	}

	return client
}

// told returns the events in a namespace by their reasons.
func told(t *testing.T, client *kubernetes.Clientset, namespace string) map[string]eventsv1.Event {
	t.Helper()

	list, err := client.EventsV1().Events(namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}

	got := map[string]eventsv1.Event{}
	for _, e := range list.Items {
		if _, twice := got[e.Reason]; twice {
			t.Errorf("two events with reason %s", e.Reason)
		}

		got[e.Reason] = e
	}

	return got
}

// TestAsClientGo holds that what the API server has is what the recorder of client-go would have written.
func TestAsClientGo(t *testing.T) {
	client := newClient(t)

	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}

	ours, b, namespace := newRecorder(t, client, host)

	broadcaster := clientevents.NewBroadcaster(&clientevents.EventSinkImpl{Interface: client.EventsV1()})
	if err := broadcaster.StartRecordingToSinkWithContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broadcaster.Shutdown)

	theirs := broadcaster.NewRecorder(scheme.Scheme, "kustomize-controller")
	in := func(n *engine.Notification) { n.Object.Namespace = namespace }
	sent := map[string]engine.Notification{
		"Normal":  notification(in),
		"Warning": notification(in, warning, saying("it is \"full\"\n\tof ümläute")),
		"Related": notification(in, func(n *engine.Notification) {
			n.Event.Related = &corev1.ObjectReference{
				APIVersion: "source.toolkit.fluxcd.io/v1", Kind: "GitRepository", Namespace: namespace, Name: "source",
			}
		}),
		"Long": notification(in, saying(strings.Repeat("x", 1024))),
	}

	for name, n := range sent {
		n.Event.Reason = name
		ours.Send(n)

		if n.Event.Reason = "C" + name; n.Event.Related == nil {
			theirs.Eventf(&n.Object, nil, n.Event.Type, n.Event.Reason, n.Event.Action, "%s", n.Event.Message)
		} else {
			theirs.Eventf(&n.Object, n.Event.Related, n.Event.Type, n.Event.Reason, n.Event.Action, "%s", n.Event.Message)
		}
	}

	ours.Close(t.Context())

	watch, err := client.EventsV1().Events(namespace).Watch(t.Context(), metav1.ListOptions{ResourceVersion: "0"})
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Stop()

	for range 2 * len(sent) { // client-go does not say when it is done
		<-watch.ResultChan()
	}

	got := told(t, client, namespace)
	for name := range sent {
		own, other := got[name], got["C"+name]
		if own.EventTime.IsZero() || !strings.HasPrefix(own.Name, "podinfo.") {
			t.Errorf("event %s is called %q, and of %s", name, own.Name, own.EventTime)
		}

		if diff := cmp.Diff(other, own,
			cmpopts.IgnoreFields(eventsv1.Event{}, "Reason", "EventTime"),
			cmpopts.IgnoreFields(metav1.ObjectMeta{}, "Name", "UID", "ResourceVersion", "CreationTimestamp", "ManagedFields"),
		); diff != "" {
			t.Errorf("event %s: -client-go, +ours:\n%s", name, diff)
		}
	}

	if diff := cmp.Diff(map[string]int{}, b.dropped(t)); diff != "" {
		t.Errorf("dropped: %s, log %q", diff, b.logged())
	}
}

// TestSeriesInCluster holds that the API server takes the count of an event.
func TestSeriesInCluster(t *testing.T) {
	client := newClient(t)
	r, b, namespace := newRecorder(t, client, "pod-1")
	n := notification(func(n *engine.Notification) { n.Object.Namespace = namespace })

	for range 3 {
		r.Send(n)
	}

	r.Close(t.Context())

	got := told(t, client, namespace)["Progressing"]
	if got.Series == nil || got.Series.Count != 3 || got.Series.LastObservedTime.IsZero() || got.Note != n.Event.Message {
		t.Errorf("got %+v", got)
	}

	if diff := cmp.Diff(map[string]int{}, b.dropped(t)); diff != "" {
		t.Errorf("dropped: %s, log %q", diff, b.logged())
	}
}

// TestNamespaceGone holds that events about what is deleted together with its namespace are nobody's concern.
func TestNamespaceGone(t *testing.T) {
	client := newClient(t)
	r, b, namespace := newRecorder(t, client, "pod-1")

	if err := client.CoreV1().Namespaces().Delete(t.Context(), namespace, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}

	r.Send(notification(func(n *engine.Notification) { n.Object.Namespace = namespace }))
	r.Send(notification(func(n *engine.Notification) { n.Object.Namespace = "never-was" }))
	r.Close(t.Context())

	if got := b.dropped(t); len(got) != 0 || len(b.logged()) != 0 {
		t.Errorf("dropped %v, log %q", got, b.logged())
	}
}
