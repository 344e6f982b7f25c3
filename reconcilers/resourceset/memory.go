package resourceset

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/resourceset/template"
)

// memory holds what the process knows of each ResourceSet beyond its status. If it is lost, everything is rendered and checked once more.
type memory struct {
	mu    sync.Mutex
	memos map[types.NamespacedName]*memo
}

// memo is what is known of one ResourceSet. Only the one run that it has at a time uses it.
type memo struct {
	uid types.UID

	// key of the last apply and prune that succeeded, or empty if the next run has to apply; inventory is the one that goes with it.
	key       string
	inventory []meta.ResourceRef
	// refs are what the set that was rendered last refers to.
	refs []template.Reference
	// jobs says that the set has Jobs that are created anew when they have failed.
	jobs bool
	// last is what is told of that set.
	last summary
	// through is how far a set has come: its digest, and the last step that was applied, all before which were healthy.
	through through
	// goals are the objects of each step whose health counts, and current all that were applied.
	goals   [][]access.ID
	current []access.Ref
	// applied is the digest under which the applier knows what it has applied last.
	applied string
	// checked is when everything was last checked against the API server.
	checked time.Time
	// adopted says that objects which the inventory lacks were looked for, since the process started and since a status was not written.
	adopted bool
	// ran says that there was a run, and left is the inventory at its end.
	ran  bool
	left []meta.ResourceRef
	// fights are the objects that were told to be fought over.
	fights map[access.ID]bool
	// ending is since when the end of what goes first is awaited, or zero.
	ending time.Time
	// following says that dependencies are watched.
	following bool

	// attempt is the one that is going on, or nil.
	attempt *attempt
}

// through is how far a set has come.
type through struct {
	digest string
	step   int
}

// summary is what the status tells of a set.
type summary struct {
	revision string
	metadata map[string]string
	external []string
}

// attempt goes from the first run for a spec and inputs until success or failure.
type attempt struct {
	attemptKey
	began time.Time
	// waits is since when the health of each step is awaited.
	waits map[int]time.Time
	// changed says that something was applied that was not there before.
	changed bool
	// set is what is being applied.
	set *set
	// renewed are the steps whose failed Jobs were deleted.
	renewed map[int]bool
}

// attemptKey tells attempts apart. A new one supersedes what the old one waits for.
type attemptKey struct {
	generation int64
	inputs     string
	asked      string
}

// begin returns the attempt for the key: the one that goes on, or a new one.
func (m *memo) begin(key attemptKey, now time.Time) (a *attempt, fresh bool) {
	if m.attempt != nil && m.attempt.attemptKey == key {
		return m.attempt, false
	}
	m.attempt = &attempt{attemptKey: key, began: now, waits: map[int]time.Time{}, renewed: map[int]bool{}}
	return m.attempt, true
}

// end ends the attempt, if one goes on.
func (m *memo) end() { m.attempt, m.ending = nil, time.Time{} }

// of returns the memo of the object, which is empty if another object has the name now.
func (m *memory) of(obj *fluxv1.ResourceSet) *memo {
	m.mu.Lock()
	defer m.mu.Unlock()
	key := client.ObjectKeyFromObject(obj)
	if known, ok := m.memos[key]; ok && known.uid == obj.UID {
		return known
	}
	if m.memos == nil {
		m.memos = map[types.NamespacedName]*memo{}
	}
	m.memos[key] = &memo{uid: obj.UID}
	return m.memos[key]
}

func (m *memory) drop(key types.NamespacedName) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.memos, key)
}
