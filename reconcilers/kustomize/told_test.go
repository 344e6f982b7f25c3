package kustomize_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/kustomize"
)

func (e *env) record(obj engine.Object, kind, controller string, event engine.Event) {
	if kind != kustomizev1.KustomizationKind || controller != kustomize.Controller {
		e.t.Errorf("event of %s %s", controller, kind)
	}

	e.mu.Lock()
	defer e.mu.Unlock()
	e.events = append(e.events, strings.TrimSpace(fmt.Sprintf("%s %s %s: %s", event.Type, event.Reason, event.Action, event.Message)))

	engine.Recorders{Sink: sink(func(n engine.Notification) { e.notices = append(e.notices, notice(n)) })}.Record(obj, kind, controller, event)
}

// sink is a function as the way to the notification controller.
type sink func(engine.Notification)

func (f sink) Send(n engine.Notification) { f(n) }

// notice writes down an event as the notification controller gets it.
func notice(n engine.Notification) string {
	e := n.Event
	lines := []string{fmt.Sprintf("%s %s %s %s: %s", e.Type, e.Severity, e.Reason, e.Action, e.Message)}

	for _, key := range slices.Sorted(maps.Keys(e.Metadata)) {
		lines = append(lines, "  "+key+"="+e.Metadata[key])
	}

	if r := e.Related; r != nil {
		lines = append(lines, fmt.Sprintf("  about %s %s/%s", r.Kind, r.Namespace, r.Name))
	}

	return strings.Join(lines, "\n")
}

// wantNotices compares the events since the last call with all that the notification controller gets.
func (e *env) wantNotices(want ...string) {
	e.t.Helper()

	e.mu.Lock()
	notices := e.notices
	e.notices = nil
	e.mu.Unlock()

	for i := range notices {
		lines := strings.Split(strings.ReplaceAll(notices[i], e.namespace, "NS"), "\n")
		for j := range lines {
			lines[j] = durations(lines[j])
		}

		notices[i] = strings.Join(lines, "\n")
	}

	if diff := cmp.Diff(want, notices); diff != "" {
		e.t.Errorf("events: -want, +got:\n%s", diff)
	}

	e.told()
}

// told returns the events since the last call, with the namespace as NS and durations as D.
func (e *env) told() []string {
	e.mu.Lock()
	defer e.mu.Unlock()

	events := e.events
	e.events, e.notices = nil, nil

	for i := range events {
		events[i] = durations(strings.ReplaceAll(events[i], e.namespace, "NS"))
	}

	return events
}

// durations writes D for what a run took.
func durations(text string) string {
	words := strings.Split(text, " ")
	for i := 1; i < len(words); i++ {
		word := strings.TrimRight(words[i], ",:")
		if _, err := time.ParseDuration(word); err != nil || slices.Contains([]string{"run", "retrying"}, words[max(i-2, 0)]) {
			continue
		}

		if words[i-1] == "in" || words[i-1] == "after" {
			words[i] = "D" + words[i][len(word):]
		}
	}

	return strings.Join(words, " ")
}

// wantEvents compares the events since the last call.
func (e *env) wantEvents(want ...string) {
	e.t.Helper()

	if diff := cmp.Diff(want, e.told()); diff != "" {
		e.t.Errorf("events: -want, +got:\n%s", diff)
	}
}

// says returns a condition as "Status Reason: message", with durations as D and the namespace as NS.
func says(obj *kustomizev1.Kustomization, typ string) string {
	c := engine.Condition(obj, typ)
	if c == nil {
		return ""
	}

	return durations(strings.ReplaceAll(fmt.Sprintf("%s %s: %s", c.Status, c.Reason, c.Message), obj.Namespace, "NS"))
}

func wantConditions(t *testing.T, obj *kustomizev1.Kustomization, want map[string]string) {
	t.Helper()

	got := map[string]string{}
	for _, typ := range []string{meta.ReadyCondition, meta.ReconcilingCondition, meta.StalledCondition, meta.HealthyCondition} {
		if text := says(obj, typ); text != "" {
			got[typ] = text
		}
	}

	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("conditions: -want, +got:\n%s", diff)
	}
}
