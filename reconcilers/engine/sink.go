package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
)

const (
	sinkQueue    = 4096             // events that may wait; further ones are dropped
	sinkTimeout  = 5 * time.Second  // of one attempt
	sinkAttempts = 4                // of one event
	sinkBackOff  = 1 * time.Second  // before the second attempt; doubles
	sinkQuiet    = 30 * time.Second // after a server was not reached, events are dropped at once for so long
)

// Sink sends events to the notification controller, one after the other and without ever holding up a reconcile: what does
// not fit into its queue is dropped. An address that does not answer is left alone for a while; an event that it refuses is
// dropped alone.
type Sink struct {
	address  string
	instance string
	client   *http.Client
	queue    chan queued
	backOff  time.Duration
	now      func() time.Time
	quiet    time.Time // until then, nothing is sent
}

// queued is a notification and when it was made.
type queued struct {
	Notification
	at time.Time
}

// NewSink returns a sink for the events endpoint at the address. The instance is the name of this process, such as that of
// its pod.
func NewSink(address, instance string) *Sink {
	return &Sink{
		address: address, instance: instance,
		client:  &http.Client{Timeout: sinkTimeout},
		queue:   make(chan queued, sinkQueue),
		backOff: sinkBackOff,
		now:     time.Now,
	}
}

// Send queues an event.
func (s *Sink) Send(n Notification) {
	select {
	case s.queue <- queued{n, s.now()}:
	default:
	}
}

// NeedLeaderElection implements manager.LeaderElectionRunnable: every process sends its own events.
func (s *Sink) NeedLeaderElection() bool { return false }

// Start sends until the context ends.
func (s *Sink) Start(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case n := <-s.queue:
			s.deliver(ctx, n)
		}
	}
}

func (s *Sink) deliver(ctx context.Context, n queued) {
	if s.now().Before(s.quiet) {
		return
	}

	body, err := json.Marshal(s.payload(n))
	if err != nil {
		return
	}

	log := logf.FromContext(ctx).WithName("events").WithValues("address", s.address)
	delay := s.backOff

	for attempt := 1; ; attempt++ {
		again, err := s.post(ctx, body)
		if err == nil || ctx.Err() != nil {
			return
		}

		if !again {
			log.Info("Event was refused", "error", err.Error(), "reason", n.Event.Reason)

			return
		}

		if attempt == sinkAttempts {
			s.quiet = s.now().Add(sinkQuiet)
			log.Info("Events are not taken, dropping them for a while", "error", err.Error(), "for", sinkQuiet.String())

			return
		}

		select {
		case <-ctx.Done():
			return
		case <-time.After(delay):
		}

		delay *= 2
	}
}

// post makes one attempt. It tells whether another may succeed. That the server has seen too many like it (429) is no
// failure: the event is a duplicate.
func (s *Sink) post(ctx context.Context, body []byte) (again bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.address, bytes.NewReader(body))
	if err != nil {
		return false, fmt.Errorf("make request: %w", err)
	}

	req.Header.Set("Content-Type", "application/json")

	resp, err := s.client.Do(req)
	if err != nil {
		return true, fmt.Errorf("post event: %w", err)
	}
	defer resp.Body.Close()

	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) // so that the connection is used again

	switch {
	case resp.StatusCode < 300, resp.StatusCode == http.StatusTooManyRequests:
		return false, nil
	default:
		return resp.StatusCode >= 500, fmt.Errorf("post event: %s", resp.Status)
	}
}

// wireEvent is the v1beta1 event of notification.toolkit.fluxcd.io.
type wireEvent struct {
	InvolvedObject      corev1.ObjectReference `json:"involvedObject"`
	Severity            string                 `json:"severity"`
	Timestamp           string                 `json:"timestamp"`
	Message             string                 `json:"message"`
	Reason              string                 `json:"reason"`
	Metadata            map[string]string      `json:"metadata,omitempty"`
	ReportingController string                 `json:"reportingController"`
	ReportingInstance   string                 `json:"reportingInstance,omitempty"`
}

func (s *Sink) payload(n queued) wireEvent {
	return wireEvent{
		InvolvedObject: n.Object, Severity: n.Event.Severity, Timestamp: n.at.UTC().Format(time.RFC3339),
		Message: strings.TrimSpace(n.Event.Message), Reason: n.Event.Reason, Metadata: n.Event.Metadata,
		ReportingController: n.Controller, ReportingInstance: s.instance,
	}
}
