package resourceset

import (
	"cmp"
	"context"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"time"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/engine"
)

// identify makes the client that acts as the service account of the ResourceSet.
func (r *reconciler) identify(_ context.Context, obj *fluxv1.ResourceSet, s *scope) (err error) {
	s.client, err = r.clientFor(obj)
	if err != nil {
		return failing(err)
	}
	return nil
}

// account returns the service account to act as, or nothing.
func (r *reconciler) account(obj *fluxv1.ResourceSet) string {
	return cmp.Or(obj.Spec.ServiceAccountName, r.DefaultServiceAccount)
}

func (r *reconciler) clientFor(obj *fluxv1.ResourceSet) (*access.Client, error) {
	name, from := obj.Spec.ServiceAccountName, "spec.serviceAccountName"
	if name == "" {
		name, from = r.DefaultServiceAccount, "flag default-service-account"
	}
	if name == "" {
		return r.Access.Own(), nil
	}
	c, err := r.Access.As(obj.Namespace, name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", from, err)
	}
	return c, nil
}

// asked tells whether the object carries a request for a reconcile that was not answered yet.
func asked(obj *fluxv1.ResourceSet) bool {
	at, ok := obj.Annotations[meta.ReconcileRequestAnnotation]
	return ok && at != obj.Status.LastHandledReconcileAt
}

// observed is what the decision to work depends on.
type observed struct {
	// key of this run, and known that of the last apply that succeeded.
	key, known string
	// clean says that what was applied then is still as it was.
	clean bool
	// asked says that somebody asked for a reconcile.
	asked bool
	// jobs says that there may be failed Jobs to create anew, and fresh that nobody has looked in this attempt.
	jobs, fresh bool
	// unchecked is how long ago everything was last checked against the API server, and due how long that may be.
	unchecked, due time.Duration
}

// decision says what a run has to do before it looks at health.
type decision struct {
	// work says to render and apply.
	work bool
	// full says to check every object against the API server.
	full bool
}

// choose chooses between doing nothing, applying what changed, and checking everything.
func choose(o observed) decision {
	full := o.asked || o.known != "" && o.unchecked >= o.due
	return decision{work: full || o.key != o.known || !o.clean || o.jobs && o.fresh, full: full}
}

// decide finds out what there is to do.
func (r *reconciler) decide(ctx context.Context, obj *fluxv1.ResourceSet, s *scope) error {
	inputs := strings.Join([]string{
		s.client.Identity(), fmt.Sprint(meta.Enabled(obj.Annotations, fluxv1.ForceAnnotation)), s.versions,
	}, "\n")
	now := r.Now()
	_, fresh := s.memo.begin(attemptKey{
		generation: obj.Generation, inputs: inputs, asked: obj.Annotations[meta.ReconcileRequestAnnotation],
	}, now)
	s.base = fmt.Sprintf("%d\n%s", obj.Generation, inputs)
	s.key = s.base + "\n" + r.fingerprint(ctx, obj, s)
	if !slices.Equal(entries(obj.Status.Inventory), s.memo.inventory) {
		s.memo.key = ""
	}
	s.decision = choose(observed{
		key: s.key, known: s.memo.key, clean: r.Applier.Clean(ownerOf(obj).ID, s.memo.applied), asked: asked(obj),
		jobs: s.memo.jobs, fresh: fresh, unchecked: now.Sub(s.memo.checked), due: spread(r.Recheck, string(obj.UID)),
	})
	return nil
}

// fingerprint returns the versions of what the set refers to, as far as it is known from the last run. What cannot be read now makes a
// run that says so.
func (r *reconciler) fingerprint(ctx context.Context, obj *fluxv1.ResourceSet, s *scope) string {
	if s.memo.key == "" && s.memo.attempt.set == nil {
		return "" // it is rendered in any case
	}
	versions := make([]string, 0, len(s.memo.refs))
	read := r.reader(obj, s.client)
	for _, ref := range s.memo.refs {
		live, err := read.Get(ctx, ref)
		if err != nil {
			return "unknown at " + r.Now().String()
		}
		versions = append(versions, version(ref, live))
	}
	return strings.Join(versions, "\n")
}

// spread returns a duration between 80 and 120 % of the one given, always the same for the same name, so that what is
// due for many is not due for all of them at once.
func spread(d time.Duration, name string) time.Duration {
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(name))
	return d*4/5 + d*2/5*time.Duration(hash.Sum32()%1024)/1024
}

// failing is the verdict about a failure that another attempt may not meet.
func failing(err error) error {
	return engine.Fail(meta.ReconciliationFailedReason, fmt.Errorf("reconciliation failed: %w", err))
}
