package controllers

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/reconcilers/flight"
)

const (
	// readAge is how old a Secret or ServiceAccount may be when it is used. No controller is told of their changes, and
	// hundreds of objects may have the same one: each second or two of them is enough.
	readAge = 2 * time.Second

	// readBytes bounds those that are kept for that long.
	readBytes = 8 << 20
)

// reads are the objects of one kind that are read when they are needed, and not watched.
type reads[T client.Object] struct {
	client client.Reader
	empty  func() T
	shared flight.Group[types.NamespacedName, T]
}

func newReads[T client.Object](c client.Reader, empty func() T, weigh func(T) int64) *reads[T] {
	return &reads[T]{
		client: c, empty: empty,
		shared: flight.Group[types.NamespacedName, T]{Age: readAge, Room: readBytes, Weigh: weigh, Now: time.Now},
	}
}

// get returns an object that is as the API server has had it a moment ago at most. It is shared, and must not be changed.
func (r *reads[T]) get(ctx context.Context, namespace, name string) (T, error) {
	key := types.NamespacedName{Namespace: namespace, Name: name}

	obj, release, err := r.shared.Join(ctx, key, time.Now().Add(-readAge), func(ctx context.Context) (T, error) {
		obj := r.empty()

		return obj, r.client.Get(ctx, key, obj)
	})
	if err != nil {
		return obj, err //nolint:wrapcheck // the steps say what it means
	}

	release() // it is only memory, and the caller holds it

	return obj, nil
}

// Secret returns a Secret, which must not be changed.
func (p *Process) Secret(ctx context.Context, namespace, name string) (*corev1.Secret, error) {
	return p.secrets.get(ctx, namespace, name)
}

// ServiceAccount returns a ServiceAccount, which must not be changed.
func (p *Process) ServiceAccount(ctx context.Context, namespace, name string) (*corev1.ServiceAccount, error) {
	return p.accounts.get(ctx, namespace, name)
}

// weight of a Secret in memory, in bytes.
func weight(s *corev1.Secret) int64 {
	const rest = 1 << 10

	n := int64(rest)
	for _, v := range s.Data {
		n += int64(len(v))
	}

	return n
}
