package engine

import (
	"maps"
	"sync"

	"k8s.io/apimachinery/pkg/types"
)

// told knows what the latest failure of each failing object was about, which its conditions do not tell: another revision
// that fails in the same way is news, for commits have a status each. What was told before the process started is taken
// to be about the same.
type told struct {
	mu   sync.Mutex
	last map[types.NamespacedName]map[string]string
}

// differs notes what a failure is about, and tells whether the one before was about something else.
func (t *told) differs(key types.NamespacedName, metadata map[string]string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()

	if t.last == nil {
		t.last = map[types.NamespacedName]map[string]string{}
	}

	before, known := t.last[key]
	t.last[key] = metadata

	return known && !maps.Equal(before, metadata)
}

func (t *told) reset(key types.NamespacedName) {
	t.mu.Lock()
	defer t.mu.Unlock()

	delete(t.last, key)
}
