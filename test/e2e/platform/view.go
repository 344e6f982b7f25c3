package platform

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

// View is a live picture of some kinds of a cluster, fed by watches.
type View struct {
	client *dynamic.DynamicClient
	stop   context.CancelFunc
	done   <-chan struct{}

	mu        sync.Mutex
	informers map[schema.GroupKind]cache.SharedIndexInformer
	changed   chan struct{} // closed and replaced at each change
}

// NewView starts a view that sees nothing yet. It ends with Close.
func NewView(config *rest.Config) (*View, error) {
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make client: %w", err)
	}

	ctx, stop := context.WithCancel(context.Background())

	return &View{
		client: client, stop: stop, done: ctx.Done(),
		informers: map[schema.GroupKind]cache.SharedIndexInformer{}, changed: make(chan struct{}),
	}, nil
}

// Close ends all watches.
func (v *View) Close() { v.stop() }

// Track adds kinds to the view and returns when it has seen all objects of them. A kind that its API server does not have
// yet is waited for.
func (v *View) Track(ctx context.Context, kinds ...schema.GroupVersionKind) error {
	for _, kind := range kinds {
		if err := v.served(ctx, kind); err != nil {
			return err
		}

		if !cache.WaitForCacheSync(ctx.Done(), v.informer(kind).HasSynced) {
			return fmt.Errorf("watch %s: %w", kind.Kind, context.Cause(ctx))
		}
	}

	return nil
}

// served waits until a custom kind is served.
func (v *View) served(ctx context.Context, kind schema.GroupVersionKind) error {
	if builtIn(kind) {
		return nil
	}

	if err := v.Track(ctx, Definition()); err != nil {
		return err
	}

	plural, _ := meta.UnsafeGuessKindToResource(kind)
	name := plural.Resource + "." + kind.Group

	return v.Until(ctx, func(s Snapshot) error {
		d := s.Get(Definition(), "", name)
		if d == nil {
			return fmt.Errorf("%s is not defined", kind.Kind)
		}

		if established, _, message := Condition(d, "Established"); established != "True" {
			return fmt.Errorf("%s is not established: %s", kind.Kind, message)
		}

		return nil
	})
}

func builtIn(kind schema.GroupVersionKind) bool {
	switch kind.Group {
	case "", "apps", "apiextensions.k8s.io", "rbac.authorization.k8s.io", "batch", "coordination.k8s.io":
		return true
	default:
		return false
	}
}

// informer returns the one of the kind, started.
func (v *View) informer(kind schema.GroupVersionKind) cache.SharedIndexInformer {
	v.mu.Lock()
	defer v.mu.Unlock()

	if i, ok := v.informers[kind.GroupKind()]; ok {
		return i
	}

	resource, _ := meta.UnsafeGuessKindToResource(kind)
	objects := v.client.Resource(resource)
	i := cache.NewSharedIndexInformer(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			return list(ctx, objects, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return objects.Watch(ctx, o)
		},
	}, &unstructured.Unstructured{}, 0, cache.Indexers{})

	_ = i.SetTransform(slim)                                     //nolint:errcheck // fails only for a started informer
	_ = i.SetWatchErrorHandler(func(*cache.Reflector, error) {}) //nolint:errcheck // it is tried again: the deadline says so
	_, _ = i.AddEventHandler(cache.ResourceEventHandlerFuncs{    //nolint:errcheck // fails only for a stopped informer
		AddFunc: func(any) { v.Nudge() }, UpdateFunc: func(any, any) { v.Nudge() }, DeleteFunc: func(any) { v.Nudge() },
	})

	v.informers[kind.GroupKind()] = i

	go i.Run(v.done)

	return i
}

// list waits for a kind that is established and not served yet, for which the informer would rest too long.
func list(ctx context.Context, objects dynamic.ResourceInterface, o metav1.ListOptions) (runtime.Object, error) {
	for {
		l, err := objects.List(ctx, o)
		if !apierrors.IsNotFound(err) {
			return l, err
		}

		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(servedPoll):
		}
	}
}

// servedPoll is how often a kind is asked for that is not served: that cannot be watched.
const servedPoll = 50 * time.Millisecond

// slim drops what nobody looks at and what is large.
func slim(obj any) (any, error) {
	if o, ok := obj.(*unstructured.Unstructured); ok {
		o.SetManagedFields(nil)

		if o.GetKind() == "CustomResourceDefinition" {
			unstructured.RemoveNestedField(o.Object, "spec", "versions")
		}
	}

	return obj, nil
}

// Nudge makes Until ask its condition again, though nothing has changed.
func (v *View) Nudge() {
	v.mu.Lock()
	defer v.mu.Unlock()

	close(v.changed)
	v.changed = make(chan struct{})
}

// Changed returns a channel that is closed at the next change.
func (v *View) Changed() <-chan struct{} {
	v.mu.Lock()
	defer v.mu.Unlock()

	return v.changed
}

// Now returns what the view sees.
func (v *View) Now() Snapshot { return Snapshot{view: v} }

// Until waits until the condition returns nil. It is asked again at each change of what the view sees. When the context
// ends first, the error says what the condition said last.
func (v *View) Until(ctx context.Context, condition func(Snapshot) error) error {
	for {
		changed := v.Changed()

		err := condition(v.Now())
		if err == nil {
			return nil
		}

		if stop := new(stopError); errors.As(err, &stop) {
			return stop.err
		}

		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%w: still: %w", context.Cause(ctx), err)
		}
	}
}

// Stop makes Until end at once with the error: the condition can no longer come true.
func Stop(err error) error { return &stopError{err} }

type stopError struct{ err error }

// Error implements error.
func (e *stopError) Error() string { return e.err.Error() }

// Snapshot is what a view sees now. The objects must not be changed.
type Snapshot struct{ view *View }

// Get returns the object, or nil if it is not there.
func (s Snapshot) Get(kind schema.GroupVersionKind, namespace, name string) *unstructured.Unstructured {
	key := name
	if namespace != "" {
		key = namespace + "/" + name
	}

	item, ok, err := s.store(kind).GetByKey(key)
	if !ok || err != nil {
		return nil
	}

	o, _ := item.(*unstructured.Unstructured) //nolint:errcheck // nothing else is kept

	return o
}

// List returns the objects of the kind, in all namespaces or in one.
func (s Snapshot) List(kind schema.GroupVersionKind, namespace string) []*unstructured.Unstructured {
	var objects []*unstructured.Unstructured

	for _, item := range s.store(kind).List() {
		if o, ok := item.(*unstructured.Unstructured); ok && (namespace == "" || o.GetNamespace() == namespace) {
			objects = append(objects, o)
		}
	}

	return objects
}

func (s Snapshot) store(kind schema.GroupVersionKind) cache.Store {
	s.view.mu.Lock()
	defer s.view.mu.Unlock()

	if i, ok := s.view.informers[kind.GroupKind()]; ok {
		return i.GetStore()
	}

	return cache.NewStore(cache.MetaNamespaceKeyFunc)
}
