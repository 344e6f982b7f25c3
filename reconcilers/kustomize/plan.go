package kustomize

import (
	"cmp"
	"context"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"time"

	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/engine"
)

// asked tells whether the object carries a request for a reconcile that was not answered yet.
func asked(obj *kustomizev1.Kustomization) bool {
	at, ok := obj.Annotations[meta.ReconcileRequestAnnotation]

	return ok && at != obj.Status.LastHandledReconcileAt
}

// observed is what the decision to work depends on.
type observed struct {
	// inputs of this run, and known those of the last apply that succeeded.
	inputs, known string
	// clean says that what was applied then is still as it was.
	clean bool
	// asked says that somebody asked for a reconcile.
	asked bool
	// outdated says that what was fetched from other servers for the build is to be looked at again.
	outdated bool
	// unchecked is how long ago everything was last checked against the API server, and due how long that may be.
	unchecked, due time.Duration
}

// decision says what a run has to do before it looks at health.
type decision struct {
	// work says to build and apply.
	work bool
	// full says to check every object against the API server.
	full bool
}

// decide chooses between doing nothing, applying what changed, and checking everything.
func decide(o observed) decision {
	full := o.asked || (o.known != "" && o.unchecked >= o.due)

	return decision{work: full || o.inputs != o.known || !o.clean || o.outdated, full: full}
}

// outdated tells whether what was fetched is an interval old, which may come somewhat early.
func outdated(fetched, now time.Time, interval time.Duration) bool {
	return !fetched.IsZero() && now.Sub(fetched) >= interval/10*9
}

// plan decides what there is to do, and as whom.
func (r *reconciler) plan(_ context.Context, obj *kustomizev1.Kustomization, s *scope) error {
	var err error
	if s.client, err = r.clientFor(obj); err != nil {
		return err
	}

	if asked(obj) {
		s.memo.end()
	}

	now := r.Now()
	s.attempt = s.memo.begin(attemptOf(obj, s.artifact, s.variables, s.keys()), now)
	s.inputs = strings.Join([]string{
		fmt.Sprint(obj.Generation), s.artifact.Revision, s.artifact.Digest, s.variables.Digest(), s.keys(),
	}, "\n")

	if !slices.Equal(entries(obj.Status.Inventory), s.memo.inventory) {
		s.memo.inputs = ""
	}

	s.decision = decide(observed{
		inputs: s.inputs, known: s.memo.inputs,
		clean:     r.Applier.Clean(ownerOf(obj).ID, s.memo.applied),
		asked:     asked(obj),
		outdated:  outdated(s.memo.fetched, now, obj.Spec.Interval.Duration),
		unchecked: now.Sub(s.memo.checked), due: spread(r.Recheck, string(obj.UID)),
	})

	return nil
}

// spread returns a duration between 80 and 120 % of the one given, always the same for the same name, so that what is
// due for many is not due for all of them at once.
func spread(d time.Duration, name string) time.Duration {
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(name))

	return d*4/5 + d*2/5*time.Duration(hash.Sum32()%1024)/1024
}

// account returns the service account to act as, or nothing.
func (r *reconciler) account(obj *kustomizev1.Kustomization) string {
	return cmp.Or(obj.Spec.ServiceAccountName, r.DefaultServiceAccount)
}

// checkAccount returns an error that says where a name comes from that no service account can have.
func (r *reconciler) checkAccount(obj *kustomizev1.Kustomization) error {
	name, from := obj.Spec.ServiceAccountName, "spec.serviceAccountName"
	if name == "" {
		name, from = r.DefaultServiceAccount, "flag default-service-account"
	}

	if name == "" {
		return nil
	}

	if err := access.CheckAccount(obj.Namespace, name); err != nil {
		return fmt.Errorf("%s: %w", from, err)
	}

	return nil
}

// clientFor returns the client that acts as the service account of the object.
func (r *reconciler) clientFor(obj *kustomizev1.Kustomization) (*access.Client, error) {
	name := r.account(obj)
	if name == "" {
		return r.Access.Own(), nil
	}

	if err := r.checkAccount(obj); err != nil {
		return nil, err
	}

	return r.Access.As(obj.Namespace, name)
}

// progress says what the run is about to do.
func progress(ctx context.Context, obj *kustomizev1.Kustomization, s *scope, what string) string {
	message := fmt.Sprintf("%s for revision %s with a timeout of %s", what, s.artifact.Revision, obj.GetTimeout())
	engine.Progress(ctx, message)

	return message
}

// failed ends the attempt with an error that another one may not meet. What was built and failed is recorded.
func (r *reconciler) failed(obj *kustomizev1.Kustomization, s *scope, reason string, err error) error {
	if s.memo.set != "" {
		r.record(obj, s, reason)
	}

	s.memo.end()

	return engine.Fail(reason, redact(err, s))
}

// record adds the end of the attempt to the history.
func (r *reconciler) record(obj *kustomizev1.Kustomization, s *scope, reason string) time.Duration {
	now := r.Now()
	took := now.Sub(s.attempt.began)
	obj.Status.History.Record(s.memo.set, reason, now, took, historyMetadata(s.artifact))

	return took
}

func historyMetadata(a *meta.Artifact) map[string]string {
	metadata := map[string]string{kustomizev1.HistoryRevisionKey: a.Revision}
	if origin := a.Metadata[originRevision]; origin != "" {
		metadata[kustomizev1.HistoryOriginRevisionKey] = origin
	}

	return metadata
}
