package migration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
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

// Options of one Migrate.
type Options struct {
	// Manager is the field manager. It is required, and ends up as the manager of no field.
	Manager string
	// Stay are the versions that managed fields may be in. The fields of others are moved to the storage version. Empty
	// stands for those that the definition serves.
	Stay []string
	// Keep leaves status.storedVersions alone: it is for a definition whose objects are in place already, and of which only
	// fields are to be moved.
	Keep bool
	// Concurrency is the number of requests in parallel. Zero stands for 8.
	Concurrency int
	// Progress is optionally told, from time to time, how many objects were looked at. It must not block.
	Progress func(objects int)
}

// Migrate stores all objects of the definition in its storage version and then, if that worked for each of them, says so in
// status.storedVersions. The definition is one that Read returned; if it was changed since, the error is a conflict
// (apierrors.IsConflict) and Read has a new one. Objects that go meanwhile are no failures, and neither are those that somebody
// writes: that stores them too. It goes on after a failure and returns all of them as *Error. The number is that of the objects
// that are in place. It may be cut off at any point and begun again.
func Migrate(ctx context.Context, c *access.Client, d *Definition, o Options) (objects int, err error) {
	if o.Manager == "" {
		return 0, errors.New("a migration needs a field manager")
	}
	if o.Concurrency <= 0 {
		o.Concurrency = defaultConcurrency
	}
	if len(o.Stay) == 0 {
		o.Stay = d.Served
	}
	m := &migration{client: c, definition: d, options: o}
	if err := m.each(ctx); err != nil {
		return m.done, err
	}
	if err := m.failed(); err != nil {
		return m.done, err
	}
	if o.Keep || d.Settled() {
		return m.done, nil
	}
	return m.done, m.settle(ctx)
}

// migration is one on its way.
type migration struct {
	client     *access.Client
	definition *Definition
	options    Options

	mu       sync.Mutex
	seen     map[types.UID]struct{} // objects that need no second look when a list has to be begun anew
	failures []Failure
	done     int
}

// errMany ends a list when there is no point in going on.
var errMany = errors.New("too many failures")

// each brings over all objects. A list that takes longer than the API server remembers is begun anew.
func (m *migration) each(ctx context.Context) error {
	m.seen = map[types.UID]struct{}{}
	for moved := false; ; {
		err := m.pass(ctx)
		switch {
		case err == nil, errors.Is(err, errMany):
			return nil
		case apierrors.IsResourceExpired(err), apierrors.IsGone(err):
			continue
		case apierrors.IsNotFound(err) && !moved: // served in another version than before
			moved = true
			continue
		case apimeta.IsNoMatchError(err) && len(m.definition.Served) == 0:
			return fmt.Errorf("definition %q serves no version in which its objects could be migrated", m.definition.Name)
		}
		return fmt.Errorf("list the objects of %q: %w", m.definition.Name, err)
	}
}

// pass lists the objects, page by page, while others bring over those that it has found.
func (m *migration) pass(ctx context.Context) error {
	work := make(chan *metav1.PartialObjectMetadata)
	var wg sync.WaitGroup
	for range m.options.Concurrency {
		wg.Go(func() {
			for item := range work {
				m.count(ctx, item, m.bring(ctx, item))
			}
		})
	}
	_, err := m.client.Each(ctx, m.definition.GroupKind, access.Query{}, func(item access.Item) error {
		again, err := m.again(item.Meta.UID)
		if again || err != nil {
			return err
		}
		select {
		case work <- item.Meta:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	})
	close(work)
	wg.Wait()
	return err
}

// again tells whether the object was dealt with before, or there were so many failures that no more is tried.
func (m *migration) again(uid types.UID) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.failures) >= most {
		return false, errMany
	}
	_, ok := m.seen[uid]
	return ok, nil
}

// count notes what became of an object. What was cut off is no failure of the object's.
func (m *migration) count(ctx context.Context, item *metav1.PartialObjectMetadata, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case err == nil:
		m.done++
		if m.options.Progress != nil && m.done%100 == 0 {
			m.options.Progress(m.done)
		}
	case ctx.Err() != nil:
		return
	default:
		m.failures = append(m.failures, Failure{ID: m.identify(item), Err: err})
	}
	m.seen[item.UID] = struct{}{}
}

func (m *migration) identify(item *metav1.PartialObjectMetadata) access.ID {
	return access.ID{Group: m.definition.Group, Kind: m.definition.Kind, Namespace: item.Namespace, Name: item.Name}
}

// failed returns the failures, if there were any.
func (m *migration) failed() error {
	if len(m.failures) == 0 {
		return nil
	}
	slices.SortFunc(m.failures, func(a, b Failure) int { return a.Compare(b.ID) })
	return &Error{Definition: m.definition.Name, Failures: m.failures, Count: len(m.failures)}
}

// bring stores one object in the storage version.
func (m *migration) bring(ctx context.Context, item *metav1.PartialObjectMetadata) error {
	ref := access.Ref{ID: m.identify(item)}
	for attempt := 1; ; attempt++ {
		err := m.rewrite(ctx, ref, item)
		if apierrors.IsConflict(err) && attempt < attempts {
			item, err = m.client.GetMeta(ctx, ref)
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
func (m *migration) rewrite(ctx context.Context, ref access.Ref, item *metav1.PartialObjectMetadata) error {
	moved, err := move(item.ManagedFields, m.definition.Group, m.options.Stay, m.definition.Storage)
	if err != nil {
		return err
	}
	if moved == nil && m.options.Keep {
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
	_, err = m.client.Patch(ctx, ref, types.MergePatchType, patch, access.PatchOptions{Manager: m.options.Manager})
	return err
}

// settle says that all objects are stored in the storage version, unless the definition was changed meanwhile: what was written
// after that may be stored in another one.
func (m *migration) settle(ctx context.Context) error {
	d := m.definition
	for attempt := 1; ; attempt++ {
		body, err := json.Marshal(map[string]any{
			"metadata": map[string]any{"uid": d.uid, "resourceVersion": d.resourceVersion},
			"status":   map[string]any{"storedVersions": []string{d.Storage}},
		})
		if err != nil {
			return fmt.Errorf("encode status of %q: %w", d.Name, err)
		}
		_, err = m.client.Patch(ctx, Ref(d.Name), types.MergePatchType, body, access.PatchOptions{
			Manager: m.options.Manager, Subresource: "status",
		})
		if err == nil || isGone(err) {
			return nil
		}
		if !apierrors.IsConflict(err) || attempt == attempts {
			return fmt.Errorf("set the stored versions of %q: %w", d.Name, err)
		}
		live, gone := Read(ctx, m.client, d.Name)
		if gone != nil {
			return fmt.Errorf("set the stored versions of %q: %w", d.Name, gone)
		}
		if !live.same(d) {
			return fmt.Errorf("the definition %q was changed while its objects were migrated: %w", d.Name, err)
		}
		d = live
	}
}
