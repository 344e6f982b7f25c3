package kustomize

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/build"
)

// memory holds what the process knows of each Kustomization beyond its status. If it is lost, everything is built and
// checked once more.
type memory struct {
	mu    sync.Mutex
	memos map[types.NamespacedName]*memo
}

// memo is what is known of one Kustomization. Only the one run that it has at a time uses it.
type memo struct {
	uid types.UID

	// inputs of the last apply and prune that succeeded, or empty if the next run has to apply.
	inputs string
	// set is the digest of what was built last, applied that under which it was applied, and goal are the objects whose
	// health counts.
	set, applied string
	goal         []access.ID
	// fetched is when something was fetched from other servers for the last build, or zero if nothing was.
	fetched time.Time
	// inventory that goes with the inputs. A status that has another one was not written.
	inventory []meta.ResourceRef
	// adopted says that objects which the inventory lacks were looked for, since the process started, since an apply failed and
	// since a status was not written.
	adopted bool
	// ran says that there was a run, left is the inventory at its end, and unwritten says that the status turned out to have
	// another one: what was applied is in no inventory until it is looked for.
	ran, unwritten bool
	left           []meta.ResourceRef
	// site is the cluster that all this is about.
	site *access.Factory
	// checked is when everything was last checked against the API server.
	checked time.Time
	// fights are the objects that were told to be fought over.
	fights map[access.ID]bool

	// attempt is the one that is going on, or nil.
	attempt *attempt
	// approved are the inputs whose plan is being applied, parts what it does to each object, and asked is the plan whose approval
	// was asked for.
	approved, asked string
	parts           []string
	// held is since when objects that left the set are not deleted, because others may take them over.
	held map[access.ID]time.Time
	// due is when the first of them is deleted in any case, or zero.
	due time.Time
	// foreign are the objects whose health counts and that others have applied, and review is when it is due to look whether the
	// account may still see them, or zero.
	foreign []access.ID
	review  time.Time
	// leaving is when a deletion was seen first, or zero.
	leaving time.Time
	// removing is when the deletion began, or zero.
	removing time.Time
}

// attempt goes from the first run for a revision, a spec and variables until success or failure.
type attempt struct {
	attemptKey
	began time.Time
	// waits is since when everything is applied and only health is missing, which is what a deadline counts for.
	waits time.Time
	// changed says that something was applied that was not there before.
	changed bool
}

// attemptKey tells attempts apart. A new one supersedes what the old one waits for.
type attemptKey struct {
	generation                        int64
	revision, digest, variables, keys string
}

func attemptOf(obj *kustomizev1.Kustomization, a *meta.Artifact, v *build.Variables, keys string) attemptKey {
	return attemptKey{generation: obj.Generation, revision: a.Revision, digest: a.Digest, variables: v.Digest(), keys: keys}
}

// begin returns the attempt for the key: the one that goes on, or a new one.
func (m *memo) begin(key attemptKey, now time.Time) *attempt {
	if m.attempt == nil || m.attempt.attemptKey != key {
		m.attempt = &attempt{attemptKey: key, began: now}
	}

	return m.attempt
}

// at says which cluster the run is about. What was known of another one is of no use.
func (m *memo) at(site *access.Factory) {
	if m.site != site && m.site != nil {
		m.inputs, m.adopted = "", false
		m.approved = "" // a plan is about one cluster
	}

	m.site = site
}

// end ends the attempt, if one goes on.
func (m *memo) end() { m.attempt = nil }

// of returns the memo of the object, which is empty if another object has the name now.
func (m *memory) of(obj *kustomizev1.Kustomization) *memo {
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
