package events

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/weir-dev/weir/reconcilers/engine"
)

// TestMemoryIsBounded holds that what is remembered does not grow with what was told.
func TestMemoryIsBounded(t *testing.T) {
	r, err := New(discard{}, Options{})
	if err != nil {
		t.Fatal(err)
	}

	r.Start(context.Background())

	for i := range 5 * mostSeries {
		r.Send(engine.Notification{Event: engine.Event{Message: fmt.Sprint(i)}})

		r.mu.Lock()
		if n := len(r.memory.now) + len(r.memory.before); n > 2*mostSeries || r.queue.len() > mostQueued || r.late.Len() > n {
			t.Fatalf("after %d events: %d remembered, %d queued, %d late", i, n, r.queue.len(), r.late.Len())
		}
		r.mu.Unlock()
	}

	r.Close(t.Context())

	if r.queue.len() != 0 || r.late.Len() != 0 {
		t.Errorf("at the end: %d queued, %d late", r.queue.len(), r.late.Len())
	}
}

// discard takes all events.
type discard struct{}

func (discard) CreateEvent(context.Context, string, []byte) error        { return nil }
func (discard) PatchEvent(context.Context, string, string, []byte) error { return nil }

func TestMemory(t *testing.T) {
	start := time.Unix(1e9, 0)
	m := memory{most: 2, age: time.Minute, now: map[fingerprint]*series{}}

	for i, step := range []struct {
		reason string
		at     time.Duration
		key    byte
		known  bool
	}{
		{"nothing is known", 0, 1, false},
		{"it was put", 0, 1, true},
		{"another one", 0, 2, false},
		{"the half is full: it turns", 0, 3, false},
		{"the older half is looked at", 0, 1, true},
		{"and forgotten when it turns again", 0, 4, false},
		{"so that this one is gone", 0, 2, false},
		{"what was looked at has been kept", 0, 1, true},
		{"and is after an age", time.Minute, 1, true},
		{"which makes another age", 2 * time.Minute, 1, true},
		{"but two ages are too long", 4 * time.Minute, 1, false},
	} {
		key, at := fingerprint{step.key}, start.Add(step.at)

		s := m.find(key, at)
		if (s != nil) != step.known {
			t.Errorf("step %d: %s: known %t", i, step.reason, s != nil)
		}

		if s == nil {
			m.put(&series{key: key}, at)
		}
	}

	m.forget(&series{key: fingerprint{1}})

	if m.find(fingerprint{1}, start.Add(4*time.Minute)) == nil {
		t.Error("a series was forgotten in place of another one")
	}
}

// TestFingerprint holds that no text passes for a part of the next one.
func TestFingerprint(t *testing.T) {
	seen := map[fingerprint]engine.Notification{}

	for _, n := range []engine.Notification{
		{Event: engine.Event{Reason: "ab", Action: "c"}},
		{Event: engine.Event{Reason: "a", Action: "bc"}},
		{Event: engine.Event{Reason: "abc"}},
		{Event: engine.Event{Action: "abc"}},
		{Controller: "abc"},
		{Object: corev1.ObjectReference{Name: "abc"}},
		{Object: corev1.ObjectReference{Namespace: "abc"}},
		{Event: engine.Event{Related: &corev1.ObjectReference{Name: "abc"}}},
		{Event: engine.Event{Related: &corev1.ObjectReference{}}},
		{},
	} {
		key := fingerprintOf(n)
		if other, ok := seen[key]; ok {
			t.Errorf("%+v passes for %+v", n, other)
		}

		seen[key] = n
	}
}

func TestNames(t *testing.T) {
	got := map[string]string{}
	for _, name := range []string{"podinfo", "system:node", "A", "", strings.Repeat("a", 253), "a.b-c"} {
		got[name] = nameOf(name, 0x1f)
	}

	want := map[string]string{
		"podinfo": "podinfo.1f", "system:node": "event.1f", "A": "event.1f", "": "event.1f", strings.Repeat("a", 253): "event.1f", "a.b-c": "a.b-c.1f",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("names: -want, +got:\n%s", diff)
	}
}

// BenchmarkSend tells what an event costs the one who tells it.
func BenchmarkSend(b *testing.B) {
	r, err := New(discard{}, Options{})
	if err != nil {
		b.Fatal(err)
	}

	r.Start(b.Context())
	b.ReportAllocs()

	n := engine.Notification{
		Object: corev1.ObjectReference{
			APIVersion: "kustomize.toolkit.fluxcd.io/v1", Kind: "Kustomization", Namespace: "apps", Name: "podinfo", UID: "u-1", ResourceVersion: "7",
		},
		Event:      engine.Event{Type: "Normal", Reason: "Progressing", Action: "Apply"},
		Controller: "kustomize-controller",
	}

	for i := 0; b.Loop(); i++ {
		n.Event.Message = fmt.Sprint("ConfigMap/apps/podinfo configured ", i)
		r.Send(n)
	}
}
