package controllers

import (
	"context"
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/weir-dev/weir/reconcilers/engine"
)

// waker puts objects into the queue of a controller from anywhere in the process. It is a source of that controller; what
// is woken before the controller started is queued then.
type waker struct {
	mu    sync.Mutex
	queue workqueue.TypedRateLimitingInterface[reconcile.Request]
	early map[types.NamespacedName]engine.Priority
}

func newWaker() *waker {
	return &waker{early: map[types.NamespacedName]engine.Priority{}}
}

// Start implements source.Source.
func (w *waker) Start(_ context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
	w.mu.Lock()
	defer w.mu.Unlock()

	w.queue = queue
	for key, p := range w.early {
		enqueue(queue, key, p)
	}

	w.early = nil

	return nil
}

// Wake lets the object run as soon as its priority allows.
func (w *waker) Wake(key types.NamespacedName, p engine.Priority) {
	w.mu.Lock()
	defer w.mu.Unlock()

	if w.queue == nil {
		w.early[key] = max(p, w.early[key])

		return
	}

	enqueue(w.queue, key, p)
}

// enqueue adds the object to the queue with the priority.
func enqueue(queue workqueue.TypedRateLimitingInterface[reconcile.Request], key types.NamespacedName, p engine.Priority) {
	req := reconcile.Request{NamespacedName: key}

	if q, ok := queue.(priorityqueue.PriorityQueue[reconcile.Request]); ok {
		i := int(p)
		q.AddWithOpts(priorityqueue.AddOpts{Priority: &i}, req)

		return
	}

	queue.Add(req)
}
