package controllers

import (
	"context"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// configs reads the ConfigMaps and Secrets that hold variables. Those with the watch label are read once per version: the
// cache of their metadata tells whether what was read still holds. All others are read each time.
type configs struct {
	live, watched client.Reader // the API server, and the cache of metadata; nil if nothing is watched

	mu   sync.Mutex
	read map[configKey]client.Object
}

type configKey struct {
	kind string
	types.NamespacedName
}

func newConfigs(live, watched client.Reader) *configs {
	return &configs{live: live, watched: watched, read: map[configKey]client.Object{}}
}

// ConfigMap returns a ConfigMap, which the caller must not change.
func (c *configs) ConfigMap(ctx context.Context, namespace, name string) (*corev1.ConfigMap, error) {
	return get[*corev1.ConfigMap](ctx, c, "ConfigMap", namespace, name, &corev1.ConfigMap{})
}

// Secret returns a Secret, which the caller must not change.
func (c *configs) Secret(ctx context.Context, namespace, name string) (*corev1.Secret, error) {
	return get[*corev1.Secret](ctx, c, "Secret", namespace, name, &corev1.Secret{})
}

func get[T client.Object](ctx context.Context, c *configs, kind, namespace, name string, into T) (T, error) {
	key := configKey{kind, types.NamespacedName{Namespace: namespace, Name: name}}

	watched := &metav1.PartialObjectMetadata{}
	watched.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind(kind))

	// What the cache does not have has no watch label, or is not there: the API server tells.
	labelled := c.watched != nil && c.watched.Get(ctx, key.NamespacedName, watched) == nil
	if known, ok := c.lookup(key).(T); ok && labelled && known.GetResourceVersion() == watched.ResourceVersion {
		return known, nil
	}

	if err := c.live.Get(ctx, key.NamespacedName, into); err != nil {
		c.store(key, nil)

		return into, err //nolint:wrapcheck // the steps say what it means
	}

	if labelled {
		c.store(key, into)
	} else {
		c.store(key, nil)
	}

	return into, nil
}

// forget drops what was read of an object that is gone, or has lost the watch label.
func (c *configs) forget(kind string, key types.NamespacedName) { c.store(configKey{kind, key}, nil) }

func (c *configs) lookup(key configKey) client.Object {
	c.mu.Lock()
	defer c.mu.Unlock()

	return c.read[key]
}

// store keeps the object, or drops what is kept if it is nil.
func (c *configs) store(key configKey, obj client.Object) {
	c.mu.Lock()
	defer c.mu.Unlock()

	if obj == nil {
		delete(c.read, key)
	} else {
		c.read[key] = obj
	}
}
