package health

import (
	"fmt"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/json"
)

const (
	// maxJudges is how many rules of a hub are evaluated at a time.
	maxJudges = 2
	// maxEvidence is how many bytes of objects wait to be judged. Those beyond are read again when it is their turn.
	maxEvidence = 8 << 20
)

// docket is what waits to be judged by rules. Users write them, so that they may take their time: never that of a watch, and
// never that of another namespace for longer than one evaluation. It is guarded by the hub's lock.
type docket struct {
	queues map[string][]*interest // by namespace of the owner, each waiting once
	turns  []string               // namespaces that something waits for and nothing is judged for
	busy   map[string]bool        // that something is judged for
	judges int
	bytes  int
}

// hearing is the version of an object that is to be judged. Later ones take its place.
type hearing struct {
	gvk     schema.GroupVersionKind
	version string
	raw     []byte // the object as JSON, or nil if it has to be read
}

// trial is what is being judged, by which rule.
type trial struct{ version, rule string }

// submit lets an object be judged by the rule of an interest. The lock is held.
func (h *Hub) submit(i *interest, c hearing) {
	d := &h.docket
	if d.queues == nil {
		d.queues, d.busy = map[string][]*interest{}, map[string]bool{}
	}
	if i.hearing != nil {
		d.bytes -= len(i.hearing.raw)
	} else {
		namespace := i.owner.id.Namespace
		if len(d.queues[namespace]) == 0 && !d.busy[namespace] {
			d.turns = append(d.turns, namespace)
		}
		d.queues[namespace] = append(d.queues[namespace], i)
	}
	if d.bytes+len(c.raw) > maxEvidence {
		c.raw = nil
	}
	d.bytes += len(c.raw)
	i.hearing = &c
	if d.judges < maxJudges && !h.closed {
		d.judges++
		h.runs.Go(h.judge)
	}
}

// judge evaluates rules until there is nothing that it may judge.
func (h *Hub) judge() {
	for {
		i, c, rule := h.call()
		if i == nil {
			return
		}
		switch {
		case rule == nil || h.ctx.Err() != nil:
		case c.raw == nil:
			_ = h.read(h.ctx, h.client, i.feed, i.object.id) // what fails stays unknown until its next event
		default:
			h.rule(i, c, rule, try(c, rule))
		}
		h.dismiss(i)
	}
}

// call takes what is next: one of each namespace in turn.
func (h *Hub) call() (*interest, hearing, *Rule) {
	h.mu.Lock()
	defer h.mu.Unlock()
	d := &h.docket
	if len(d.turns) == 0 {
		d.judges--
		return nil, hearing{}, nil
	}
	namespace := d.turns[0]
	i := d.queues[namespace][0]
	d.turns, d.queues[namespace], d.busy[namespace] = d.turns[1:], d.queues[namespace][1:], true
	c := *i.hearing
	i.hearing = nil
	d.bytes -= len(c.raw)
	if i.rule != nil {
		i.trial = trial{c.version, i.rule.Key}
	}
	return i, c, i.rule
}

// dismiss says that nothing is judged for the namespace of an interest any more.
func (h *Hub) dismiss(i *interest) {
	h.mu.Lock()
	defer h.mu.Unlock()
	d, namespace := &h.docket, i.owner.id.Namespace
	i.trial = trial{}
	delete(d.busy, namespace)
	if len(d.queues[namespace]) > 0 {
		d.turns = append(d.turns, namespace)
	} else {
		delete(d.queues, namespace)
	}
}

func try(c hearing, rule *Rule) verdict {
	var obj map[string]any
	if err := json.Unmarshal(c.raw, &obj); err != nil {
		return verdict{status.UnknownStatus, fmt.Sprintf("decode an object: %v", err)}
	}
	u := strip(obj, c.gvk)
	return rule.evaluate(u.Object, u.GetDeletionTimestamp() != nil)
}

// rule notes what a rule says of an object, if it is still that version and that rule which count.
func (h *Hub) rule(i *interest, c hearing, rule *Rule, v verdict) {
	h.change(func(n *notes) {
		o := i.object
		switch {
		case i.rule == nil || o.live == nil || o.live.ResourceVersion != c.version:
		case i.rule.Key != rule.Key:
			h.submit(i, c)
		default:
			if o.verdicts == nil {
				o.verdicts = map[string]verdict{}
			}
			o.verdicts[rule.Key] = v
			n.fire = append(n.fire, i.owner.settle(i)...)
		}
	})
}

// unjudged tells whether the object was seen, its rule has not been asked, and is not about to be.
func (i *interest) unjudged() bool {
	if i.rule == nil || i.object.live == nil || i.hearing != nil {
		return false
	}
	if i.trial == (trial{i.object.live.ResourceVersion, i.rule.Key}) {
		return false
	}
	_, ok := i.object.verdicts[i.rule.Key]
	return !ok
}

// weigh returns about how many bytes are kept of an object.
func weigh(l *Live) int64 {
	n := 512 + len(l.UID) + len(l.ResourceVersion) + len(l.Message)
	for _, m := range []map[string]string{l.Labels, l.Annotations} {
		for k, v := range m {
			n += 64 + len(k) + len(v)
		}
	}
	for _, m := range l.Managers {
		n += 64 + len(m.Name)
	}
	return int64(n)
}
