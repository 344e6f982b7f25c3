package events

import (
	"container/list"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"

	"github.com/weir-dev/weir/reconcilers/engine"
)

// Writer writes events to the Kubernetes API. The clients of package access do. Errors of the API server are returned as they are.
type Writer interface {
	// CreateEvent creates an event of events.k8s.io/v1 in protobuf.
	CreateEvent(ctx context.Context, namespace string, body []byte) error

	// PatchEvent changes one with a merge patch.
	PatchEvent(ctx context.Context, namespace, name string, patch []byte) error
}

// Options of a Recorder. The zero value is usable.
type Options struct {
	// Instance names the process in events, such as its pod.
	Instance string

	// Log is told what is dropped.
	Log logr.Logger

	// Metrics is where weir_events_dropped_total{reason} is registered. The reasons are full, refused, failed and shutdown. Nil
	// registers nothing.
	Metrics prometheus.Registerer
}

const (
	workers       = 16                     // as many as other requests there are when a fleet rolls, so that events keep up
	mostQueued    = 8192                   // events that may wait, of about 1 KiB each
	mostSeries    = 4096                   // that each half of the memory has
	memoryAge     = 6 * time.Minute        // of a half: an event is remembered for as long at least, and for twice as long at most
	seriesPause   = 10 * time.Second       // in which what comes again is only counted
	mostAttempts  = 3                      // to write an event that is not taken while others may be
	firstPause    = 500 * time.Millisecond // of all workers when the API server takes nothing; doubles
	longestPause  = 30 * time.Second
	writeTimeout  = 30 * time.Second // of one attempt
	reportingRest = time.Minute      // between two lines in the log about what was dropped
)

// Recorder writes events. Its methods may be called concurrently.
type Recorder struct {
	writer   Writer
	instance string
	log      logr.Logger
	dropped  *prometheus.CounterVec
	now      func() time.Time

	wake  chan struct{}      // holds a token for each worker that has reason to look again
	stop  context.CancelFunc // of the workers; nil before Start
	ended chan struct{}      // closed when all workers have returned

	mu       sync.Mutex
	queue    queue
	memory   memory
	late     list.List     // of series whose count the API server does not know, in the order in which it is told
	stamp    int64         // of the latest name
	pause    time.Duration // that the latest outage led to
	resume   time.Time     // until then, nothing is written
	closing  bool          // nothing is waited for any more
	closed   bool          // nothing is taken any more
	lost     int           // since the log was told
	reported time.Time     // when the log was told
}

// New returns a recorder. It takes events at once, and writes them after Start. The error is that of the registry.
func New(w Writer, o Options) (*Recorder, error) {
	r := &Recorder{
		writer: w, instance: o.Instance, log: o.Log, now: time.Now,
		dropped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_events_dropped_total",
			Help: "Kubernetes events that were not written.",
		}, []string{"reason"}),
		wake:   make(chan struct{}, workers),
		queue:  queue{most: mostQueued},
		memory: memory{most: mostSeries, age: memoryAge, now: map[fingerprint]*series{}},
	}

	if o.Metrics != nil {
		if err := o.Metrics.Register(r.dropped); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}

	return r, nil
}

// Send queues an event, or counts it if it is remembered. It returns at once. The message has to be of 1024 bytes at most.
func (r *Recorder) Send(n engine.Notification) {
	key, at := fingerprintOf(n), r.now()

	r.mu.Lock()
	defer r.mu.Unlock()

	if r.closed {
		r.lose("shutdown", "the process ends")

		return
	}

	s := r.memory.find(key, at)
	if s == nil {
		r.stamp = max(r.stamp+1, at.UnixNano())
		s = &series{key: key, namespace: namespaceOf(n.Object.Namespace), name: nameOf(n.Object.Name, r.stamp)}
		r.memory.put(s, at)
	}

	s.count++
	s.last = at

	switch {
	case s.busy: // who writes it sees the count
	case s.written > 0 && at.Sub(s.told) < seriesPause:
		r.defers(s, at)
	default:
		r.add(n, s, at)
	}
}

// add queues an event with what it takes to create it.
func (r *Recorder) add(n engine.Notification, s *series, at time.Time) {
	body, err := encode(n, s, r.instance, at)
	if err != nil {
		r.drop(s, "refused", err.Error())

		return
	}

	s.busy = true
	r.push(&job{series: s, warning: n.Event.Type == corev1.EventTypeWarning, body: body})
}

func (r *Recorder) push(j *job) {
	if d := r.queue.push(j); d != nil {
		r.drop(d.series, "full", "too many wait")
	}

	r.rouse()
}

// rouse makes a worker look for work.
func (r *Recorder) rouse() {
	select {
	case r.wake <- struct{}{}:
	default: // all have reason to look already
	}
}

// defers has the count of a series told later.
func (r *Recorder) defers(s *series, at time.Time) {
	s.busy, s.due = true, at.Add(seriesPause)
	r.late.PushBack(s)
	r.rouse()
}

// drop forgets a series whose event is not written, and tells of it.
func (r *Recorder) drop(s *series, reason, why string) {
	r.forget(s)
	r.lose(reason, why)
}

func (r *Recorder) forget(s *series) {
	s.busy = false
	r.memory.forget(s)
}

// lose counts an event that is not written, and tells the log once in a while.
func (r *Recorder) lose(reason, why string) {
	r.dropped.WithLabelValues(reason).Inc()

	r.lost++
	if now := r.now(); now.Sub(r.reported) >= reportingRest {
		r.log.Info("Events are dropped", "reason", reason, "why", why, "count", r.lost)
		r.lost, r.reported = 0, now
	}
}
