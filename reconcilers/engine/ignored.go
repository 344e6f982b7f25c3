package engine

import (
	"sync"

	"k8s.io/apimachinery/pkg/types"
)

// isIgnored tells whether the object is left alone, and tells people of it once.
func (x *run[O, S]) isIgnored() bool {
	if x.kind.Ignore == nil {
		return false
	}

	e := x.kind.Ignore(x.obj)
	if e == nil {
		x.ignored.reset(x.key())

		return false
	}

	x.requeue.reset(x.key())

	if x.ignored.news(x.key(), version{x.obj.GetUID(), x.obj.GetGeneration()}) && x.options.Recorder != nil {
		x.options.Recorder.Record(x.obj, x.kind.Name, x.kind.Controller, *e)
	}

	return true
}

// version of an object, as far as its spec goes.
type version struct {
	uid        types.UID
	generation int64
}

// ignored knows of which objects people were told that they are ignored.
type ignored struct {
	mu   sync.Mutex
	told map[types.NamespacedName]version
}

// news tells whether this version of the object was not told of yet, and notes that it is.
func (i *ignored) news(key types.NamespacedName, v version) bool {
	i.mu.Lock()
	defer i.mu.Unlock()

	if i.told == nil {
		i.told = map[types.NamespacedName]version{}
	}

	known, ok := i.told[key]
	i.told[key] = v

	return !ok || known != v
}

func (i *ignored) reset(key types.NamespacedName) {
	i.mu.Lock()
	defer i.mu.Unlock()

	delete(i.told, key)
}
