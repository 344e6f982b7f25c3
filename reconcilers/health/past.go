package health

import "fmt"

// past is what a feed knew before it lists its objects anew. A list shows the state of its revision, so it has to show what was known of any
// revision before that.
type past struct {
	seen    uint64         // everything up to it was known
	objects map[key]uint64 // revision of each object
	older   []uint64       // revisions of objects that have been met as they were before
	name    string         // of one of them
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
	if known := p.objects[s.key]; Revision(s.live.ResourceVersion) < known {
		p.older, p.name = append(p.older, known), s.key.namespace+"/"+s.key.name
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
	for _, known := range p.older {
		if known <= revision { // else it was written while the list was made
			return fmt.Errorf("the API server was restored from a backup: %q is older than at revision %d", p.name, known)
		}
	}
	return nil
}
