package migration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/weir-dev/weir/reconcilers/access"
)

const (
	defaultConcurrency = 8
	// most is how many failures are collected. Where so many fail, the others do as well.
	most = 100
	// attempts is how often something is tried that somebody else changes at the same time.
	attempts = 5
)

// Options of a Migration.
type Options struct {
	// Manager is the field manager. It is required, and ends up as the manager of no field.
	Manager string
	// Stay are the versions that managed fields may be in. The fields of others are moved to the storage version. Empty
	// stands for those that the definition serves.
	Stay []string
	// Keep leaves status.storedVersions alone: it is for a definition whose objects are in place already, and of which only
	// fields are to be moved.
	Keep bool
	// Most is the number of objects after which a Run ends, at the end of a page of 500 of them. Zero stands for no end.
	Most int
	// Concurrency is the number of requests in parallel. Zero stands for 8.
	Concurrency int
}

// fit are the options for a definition, with those that were left out.
func (o Options) fit(d *Definition) Options {
	if o.Concurrency <= 0 {
		o.Concurrency = defaultConcurrency
	}
	if len(o.Stay) == 0 {
		o.Stay = d.Served
	}
	return o
}

// Migration brings the objects of one definition to its storage version. It is used by one goroutine at a time. It remembers how far it
// has come, and what has failed, but not what it has done: it is as large for many objects as for a few.
type Migration struct {
	definition *Definition
	options    Options
	progress   func(objects int)

	next   string // where the list goes on
	listed bool   // to its end
	left   []item // those that have failed so far

	mu       sync.Mutex
	failures []Failure
	done     int
}

type item = *metav1.PartialObjectMetadata

// ErrUnfinished says that another Run is to go on.
var ErrUnfinished = errors.New("there are objects left to be migrated")

// New makes the migration of a definition that Read returned. The error says which option is missing.
func New(d *Definition, o Options) (*Migration, error) {
	if o.Manager == "" {
		return nil, errors.New("a migration needs a field manager")
	}
	return &Migration{definition: d, options: o.fit(d)}, nil
}

// Run stores all objects of the definition in its storage version and then, if that worked for each of them, says so in
// status.storedVersions. If the definition was changed since it was read, the error is a conflict (apierrors.IsConflict), and
// what Read returns then needs another migration. Objects that go meanwhile are no failures, and neither are those that somebody
// writes: that stores them too. It goes on after a failure and returns all of them as *Error. The number is that of the objects
// that are in place; progress, if it is not nil, is told of it from time to time, and must not block. It may be cut off at any point:
// another Run goes on with what is left, a Migration that is made anew begins again. With Options.Most it ends with ErrUnfinished
// when it has done its share.
func (m *Migration) Run(ctx context.Context, c *access.Client, progress func(objects int)) (objects int, err error) {
	m.failures, m.progress = nil, progress
	p := &pass{Migration: m, client: c}
	if err := p.each(ctx); err != nil {
		return m.done, err
	}
	if err := m.failed(); err != nil {
		return m.done, err
	}
	if m.options.Keep || m.definition.Settled() {
		return m.done, nil
	}
	return m.done, p.settle(ctx)
}

// Fits tells whether the migration is what New would make: of the definition as it is now, for what was done for another spec has to be
// done again; and with the options.
func (m *Migration) Fits(d *Definition, o Options) bool {
	return m.definition.same(d) && reflect.DeepEqual(m.options, o.fit(d))
}

// pass is one run of a migration.
type pass struct {
	*Migration
	client *access.Client
}

// each brings over the objects that have failed before, and those that are left of the list, page by page.
func (p *pass) each(ctx context.Context) error {
	again := p.left
	p.left = nil
	if err := p.all(ctx, again); err != nil {
		p.left = again
		return err
	}
	for tried := len(again); !p.listed && len(p.left) < most; {
		if p.options.Most > 0 && tried >= p.options.Most {
			return ErrUnfinished
		}
		page, next, err := p.page(ctx)
		if err != nil {
			return err
		}
		failed := len(p.left)
		if err := p.all(ctx, page); err != nil {
			p.left = p.left[:failed]
			return err
		}
		p.next, p.listed = next, next == ""
		tried += len(page)
	}
	return nil
}

// page returns the objects of the next page. When the API server no longer remembers the list, it goes on with one of what is there now:
// what has come since is stored as it should be. If it cannot do that either, all is looked at once more.
func (p *pass) page(ctx context.Context) (page []item, next string, err error) {
	for moved := false; ; {
		page = nil
		next, err = p.client.Page(ctx, p.definition.GroupKind, access.Query{}, p.next, func(i access.Item) error {
			page = append(page, i.Meta)
			return nil
		})
		switch {
		case err == nil:
			return page, next, nil
		case apierrors.IsResourceExpired(err) && p.next != "":
			p.next = access.Renewed(err)
			continue
		case apierrors.IsNotFound(err) && !moved: // served in another version than before
			moved = true
			continue
		case apimeta.IsNoMatchError(err) && len(p.definition.Served) == 0:
			return nil, "", fmt.Errorf("definition %q serves no version in which its objects could be migrated", p.definition.Name)
		}
		return nil, "", fmt.Errorf("list the objects of %q: %w", p.definition.Name, err)
	}
}

// all brings over the objects. The error is that of the context: nothing of it counts then, and it is done again.
func (p *pass) all(ctx context.Context, items []item) error {
	before := p.done
	work := make(chan item)
	var wg sync.WaitGroup
	for range min(p.options.Concurrency, len(items)) {
		wg.Go(func() {
			for i := range work {
				p.count(ctx, i, p.bring(ctx, i))
			}
		})
	}
	for _, i := range items {
		select {
		case work <- i:
			continue
		case <-ctx.Done():
		}
		break
	}
	close(work)
	wg.Wait()
	if ctx.Err() != nil {
		p.done = before
		return context.Cause(ctx)
	}
	return nil
}

// count notes what became of an object. What was cut off is no failure of the object's.
func (m *Migration) count(ctx context.Context, i item, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case err == nil:
		m.done++
		if m.progress != nil && m.done%100 == 0 {
			m.progress(m.done)
		}
	case ctx.Err() == nil:
		m.failures = append(m.failures, Failure{ID: m.identify(i), Err: err})
		m.left = append(m.left, i)
	}
}

func (m *Migration) identify(item item) access.ID {
	return access.ID{Group: m.definition.Group, Kind: m.definition.Kind, Namespace: item.Namespace, Name: item.Name}
}

// failed returns the failures, if there were any.
func (m *Migration) failed() error {
	if len(m.failures) == 0 {
		return nil
	}
	slices.SortFunc(m.failures, func(a, b Failure) int { return a.Compare(b.ID) })
	return &Error{Definition: m.definition.Name, Failures: m.failures, Count: len(m.failures)}
}

// bring stores one object in the storage version.
func (p *pass) bring(ctx context.Context, item item) error {
	ref := access.Ref{ID: p.identify(item)}
	for attempt := 1; ; attempt++ {
		err := p.rewrite(ctx, ref, item)
		if apierrors.IsConflict(err) && attempt < attempts {
			item, err = p.client.GetMeta(ctx, ref)
			if err == nil {
				continue
			}
		}
		if isGone(err) {
			return nil
		}
		return err
	}
}

// isGone tells the end of an object from that of the address at which its kind was served.
func isGone(err error) bool {
	var status apierrors.APIStatus
	if !apierrors.IsNotFound(err) || !errors.As(err, &status) {
		return false
	}
	details := status.Status().Details
	return details != nil && details.Name != ""
}

// rewrite sends a patch that changes nothing, which makes the API server store the object anew if it is stored in another version;
// or one that moves the managed fields, as of the object that was seen: those that somebody adds meanwhile would be lost.
func (p *pass) rewrite(ctx context.Context, ref access.Ref, item item) error {
	moved, err := move(item.ManagedFields, p.definition.Group, p.options.Stay, p.definition.Storage)
	if err != nil {
		return err
	}
	if moved == nil && p.options.Keep {
		return nil
	}
	patch := []byte(`{}`)
	if moved != nil {
		patch, err = json.Marshal(map[string]any{"metadata": map[string]any{
			"uid": item.UID, "resourceVersion": item.ResourceVersion, "managedFields": moved,
		}})
		if err != nil {
			return fmt.Errorf("encode managed fields: %w", err)
		}
	}
	_, err = p.client.Patch(ctx, ref, types.MergePatchType, patch, access.PatchOptions{Manager: p.options.Manager})
	return err
}

// settle says that all objects are stored in the storage version, unless the definition was changed meanwhile: what was written
// after that may be stored in another one.
func (p *pass) settle(ctx context.Context) error {
	d := p.definition
	for attempt := 1; ; attempt++ {
		body, err := json.Marshal(map[string]any{
			"metadata": map[string]any{"uid": d.uid, "resourceVersion": d.resourceVersion},
			"status":   map[string]any{"storedVersions": []string{d.Storage}},
		})
		if err != nil {
			return fmt.Errorf("encode status of %q: %w", d.Name, err)
		}
		_, err = p.client.Patch(ctx, Ref(d.Name), types.MergePatchType, body, access.PatchOptions{
			Manager: p.options.Manager, Subresource: "status",
		})
		if err == nil || isGone(err) {
			return nil
		}
		if !apierrors.IsConflict(err) || attempt == attempts {
			return fmt.Errorf("set the stored versions of %q: %w", d.Name, err)
		}
		live, gone := Read(ctx, p.client, d.Name)
		if gone != nil {
			return fmt.Errorf("set the stored versions of %q: %w", d.Name, gone)
		}
		if !live.same(d) {
			return fmt.Errorf("the definition %q was changed while its objects were migrated: %w", d.Name, err)
		}
		d = live
	}
}
