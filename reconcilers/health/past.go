package health

import (
	"context"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"

	"github.com/weir-dev/weir/reconcilers/access"
)

// doubt is how long a list that contradicts what was known has to be wrong. What stands between here and the storage may lag behind it for
// a while: the cache of an API server that has just started, or that is cut off.
const doubt = 3 * time.Second

// past is what a feed knew before it lists its objects anew. A list shows the state of its revision, so it has to show what was known of any
// revision before that.
type past struct {
	seen    uint64         // everything up to it was known
	objects map[key]uint64 // revision of each object
	older   []key          // objects that this list shows as they were before
}

// past returns what the feed knows.
func (h *Hub) past(f *feed) *past {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := &past{seen: f.seen, objects: make(map[key]uint64, len(f.objects))}
	for k, o := range f.objects {
		known := o.floor
		if o.live != nil {
			known = max(known, Revision(o.live.ResourceVersion))
		}
		p.objects[k] = known
	}
	return p
}

// meet notes an object of the list.
func (p *past) meet(s seen) {
	if Revision(s.live.ResourceVersion) < p.objects[s.key] {
		p.older = append(p.older, s.key)
	}
}

// contradicts returns an error if the list, as of the revision, cannot be of the API server that was known before.
func (p *past) contradicts(revision uint64) error {
	if revision == 0 {
		return nil // it does not say
	}
	if revision < p.seen {
		return fmt.Errorf("the API server was restored from a backup: it is at revision %d, and was at %d", revision, p.seen)
	}
	for _, k := range p.older {
		if known := p.objects[k]; known <= revision { // else it was written while the list was made
			return fmt.Errorf("the API server was restored from a backup: \"%s/%s\" is older than at revision %d", k.namespace, k.name, known)
		}
	}
	return nil
}

// witness returns an object that a list as of the revision shows to be older than it was known, or has to have lost. A storage with the past
// that was known has it as of then, or later.
func (p *past) witness(revision uint64) (witness key, known uint64) {
	for _, k := range p.older {
		if p.objects[k] > known {
			witness, known = k, p.objects[k]
		}
	}
	if known > 0 || revision >= p.seen {
		return witness, known
	}
	for k, rev := range p.objects {
		if rev > max(known, revision) {
			witness, known = k, rev
		}
	}
	return witness, known
}

// ponder lists once more what has contradicted the past, and says that the storage was restored from a backup if that is certain. One list is
// no proof: the cache of an API server that lags behind, or whatever stands between, shows the same. So it has to be wrong for a while, and an
// object is read by itself, which an API server answers from the storage and from nothing else.
func (f *feed) ponder(ctx context.Context, p *past) (listing, error) {
	f.pause(ctx, doubt)
	l, err := f.survey(ctx, p)
	if err != nil {
		return l, err
	}
	why := p.contradicts(Revision(l.version))
	if why == nil {
		return l, nil
	}
	if held, err := f.holds(ctx, p, Revision(l.version)); held || err != nil {
		return l, err
	}
	foreign, err := f.aggregated(ctx, l.served)
	if err != nil {
		return l, err
	}
	if foreign { // it counts as it likes, and proves nothing
		f.hub.rewind(f)
		return f.survey(ctx, f.hub.past(f))
	}
	f.hub.restored(why)
	return l, nil
}

// holds tells whether the storage has what a list as of the revision does not show.
func (f *feed) holds(ctx context.Context, p *past, revision uint64) (bool, error) {
	k, known := p.witness(revision)
	if known == 0 {
		return false, nil // there is nothing to be asked for
	}
	id := access.ID{Group: f.gk.Group, Kind: f.gk.Kind, Namespace: k.namespace, Name: k.name}
	m, err := f.hub.client.GetMeta(ctx, access.Ref{ID: id})
	switch {
	case apierrors.IsNotFound(err), apierrors.IsForbidden(err): // who may only list has to believe lists
		return false, nil
	case err != nil:
		return false, err
	}
	return Revision(m.ResourceVersion) >= known, nil
}

// aggregated tells whether somebody else than the API server serves the version of the kind. If that may not be known it counts as so: a
// restore shows in other kinds as well.
func (f *feed) aggregated(ctx context.Context, version string) (bool, error) {
	if !strings.Contains(f.gk.Group, ".") {
		return false, nil
	}
	id := access.ID{Group: "apiregistration.k8s.io", Kind: "APIService", Name: version + "." + f.gk.Group}
	service, err := f.hub.client.Get(ctx, access.Ref{ID: id})
	switch {
	case apierrors.IsForbidden(err):
		return true, nil
	case apierrors.IsNotFound(err), apimeta.IsNoMatchError(err):
		return false, nil
	case err != nil:
		return false, err
	}
	spec, _ := service.Object["spec"].(map[string]any)
	return spec["service"] != nil, nil
}

// rewind forgets which versions were seen, but not what.
func (h *Hub) rewind(f *feed) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f.seen = 0
	for _, o := range f.objects {
		o.floor = 0
		if o.live != nil {
			live := *o.live // others have it
			live.ResourceVersion = ""
			o.live = &live
		}
	}
}
