package apply

import (
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/health"
)

// verdict is what the plan decides for an object.
type verdict int

const (
	clean   verdict = iota // is as desired
	skip                   // a marker keeps it as it is
	slow                   // is not as desired, and part of a fight
	suspect                // may differ from what is desired
)

// task is one object of a set on its way into the cluster.
type task struct {
	*desired
	verdict verdict
	// try asks for a dry run before anything of the set is written.
	try bool
	// knowledge says what the hub could tell, and known that it showed the live object.
	knowledge health.Knowledge
	known     bool
	live      health.Live
	// correct says that the object was changed by somebody else, not by us.
	correct bool
	dirty   string // why, and other who did it, if that is known
	other   string
	owned   *owned // before the correction
	fields  []string
	// after is the object of the set without which this one cannot be tried.
	after []access.ID

	// screened says that the live object was read for the sake of the ignored fields, base what it was then, payload what
	// is applied instead of the body, and tolerated whose fields are not taken over because they are ignored.
	screened  bool
	base      *health.Live
	payload   []byte
	tolerated []health.Manager

	tried    *health.Live // answer of the dry run
	recreate bool
	action   Action
	before   Action // what an earlier run of the same apply has done
	settled  bool   // action is final
}

// view tells what is known of a live object.
type view func(access.ID) (health.Live, health.Knowledge)

// plan compares what is desired with what was applied and what is seen, and decides what has to be asked or written.
// It decides nothing that only the API server knows.
func plan(owner Owner, set []desired, records map[access.ID]*record, t takeovers, see view, now time.Time,
	full func(access.ID) bool) []*task {
	tasks := make([]*task, len(set))
	suspects := 0
	for i := range set {
		d := &set[i]
		live, knowledge := see(d.ID)
		k := &task{desired: d, live: live, knowledge: knowledge, known: knowledge == health.Present}
		r := records[d.ID]
		if knowledge == health.Behind && r != nil && r.uid != "" { // the answer to our last write is the latest news
			k.live, k.known = r.live(owner), true
		}
		k.decide(owner, r, t, now, full(d.ID))
		tasks[i] = k
		if k.verdict == suspect {
			suspects++
		}
	}
	for _, k := range tasks {
		if k.verdict != suspect {
			continue
		}
		// A single change of an object that we know is its own transaction. So is what was accepted before.
		proven := k.proven(records[k.ID]) && !full(k.ID)
		k.try = !k.known || (suspects > 1 && !proven)
	}
	depend(tasks)
	return tasks
}

func (k *task) decide(owner Owner, r *record, t takeovers, now time.Time, full bool) {
	switch {
	case k.marks.ignore, k.known && owner.exempts(&k.live, k.onlyDrift), k.known && k.marks.ifNotPresent:
		k.verdict = skip
		return
	case r != nil && r.hidden && r.digest == k.digest && !full:
		k.verdict = skip
		return
	case r == nil || r.mode == excluded || r.mode == exempt || r.digest != k.digest || full,
		r.look != 0 && !k.onlyDrift: // it is not ours, or not as desired, which was no reason to change it
		k.verdict = suspect
		return
	}
	reason, other := k.drift(owner, r, t)
	switch {
	case reason == "" && r.mode == initial:
		k.verdict = skip
	case reason == "":
		k.verdict = clean
	case r.fight.slowed(now):
		k.verdict = slow
	default:
		k.verdict, k.correct = suspect, k.knowledge != health.Blind
		k.dirty, k.other = reason, other
	}
}

// drift returns why the object is no longer as it was applied, and who did it.
func (k *task) drift(owner Owner, r *record, t takeovers) (reason, other string) {
	reason, other = r.dirty, r.other // as of the last event, if there is nothing newer
	switch k.knowledge {
	case health.Present:
		reason, other = r.drift(owner, t, &k.live)
	case health.Absent:
		reason, other = r.drift(owner, t, nil)
	case health.Blind:
		reason, other = changed, "" // nobody would have told us
	case health.Unknown, health.Behind:
	}
	return reason, other
}

func (k *task) proven(r *record) bool {
	if r == nil || !k.known || k.live.UID != r.uid {
		return false
	}
	return slices.Contains(r.proven, k.digest)
}

// depend notes for each object that has to be tried which suspects among the foundations it needs: its namespace, the
// definition of its kind, the role that it binds.
func depend(tasks []*task) {
	namespaces, roles, kinds := map[string]access.ID{}, map[string]access.ID{}, map[schema.GroupKind]access.ID{}
	for _, k := range tasks {
		switch {
		case k.verdict != suspect:
		case isDefinition(k.ID):
			kinds[k.defines()] = k.ID
		case k.Kind == "Namespace" && k.Group == "" && !k.known:
			namespaces[k.Name] = k.ID
		case k.Kind == "ClusterRole" && !k.known:
			roles[k.Name] = k.ID
		}
	}
	for _, k := range tasks {
		if id, ok := namespaces[k.Namespace]; ok {
			k.after = append(k.after, id)
		}
		if id, ok := kinds[k.GroupKind()]; ok {
			k.after = append(k.after, id)
		}
		if id, ok := roles[k.binds()]; ok {
			k.after = append(k.after, id)
		}
	}
}

// binds returns the name of the cluster role that a binding refers to.
func (k *task) binds() string {
	if k.Kind != "RoleBinding" && k.Kind != "ClusterRoleBinding" || nestedString(k.object, "roleRef", "kind") != "ClusterRole" {
		return ""
	}
	return nestedString(k.object, "roleRef", "name")
}
