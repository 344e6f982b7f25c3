package controllers

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	// planKeySecret, in the namespace of the process, holds the key of the digests of plans. Whoever deletes it makes all approvals
	// void that were not used.
	planKeySecret = "weir-plan-key" //nolint:gosec // its name, and nothing of it
	planKeyField  = "key"
	planKeyBytes  = 32
)

// planKey is the key of the digests of plans. It is made by whoever needs it first, and then the same for all replicas and after
// a restart.
type planKey struct {
	namespace string
	live      client.Reader // the API server
	writer    client.Writer

	mu  sync.Mutex
	key []byte
}

// get returns the key. It is read, and made if there is none, until that has succeeded once.
func (p *planKey) get(ctx context.Context) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()

	if p.key != nil {
		return p.key, nil
	}

	secret, err := p.read(ctx)
	if apierrors.IsNotFound(err) {
		if err := p.create(ctx); err != nil && !apierrors.IsAlreadyExists(err) {
			return nil, fmt.Errorf("create Secret '%s/%s': %w", p.namespace, planKeySecret, err)
		}

		secret, err = p.read(ctx) // which may be another one's
	}

	if err != nil {
		return nil, fmt.Errorf("read Secret '%s/%s': %w", p.namespace, planKeySecret, err)
	}

	key := secret.Data[planKeyField]
	if len(key) < planKeyBytes {
		return nil, fmt.Errorf("Secret '%s/%s': key %q has %d bytes, want %d at least",
			p.namespace, planKeySecret, planKeyField, len(key), planKeyBytes)
	}

	p.key = key

	return key, nil
}

func (p *planKey) read(ctx context.Context) (*corev1.Secret, error) {
	secret := &corev1.Secret{}

	return secret, p.live.Get(ctx, types.NamespacedName{Namespace: p.namespace, Name: planKeySecret}, secret)
}

func (p *planKey) create(ctx context.Context) error {
	key := make([]byte, planKeyBytes)
	_, _ = rand.Read(key) // never fails

	return p.writer.Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: p.namespace, Name: planKeySecret},
		Data:       map[string][]byte{planKeyField: key},
	})
}
