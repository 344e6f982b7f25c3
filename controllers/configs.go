package controllers

import (
	"context"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"
)

// configs reads the ConfigMaps and Secrets that hold variables and values. Those with the watch label are read once per version: the
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

// sharedConfigs returns those of all kinds of the process, and makes them if they are not there.
func (p *Process) sharedConfigs() *configs {
	if p.configs == nil {
		p.configs = newConfigs(p.GetAPIReader(), p.GetCache())
		if p.NoConfigWatches {
			p.configs.watched = nil
		}
	}

	return p.configs
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

// configKinds are the kinds of objects that hold variables and values.
func configKinds() []string { return []string{"ConfigMap", "Secret"} }

// configRefs are how indexes write the references to ConfigMaps and Secrets. Keys returns those of one of the kinds.
func configRefs(keys func(kind string) []types.NamespacedName) []string {
	var all []string
	for _, kind := range configKinds() {
		all = append(all, refs(kind, keys(kind))...)
	}

	return all
}

// watchConfigs makes objects run when a ConfigMap or Secret that they refer to has changed. Only those with the label that the command
// line names are watched, and none if it says so; the memory of those that are gone is given back.
func (p *Process) watchConfigs(known *configs, find lookup) []watch {
	if p.NoConfigWatches {
		return nil
	}

	var watches []watch

	for _, kind := range configKinds() {
		obj := &metav1.PartialObjectMetadata{}
		obj.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind(kind))

		watches = append(watches, source.Kind(p.GetCache(), obj, configEvents(known, kind, find)))
	}

	return watches
}

// configEvents handles the events of ConfigMaps or Secrets. Find returns the objects that an index has under a value.
func configEvents(known *configs, kind string, find lookup) handler.TypedFuncs[*metav1.PartialObjectMetadata, reconcile.Request] {
	changed := func(before, after *metav1.PartialObjectMetadata) bool {
		return before.ResourceVersion != after.ResourceVersion
	}

	events := related(changed, func(ctx context.Context, c *metav1.PartialObjectMetadata) []types.NamespacedName {
		return find(ctx, byConfig, ref(kind, client.ObjectKeyFromObject(c)))
	})
	events.DeleteFunc = func(_ context.Context, e event.TypedDeleteEvent[*metav1.PartialObjectMetadata], _ queue) {
		known.forget(kind, client.ObjectKeyFromObject(e.Object))
	}

	return events
}
