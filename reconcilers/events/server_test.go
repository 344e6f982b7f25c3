package events_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"

	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/events"
)

// request is what came over the wire, and when.
type request struct {
	At     time.Duration
	Method string
	Path   string
	Note   string // of a created event
	Count  int32  // of a created or patched series
}

// wire answers requests in place of an API server, and notes them.
type wire struct {
	t      *testing.T
	start  time.Time
	answer func(n int, req *http.Request) (*metav1.Status, error) // to the nth request, from 0; nil: all are taken

	mu  sync.Mutex
	got []request
}

func (w *wire) RoundTrip(req *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}

	got := request{At: time.Since(w.start), Method: req.Method, Path: req.URL.Path}
	w.decode(&got, req.Header.Get("Content-Type"), body)

	w.mu.Lock()
	n := len(w.got)
	w.got = append(w.got, got)
	w.mu.Unlock()

	status, text := &metav1.Status{Status: metav1.StatusSuccess, Code: http.StatusCreated}, []byte(`{}`)
	if w.answer != nil {
		if status, err = w.answer(n, req); err != nil {
			return nil, err
		}
	}

	if status.Status == metav1.StatusFailure {
		status.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}
		if text, err = json.Marshal(status); err != nil {
			return nil, err
		}
	}

	return &http.Response{
		StatusCode: int(status.Code), Request: req, Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(bytes.NewReader(text)),
	}, nil
}

// decode reads an event or a patch as an API server does.
func (w *wire) decode(got *request, contentType string, body []byte) {
	event := &eventsv1.Event{}

	switch contentType {
	case "application/vnd.kubernetes.protobuf":
		scheme := runtime.NewScheme()
		if err := eventsv1.AddToScheme(scheme); err != nil {
			w.t.Error(err)
		}

		if _, _, err := serializer.NewCodecFactory(scheme).UniversalDeserializer().Decode(body, nil, event); err != nil {
			w.t.Errorf("body %q: %v", body, err)
		}
	default:
		if err := json.Unmarshal(body, event); err != nil {
			w.t.Errorf("body %q: %v", body, err)
		}
	}

	got.Note = event.Note
	if event.Series != nil {
		got.Count = event.Series.Count
	}

	if event.Name != "" {
		got.Path += "/" + event.Name
	}
}

// take returns the requests since the last call, with the events called by what their names have in common.
func (w *wire) take() []request {
	w.mu.Lock()
	defer w.mu.Unlock()

	got := w.got
	w.got = nil

	for i := range got {
		got[i].Path = strings.TrimPrefix(got[i].Path, "/apis/events.k8s.io/v1/namespaces/")
		if dot := strings.LastIndex(got[i].Path, "."); dot >= 0 {
			got[i].Path = got[i].Path[:dot]
		}
	}

	return got
}

// bench is a recorder that writes to a wire.
type bench struct {
	*events.Recorder
	wire    *wire
	metrics *prometheus.Registry

	mu   sync.Mutex
	logs []string
}

func newBench(t *testing.T, answer func(n int, req *http.Request) (*metav1.Status, error)) *bench {
	t.Helper()

	b := &bench{wire: &wire{t: t, start: time.Now(), answer: answer}, metrics: prometheus.NewRegistry()}

	factory, err := access.New(&rest.Config{Host: "http://api.test"}, access.Options{
		Transport: func(http.RoundTripper) http.RoundTripper { return b.wire },
	})
	if err != nil {
		t.Fatal(err)
	}

	if b.Recorder, err = events.New(factory.Own(), events.Options{Instance: "pod-1", Log: b.log(), Metrics: b.metrics}); err != nil {
		t.Fatal(err)
	}

	return b
}

func (b *bench) log() logr.Logger {
	return funcr.New(func(_, args string) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.logs = append(b.logs, args)
	}, funcr.Options{})
}

func (b *bench) logged() []string {
	b.mu.Lock()
	defer b.mu.Unlock()

	return slices.Clone(b.logs)
}

// dropped returns how many events were dropped for each reason.
func (b *bench) dropped(t *testing.T) map[string]int {
	t.Helper()

	families, err := b.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}

	got := map[string]int{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			got[m.GetLabel()[0].GetValue()] = int(m.GetCounter().GetValue())
		}
	}

	return got
}

// notification is an event about an object that is called by a name.
func notification(change ...func(*engine.Notification)) engine.Notification {
	n := engine.Notification{
		Object: corev1.ObjectReference{
			APIVersion: "kustomize.toolkit.fluxcd.io/v1", Kind: "Kustomization", Namespace: "apps", Name: "podinfo", UID: "u-1", ResourceVersion: "7",
		},
		Event:      engine.Event{Type: "Normal", Reason: "Progressing", Action: "Apply", Message: "ConfigMap/apps/podinfo configured"},
		Controller: "kustomize-controller",
	}
	for _, c := range change {
		c(&n)
	}

	return n
}

func saying(message string) func(*engine.Notification) {
	return func(n *engine.Notification) { n.Event.Message = message }
}

func warning(n *engine.Notification) { n.Event.Type = "Warning" }

// status is an answer of the API server.
func status(code int32, reason metav1.StatusReason, causes ...metav1.StatusCause) func() (*metav1.Status, error) {
	return func() (*metav1.Status, error) {
		s := &metav1.Status{Status: metav1.StatusFailure, Code: code, Reason: reason, Message: "no"}
		if len(causes) > 0 {
			s.Details = &metav1.StatusDetails{Causes: causes}
		}

		return s, nil
	}
}

func taken() (*metav1.Status, error) {
	return &metav1.Status{Status: metav1.StatusSuccess, Code: http.StatusCreated}, nil
}

func unreachable() (*metav1.Status, error) { return nil, errors.New("connection refused") }
