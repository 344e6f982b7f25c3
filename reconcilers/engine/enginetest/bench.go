package enginetest

import (
	"context"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/weir-dev/weir/api"
	"github.com/weir-dev/weir/reconcilers/engine"
)

// Options change how a bench runs its kind. The zero value is an engine with the delays of production, no jitter, and
// without progress messages.
type Options struct {
	// Schemes name the types of the objects, beside those of this module and the core of Kubernetes.
	Schemes []func(*runtime.Scheme) error

	// Funcs replace requests of the runner, to make them fail or to wait for them. They are called in place of the
	// request, which the client that they are given can still make. Requests of the test are not replaced.
	Funcs interceptor.Funcs

	// Engine holds the options of the runner. Client and Recorder are always the ones of the bench; Now is its clock,
	// Random is always 0.5 and ProgressAfter an hour unless they are set.
	Engine engine.Options
}

// Patch is a write of the runner.
type Patch struct {
	// Subresource is status, or empty for the object itself.
	Subresource string

	// Type of the patch.
	Type types.PatchType

	// Owner is the field owner.
	Owner string

	// Body as it is sent.
	Body string
}

// Result is what a run made of its object.
type Result[O engine.Object] struct {
	// Object as the API server has it after the run. It is empty if Gone.
	Object O

	// Gone tells that the API server has the object no more.
	Gone bool

	// Patches that the runner sent, in order, also those that failed.
	Patches []Patch

	// Events in the order of their recording, as the kind made them.
	Events []engine.Event

	// Result and Err are the answer to the work queue.
	Result reconcile.Result
	Err    error
}

// Bench is a runner over an API server in memory. Its methods may be called from several goroutines, Run for one object at
// a time.
type Bench[O engine.Object, S any] struct {
	// Client reads and writes as the test; its requests are not recorded.
	Client client.WithWatch

	// Clock is that of the runner.
	Clock *Clock

	kind    engine.Kind[O, S]
	runner  *engine.Runner[O, S]
	mu      sync.Mutex
	patches []Patch
	events  []engine.Event
}

// Run runs the object once, in a cluster that holds it and the others.
func Run[O engine.Object, S any](t testing.TB, kind engine.Kind[O, S], obj O, others ...client.Object) Result[O] {
	t.Helper()

	return New(t, kind, Options{}, append([]client.Object{obj}, others...)...).Run(t, obj)
}

// New returns a bench for the kind whose API server holds the objects.
func New[O engine.Object, S any](t testing.TB, kind engine.Kind[O, S], o Options, objects ...client.Object) *Bench[O, S] {
	t.Helper()

	scheme := runtime.NewScheme()
	for _, add := range append([]func(*runtime.Scheme) error{
		corev1.AddToScheme, api.AddToScheme,
	}, o.Schemes...) {
		if err := add(scheme); err != nil {
			t.Fatalf("add to scheme: %v", err)
		}
	}

	copies := make([]client.Object, 0, len(objects)) // the tracker sets their resource version
	for _, obj := range objects {
		copies = append(copies, obj.DeepCopyObject().(client.Object)) //nolint:forcetypeassert // a deep copy has the type of what it copies
	}

	b := &Bench[O, S]{kind: kind, Clock: &Clock{now: Start()}}
	b.Client = fake.NewClientBuilder().WithScheme(scheme).WithStatusSubresource(withStatus(copies, kind.New())...).
		WithObjects(copies...).Build()

	e := o.Engine
	e.Client = interceptor.NewClient(interceptor.NewClient(b.Client, o.Funcs), b.recording())
	e.Recorder = engine.RecorderFunc(b.record)
	if e.Now == nil {
		e.Now = b.Clock.Now
	}

	if e.Random == nil {
		e.Random = func() float64 { return 0.5 }
	}

	if e.ProgressAfter == 0 {
		e.ProgressAfter = time.Hour
	}

	b.runner = engine.New(kind, e)

	return b
}

// withStatus returns the objects whose status is a subresource.
func withStatus(objects []client.Object, more ...client.Object) []client.Object {
	for _, obj := range objects {
		if _, ok := obj.(engine.Object); ok {
			more = append(more, obj)
		}
	}

	return more
}

// Run runs the object once.
func (b *Bench[O, S]) Run(t testing.TB, obj client.Object) Result[O] {
	t.Helper()

	return b.RunContext(t.Context(), t, obj)
}

// RunContext runs the object once, in the context.
func (b *Bench[O, S]) RunContext(ctx context.Context, t testing.TB, obj client.Object) Result[O] {
	t.Helper()

	key := client.ObjectKeyFromObject(obj)
	got := Result[O]{Object: b.kind.New()}
	got.Result, got.Err = b.runner.Reconcile(ctx, reconcile.Request{NamespacedName: key})
	got.Patches, got.Events = b.take()

	switch err := b.Client.Get(t.Context(), key, got.Object); {
	case apierrors.IsNotFound(err):
		got.Gone = true
	case err != nil:
		t.Fatalf("get the object after its run: %v", err)
	}

	return got
}

func (b *Bench[O, S]) take() ([]Patch, []engine.Event) {
	b.mu.Lock()
	defer b.mu.Unlock()

	patches, events := b.patches, b.events
	b.patches, b.events = nil, nil

	return patches, events
}

func (b *Bench[O, S]) record(_ engine.Object, _, _ string, e engine.Event) {
	b.mu.Lock()
	defer b.mu.Unlock()

	b.events = append(b.events, e)
}

// recording notes the runner's writes, and makes its reads name the kind of the object, as those of a cache do.
func (b *Bench[O, S]) recording() interceptor.Funcs {
	return interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, obj client.Object, o ...client.GetOption) error {
			if err := c.Get(ctx, key, obj, o...); err != nil {
				return err
			}

			gvk, err := apiutil.GVKForObject(obj, c.Scheme())
			obj.GetObjectKind().SetGroupVersionKind(gvk)

			return err
		},
		Patch: func(ctx context.Context, c client.WithWatch, obj client.Object, p client.Patch, o ...client.PatchOption) error {
			b.note("", obj, p, (&client.PatchOptions{}).ApplyOptions(o).FieldManager)

			return c.Patch(ctx, obj, p, o...)
		},
		SubResourcePatch: func(ctx context.Context, c client.Client, name string, obj client.Object, p client.Patch,
			o ...client.SubResourcePatchOption,
		) error {
			options := &client.SubResourcePatchOptions{}
			b.note(name, obj, p, options.ApplyOptions(o).FieldManager)

			return c.SubResource(name).Patch(ctx, obj, p, o...)
		},
	}
}

func (b *Bench[O, S]) note(subresource string, obj client.Object, p client.Patch, owner string) {
	body, err := p.Data(obj)
	if err != nil {
		body = []byte(err.Error()) // the request says so too
	}

	b.mu.Lock()
	defer b.mu.Unlock()

	b.patches = append(b.patches, Patch{Subresource: subresource, Type: p.Type(), Owner: owner, Body: string(body)})
}
