package instance

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/apply"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/health"
	"github.com/weir-dev/weir/reconcilers/remote"
)

const (
	// connectAgain is when a run looks at the latest whether its cluster is connected to, if nothing wakes it before.
	connectAgain = time.Minute

	// kubeconfigGrace is how long a deletion waits for a kubeconfig that does not exist, in case that somebody is about to put it back.
	kubeconfigGrace = 5 * time.Minute

	// conflictAgain is when a run looks again whether a cluster is still somebody else's, which wakes nobody.
	conflictAgain = 5 * time.Minute

	// retryOutage is how long a run waits at most until it tries a cluster again that cannot be reached.
	retryOutage = 2 * time.Minute

	// remoteInterval is how often a remote cluster is looked at, at the least: that it cannot be reached wakes nobody either.
	remoteInterval = 5 * time.Minute
)

// Place is a cluster that an instance is deployed to.
type Place struct {
	// Client acts as the operator.
	Client *access.Client

	// Applier applies with Client's cluster, and Hub is the one it was made with. Who made them sees to it that the instance
	// runs when they wake its owner.
	Applier *apply.Applier
	Hub     *health.Hub

	// Labels of all objects that are deployed there, beyond those of their owner.
	Labels map[string]string
}

// Away tells whether the place was reached by a kubeconfig. The operator itself, and all that instances refer to, is at Home.
func (p Place) Away() bool { return p.Labels[fluxv1.HubLabel] != "" }

// ownCluster is the id of the cluster that the operator runs in, which is asked for once.
type ownCluster struct {
	mu sync.Mutex
	id string
}

// get returns the id.
func (i *ownCluster) get(ctx context.Context, home *access.Client) (string, error) {
	i.mu.Lock()
	known := i.id
	i.mu.Unlock()
	if known != "" {
		return known, nil
	}
	id, err := identify(ctx, home)
	if err != nil {
		return "", fmt.Errorf("identify the cluster of the operator: %w", err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.id = id
	return id, nil
}

// identify returns the id of a cluster, which stays as it is when its address and its credentials change.
func identify(ctx context.Context, c *access.Client) (string, error) {
	ref := access.Ref{ID: access.ID{Kind: "Namespace", Name: "kube-system"}, Version: "v1"}
	live, err := c.GetMeta(ctx, ref)
	if err != nil {
		return "", fmt.Errorf("get %q: %w", ref, err)
	}
	if live.UID == "" {
		return "", fmt.Errorf("get %q: it has no uid", ref)
	}
	return string(live.UID), nil
}

// placed returns the instance as the components see it: in their own namespace.
func placed(obj *fluxv1.FluxInstance) *fluxv1.FluxInstance {
	if obj.GetTargetNamespace() == obj.Namespace {
		return obj
	}
	p := obj.DeepCopy()
	p.Namespace = obj.GetTargetNamespace()
	return p
}

// look is how often an instance runs if nothing wakes it.
func look(obj *fluxv1.FluxInstance) time.Duration {
	often := interval(obj)
	if obj.IsRemote() {
		often = min(often, remoteInterval)
	}
	if engine.IsTrue(obj, fluxv1.MigrationFailedCondition) {
		often = min(often, migrateAgain)
	}
	return often
}

// ignore leaves instances alone that no operator of this namespace is meant to see. One that was deployed to a remote cluster is ours.
func (r *reconciler) ignore(obj *fluxv1.FluxInstance) *engine.Event {
	if obj.IsRemote() || obj.Namespace == r.Namespace {
		return nil
	}
	return &engine.Event{
		Type: corev1.EventTypeWarning, Severity: meta.EventSeverityTrace, Reason: fluxv1.InvalidSpecReason,
		Message: fmt.Sprintf("Ignored: without spec.kubeConfig an instance has to be in the namespace of the operator, which is %q", r.Namespace),
	}
}

// locate finds the cluster of the instance, and sees to it that it is the one that it was before.
func (r *reconciler) locate(ctx context.Context, obj *fluxv1.FluxInstance, s *scope) error {
	if !obj.IsRemote() {
		s.Place = r.Home
		return nil
	}
	if !obj.DeletionTimestamp.IsZero() {
		return r.reach(ctx, obj, s)
	}
	if obj.Spec.KubeConfig == nil && obj.Namespace != r.Namespace {
		return conflict("spec.kubeConfig is missing, and cluster %q, which the instance is deployed to, is left alone: put it back, or delete the instance",
			obj.Status.Cluster.ID)
	}
	id, err := r.enter(ctx, obj, s)
	if err != nil {
		return notEntered(err)
	}
	return r.settle(ctx, obj, s, id)
}

// enter makes the cluster of the kubeconfig the one that the run is about, and returns its id.
func (r *reconciler) enter(ctx context.Context, obj *fluxv1.FluxInstance, s *scope) (string, error) {
	id, err := r.connect(ctx, obj, s)
	switch {
	case err == nil:
		s.memory.cut = time.Time{}
	case s.memory.cut.IsZero():
		s.memory.cut = r.Now()
	}
	return id, err
}

// retry is when an instance that failed runs again, if it was kept out of its cluster: often enough for it to go on soon after an
// outage. The others back off.
func (r *reconciler) retry(obj *fluxv1.FluxInstance) time.Duration {
	cut := r.memories.get(obj).cut
	if cut.IsZero() {
		return 0
	}
	return min(max(r.Now().Sub(cut)/2, time.Second), retryOutage) //nolint:mnd // each wait is half as long as all before it
}

// connect reaches the cluster, and asks for its id.
func (r *reconciler) connect(ctx context.Context, obj *fluxv1.FluxInstance, s *scope) (id string, err error) {
	home, err := r.home.get(ctx, r.Home.Client)
	if err != nil {
		return "", err
	}
	owner := Owner(obj).ID
	if r.Remote == nil {
		return "", errors.New("this operator has no access to remote clusters")
	}
	if obj.Spec.KubeConfig == nil {
		r.Remote.Release(owner)
		s.Place = r.Home
		return home, nil
	}
	cluster, err := r.Remote.Open(ctx, remote.Request{Owner: owner, Ref: *obj.Spec.KubeConfig})
	if err != nil {
		return "", err
	}
	s.Place = Place{
		Client: cluster.Access.Own(), Applier: cluster.Applier, Hub: cluster.Hub, Labels: map[string]string{fluxv1.HubLabel: home},
	}
	err = r.visit(ctx, obj, s, func(ctx context.Context) error {
		id, err = identify(ctx, s.Client)
		return err
	})
	s.leave() // what comes next is not about this cluster
	return id, err
}

// notEntered says what it means that a cluster cannot be worked in.
func notEntered(err error) error {
	switch _, verdict := errors.AsType[*engine.Verdict](err); {
	case verdict:
		return err
	case errors.Is(err, remote.ErrConnecting):
		return engine.Await(connectAgain, "Connecting to the remote cluster")
	}
	return engine.Fail(meta.ReconciliationFailedReason, fmt.Errorf("reconciliation failed: remote cluster: %w", err))
}

// settle notes the cluster, unless the instance is deployed to another one: that one is neither emptied nor forgotten by surprise.
func (r *reconciler) settle(ctx context.Context, obj *fluxv1.FluxInstance, s *scope, id string) error {
	before, err := r.residence(ctx, obj, s)
	if err != nil {
		return notEntered(err)
	}
	if before != "" && before != id {
		if obj.Annotations[fluxv1.ClusterAnnotation] != id {
			return conflict("the instance is deployed to cluster %q and would move to %q: the annotation %s: %q lets it, and leaves what runs behind",
				before, id, fluxv1.ClusterAnnotation, id)
		}
		r.move(ctx, obj, s, before, id)
	}
	obj.Status.Cluster = nil
	if s.Away() {
		obj.Status.Cluster = &fluxv1.RemoteCluster{ID: id, Namespace: obj.GetTargetNamespace()}
	}
	return nil
}

// residence returns the cluster that the inventory is about, or nothing if it is empty.
func (r *reconciler) residence(ctx context.Context, obj *fluxv1.FluxInstance, s *scope) (string, error) {
	switch {
	case len(s.previous) == 0:
		return "", nil
	case obj.Status.Cluster != nil:
		return obj.Status.Cluster.ID, nil
	}
	return r.home.get(ctx, r.Home.Client)
}

// move begins anew in another cluster.
func (r *reconciler) move(ctx context.Context, obj *fluxv1.FluxInstance, s *scope, before, id string) {
	engine.Emit(ctx, engine.Event{
		Type: corev1.EventTypeWarning, Reason: meta.ProgressingReason,
		Message: fmt.Sprintf("Moving to cluster %q: what runs in cluster %q goes on, and nobody looks after it", id, before),
	})
	if s.Away() {
		r.Home.Applier.Forget(Owner(obj).ID) // it may have been deployed here
	}
	*s.memory, s.previous = memory{uid: obj.UID}, nil
	obj.Status = fluxv1.FluxInstanceStatus{
		LastHandledReconcileAt: obj.Status.LastHandledReconcileAt, LastHandledForceAt: obj.Status.LastHandledForceAt,
		Conditions: obj.Status.Conditions, History: obj.Status.History,
	}
}

// conflict ends a run before it does anything to a cluster that is not the instance's.
func conflict(format string, args ...any) error {
	return &engine.Verdict{
		Outcome: engine.Stalled, Reason: fluxv1.ClusterConflictReason, After: conflictAgain, Err: fmt.Errorf(format, args...),
	}
}

// reach finds the cluster with the objects of an instance that is deleted. One that cannot be reached keeps the instance, as long as there
// are any: whoever wants to leave them behind suspends it. A kubeconfig that is gone keeps it for a while only, for nothing says that it
// will be back.
func (r *reconciler) reach(ctx context.Context, obj *fluxv1.FluxInstance, s *scope) error {
	if obj.Suspended() || len(s.previous) == 0 {
		return engine.Done()
	}
	if obj.Status.Cluster == nil && obj.Namespace != r.Namespace { // none of these has ever been here, whatever its inventory says
		return engine.Done()
	}
	if obj.Status.Cluster == nil { // it was never brought to where the kubeconfig leads
		s.Place = r.Home
		return nil
	}
	id, err := "", remote.ErrMissing
	if obj.Spec.KubeConfig != nil {
		id, err = r.enter(ctx, obj, s)
	}
	switch known := obj.Status.Cluster.ID; {
	case errors.Is(err, remote.ErrMissing) && r.Now().Sub(obj.DeletionTimestamp.Time) > kubeconfigGrace:
		return r.leaveBehind(ctx, obj, err)
	case err != nil:
		return notEntered(err)
	case id != known:
		return conflict("the instance is deployed to cluster %q and the kubeconfig leads to %q, where nothing is deleted", known, id)
	}
	err = r.visit(ctx, obj, s, func(ctx context.Context) error { return r.owned(ctx, obj, s, s.previous) })
	if v, ok := errors.AsType[*engine.Verdict](err); ok && v.Outcome == engine.Stalled {
		return r.leaveBehind(ctx, obj, err)
	}
	return err
}

// leaveBehind ends the deletion of an instance whose objects are out of reach, or somebody else's.
func (*reconciler) leaveBehind(ctx context.Context, obj *fluxv1.FluxInstance, why error) error {
	engine.Emit(ctx, engine.Event{
		Type: corev1.EventTypeWarning, Reason: meta.ReconciliationFailedReason,
		Message: fmt.Sprintf("What is deployed to cluster %q is left there: %v", obj.Status.Cluster.ID, why),
	})
	return engine.Done()
}
