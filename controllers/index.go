package controllers

import (
	"context"
	"fmt"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/engine"
)

// Indexes of objects by what makes them run. The values are references, from ref.
const (
	bySource     = "weir.source"
	byDependency = "weir.dependsOn"
	byConfig     = "weir.config"
)

// ref is how indexes write a reference to an object.
func ref(kind string, key types.NamespacedName) string { return kind + "/" + key.String() }

// index makes the objects of a kind findable in the cache by what they refer to.
func index[O client.Object](ctx context.Context, p *Process, of O, field string, values func(O) []string) error {
	err := p.GetFieldIndexer().IndexField(ctx, of, field, func(obj client.Object) []string {
		o, ok := obj.(O)
		if !ok {
			return nil
		}

		return values(o)
	})
	if err != nil {
		return fmt.Errorf("index by %s: %w", field, err)
	}

	return nil
}

// indexAll makes the objects of a kind findable by all that they refer to.
func indexAll[O client.Object](p *Process, of O, fields map[string]func(O) []string) error {
	for field, values := range fields {
		if err := index(context.Background(), p, of, field, values); err != nil { // the context only bounds getting the informer
			return err
		}
	}

	return nil
}

// refs are how indexes write references to objects of a kind.
func refs(kind string, keys []types.NamespacedName) []string {
	all := make([]string, len(keys))
	for i, key := range keys {
		all[i] = ref(kind, key)
	}

	return all
}

// lookup returns the names of the objects that an index has under a value.
type lookup func(ctx context.Context, field, value string) []types.NamespacedName

// finder returns the lookup in the objects of the kind that the list is of.
func finder(p *Process, empty client.ObjectList) lookup {
	return func(ctx context.Context, field, value string) []types.NamespacedName {
		list, ok := empty.DeepCopyObject().(client.ObjectList)
		if !ok {
			return nil
		}

		err := p.GetClient().List(ctx, list, client.MatchingFields{field: value}, client.UnsafeDisableDeepCopy,
			client.DisableReadYourWritesConsistency) // what was just written here is on its way as an event of its own

		var keys []types.NamespacedName

		if err == nil {
			err = apimeta.EachListItem(list, func(obj runtime.Object) error {
				m, err := apimeta.Accessor(obj)
				if err == nil {
					keys = append(keys, types.NamespacedName{Namespace: m.GetNamespace(), Name: m.GetName()})
				}

				return err //nolint:wrapcheck // all objects have metadata
			})
		}

		if err != nil {
			logf.FromContext(ctx).Error(err, "Objects could not be looked up", "index", field, "value", value)
		}

		return keys
	}
}

// artifacts is an object with an artifact.
type artifacts interface {
	client.Object
	GetArtifact() *meta.Artifact
}

// newSource returns an empty object of a kind of source, or nil if there is no such kind.
func newSource(kind string) artifacts {
	switch kind {
	case sourcev1.GitRepositoryKind:
		return &sourcev1.GitRepository{}
	case sourcev1.OCIRepositoryKind:
		return &sourcev1.OCIRepository{}
	case sourcev1.BucketKind:
		return &sourcev1.Bucket{}
	case sourcev1.HelmRepositoryKind:
		return &sourcev1.HelmRepository{}
	case sourcev1.HelmChartKind:
		return &sourcev1.HelmChart{}
	case sourcev1.ExternalArtifactKind:
		return &sourcev1.ExternalArtifact{}
	}

	return nil
}

// source finds a source in the cache.
func (p *Process) source(ctx context.Context, kind string, key types.NamespacedName) (artifacts, error) {
	obj := newSource(kind)
	if obj == nil {
		return nil, unknownKind(kind)
	}

	return cached(ctx, p, key, obj)
}

func unknownKind(kind string) error { return fmt.Errorf("%q is no kind of source", kind) }

// cached reads an object from the cache. One that was just written may be old: its event is on its way.
func cached[O client.Object](ctx context.Context, p *Process, key types.NamespacedName, into O) (O, error) {
	return into, p.GetClient().Get(ctx, key, into, client.DisableReadYourWritesConsistency) //nolint:wrapcheck // the steps say what it means
}

// watchSource makes objects run when a source has a new artifact. Find returns those that an index has under a value.
func watchSource[T artifacts](p *Process, kind string, obj T, find lookup) watch {
	return source.Kind(p.GetCache(), obj, related(renewed[T], func(ctx context.Context, s T) []types.NamespacedName {
		return find(ctx, bySource, ref(kind, client.ObjectKeyFromObject(s)))
	}))
}

// watchDependencies makes objects of a kind run when one that they depend on has come further.
func watchDependencies[O client.Object](p *Process, kind string, obj O, advanced func(before, after O) bool, find lookup) watch {
	return source.Kind(p.GetCache(), obj, related(advanced, func(ctx context.Context, o O) []types.NamespacedName {
		return find(ctx, byDependency, ref(kind, client.ObjectKeyFromObject(o)))
	}))
}

// ripened tells whether an update may have made an object ready for those that depend on it: it is ready, and was not, or was so as
// something else.
func ripened(before, after engine.Object, other bool) bool {
	return engine.IsTrue(after, meta.ReadyCondition) && (other || !engine.IsTrue(before, meta.ReadyCondition))
}

// renewed tells whether an update brings an artifact that others may wait for: another one, or the same one stored anew, after
// it was lost.
func renewed[T artifacts](before, after T) bool {
	was, is := before.GetArtifact(), after.GetArtifact()
	if was == nil || is == nil {
		return is != nil
	}

	return was.Revision != is.Revision || was.Digest != is.Digest || !was.LastUpdateTime.Equal(&is.LastUpdateTime)
}
