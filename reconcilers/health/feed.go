package health

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/weir-dev/weir/reconcilers/access"
)

const (
	minRetry = 100 * time.Millisecond
	maxRetry = 30 * time.Second
	// blindRetry is how often a watch that was refused is tried again: rights rarely change.
	blindRetry = 2 * time.Minute
)

// source is what one watch shows: the objects of a kind that carry a label, or, without label, a single one by name.
type source struct {
	gk              schema.GroupKind
	label           string
	namespace, name string
}

type state int

const (
	opening  state = iota // has seen nothing yet
	open                  // knows everything up to seen
	unserved              // the kind does not exist, so its objects do not
	blind                 // may not be watched
)

// feed is one watch, and what it has shown. One goroutine runs it. Its fields are guarded by the hub's lock.
type feed struct {
	source
	hub     *Hub
	version string
	state   state
	err     error         // why it is blind
	first   chan struct{} // closed when it is no longer opening
	wakeup  chan struct{} // ends a pause
	cancel  context.CancelFunc
	seen    uint64
	objects map[key]*object
	named   map[string]map[*object]struct{} // existing objects by the value of the label
	refs    int                             // interests
	ruled   int                             // interests with a rule
	idle    int                             // counts the times that it became idle
	closed  bool
}

// object is an object that is tracked, or exists with the label.
type object struct {
	id       access.ID
	live     *Live // nil: not seen, or gone
	floor    uint64
	watchers []*interest
	verdicts map[string]verdict // by key of the rule
	polled   bool               // seen since its feed is blind
	written  bool               // and observers have not been told of it since
	size     int64              // of live, in the hub's room
}

// kick ends a pause between attempts.
func (f *feed) kick() {
	select {
	case f.wakeup <- struct{}{}:
	default:
	}
}

// knows tells what is known of one of the feed's objects.
func (f *feed) knows(o *object) Knowledge {
	switch {
	case f.state == opening:
		return Unknown
	case f.state == blind:
		return Blind
	case o == nil || o.live == nil:
		if o != nil && f.seen < o.floor {
			return Behind
		}
		return Absent
	case Revision(o.live.ResourceVersion) < o.floor:
		return Behind
	}
	return Present
}

// run lists and watches until the feed is closed.
func (f *feed) run(ctx context.Context) {
	retry := minRetry
	for ctx.Err() == nil {
		version, err := f.list(ctx)
		if err == nil {
			listed := version
			if err = f.follow(ctx, &version); version != listed {
				retry = minRetry // it went well for a while
			}
		}
		pause := retry
		if f.fail(err) == blind {
			pause = blindRetry
		}
		retry = min(retry*2, maxRetry)
		f.rest(ctx, pause)
	}
}

// follow watches until everything has to be listed again. Only a watch that the API server ended, after it had shown something, is taken up
// where it ended. One that was cut, or not to be had, is not: the API server that answers next may have another past, for its storage was
// restored from a backup, and nothing in a watch that is taken up tells of that.
func (f *feed) follow(ctx context.Context, version *string) error {
	for {
		before := *version
		if err := f.watch(ctx, version); !errors.Is(err, io.EOF) || *version == before {
			return err
		}
	}
}

func (f *feed) query() access.Query {
	q := access.Query{Namespace: f.namespace, Labels: f.label, Full: !bare(f.gk)}
	if f.name != "" {
		q.Fields = "metadata.name=" + f.name
	}
	return q
}

// listing is what a list has shown.
type listing struct {
	version string // from which a watch goes on
	served  string // version of the kind
	found   map[key]struct{}
}

func (f *feed) list(ctx context.Context) (string, error) {
	past := f.hub.past(f)
	l, err := f.survey(ctx, past)
	if err == nil && f.hub.restored != nil && past.contradicts(Revision(l.version)) != nil {
		l, err = f.ponder(ctx, past)
	}
	if err != nil {
		return "", err
	}
	f.hub.listed(f, l.found, Revision(l.version), l.served)
	return l.version, nil
}

// survey lists the objects, shows them and compares them with the past.
func (f *feed) survey(ctx context.Context, past *past) (listing, error) {
	client := f.hub.client
	m, err := client.Mapping(ctx, f.gk, "")
	if err != nil {
		return listing{}, err
	}
	gvk := m.GroupVersion().WithKind(m.Kind)
	l := listing{served: gvk.Version, found: map[key]struct{}{}}
	past.older = nil
	l.version, err = client.Each(ctx, f.gk, f.query(), func(item access.Item) error {
		s, err := f.look(item, gvk)
		if err != nil {
			return err
		}
		l.found[s.key] = struct{}{}
		past.meet(s)
		return f.hub.show(f, s)
	})
	return l, err
}

// watch goes on from the version and moves it along.
func (f *feed) watch(ctx context.Context, version *string) error {
	gvk := schema.GroupVersionKind{Group: f.gk.Group, Version: f.version, Kind: f.gk.Kind}
	w, err := f.hub.client.Watch(ctx, f.gk, f.query(), *version)
	if err != nil {
		return err
	}
	defer w.Close()
	for {
		e, err := w.Next()
		if err != nil {
			return err
		}
		if e.Type == watch.Bookmark {
			*version = e.ResourceVersion
			f.hub.mark(f, Revision(*version))
			continue
		}
		s, err := f.look(e.Item, gvk)
		if err != nil {
			return err
		}
		*version = s.live.ResourceVersion
		if e.Type == watch.Deleted {
			f.hub.hide(f, s.key, Revision(*version))
		} else if err := f.hub.show(f, s); err != nil {
			return err
		}
	}
}

// look reads what an item shows. What rules in force say of it is found out later.
func (f *feed) look(item access.Item, gvk schema.GroupVersionKind) (seen, error) {
	s, err := see(item)
	if err != nil {
		return seen{}, err
	}
	if bare(f.gk) {
		s.live.Status, s.live.Message = existing(s.live.Deleting)
	} else {
		s.assess(gvk)
	}
	out := seen{sight: s, gvk: gvk}
	if s.raw != nil && len(f.hub.rules(f, s.key)) > 0 {
		out.evidence = bytes.Clone(s.raw)
	}
	return out, nil
}

// seen is a sight with what the rules in force say of it, or a copy of the object for them.
type seen struct {
	sight
	gvk      schema.GroupVersionKind
	verdicts map[string]verdict
	evidence []byte
}

func (s *sight) judge(gvk schema.GroupVersionKind, rules []Rule) (map[string]verdict, error) {
	obj, err := s.whole(gvk)
	if err != nil {
		return nil, err
	}
	out := make(map[string]verdict, len(rules))
	for _, r := range rules {
		out[r.Key] = r.evaluate(obj, s.live.Deleting)
	}
	return out, nil
}

// fail notes why nothing is seen at the moment. What was seen before stays, unless it can no longer be true.
func (f *feed) fail(err error) state {
	switch {
	case err == nil:
		return open
	case apimeta.IsNoMatchError(err):
		f.hub.vanish(f)
		return unserved
	case isRefusal(err):
		f.hub.refuse(f, err)
		return blind
	}
	return opening
}

// isRefusal tells refusals from failures. More objects than there is room for are one of our own.
func isRefusal(err error) bool {
	return apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) || apierrors.IsMethodNotSupported(err) ||
		errors.Is(err, access.ErrNoRoom)
}

// pause waits, whoever kicks.
func (f *feed) pause(ctx context.Context, d time.Duration) {
	t := f.hub.clock.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C():
	case <-ctx.Done():
	}
}

// rest pauses for about the duration, or until it is kicked.
func (f *feed) rest(ctx context.Context, d time.Duration) {
	t := f.hub.clock.NewTimer(d/2 + rand.N(d))
	defer t.Stop()
	select {
	case <-t.C():
	case <-f.wakeup:
	case <-ctx.Done():
	}
}
