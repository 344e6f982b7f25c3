package helm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	v2 "github.com/weir-dev/weir/api/helm/v2"
	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/helm/kube"
	"github.com/weir-dev/weir/reconcilers/remote"
)

const (
	// connectAgain is when a run looks at the latest whether its cluster is connected to, if nothing wakes it before.
	connectAgain = time.Minute

	// turnAgain is when a run that could not visit its cluster looks at the latest whether it may.
	turnAgain = 30 * time.Second
)

// enter gets into the cluster of the release, as its service account and with a permit to work there.
func (r *reconciler) enter(ctx context.Context, obj *v2.HelmRelease, s *scope) error {
	if s.site != nil {
		return nil
	}

	if err := r.checkAccount(obj); err != nil {
		return engine.Fail(v2.RESTClientErrorReason, err)
	}

	if obj.Spec.KubeConfig != nil {
		return r.enterRemote(ctx, obj, s)
	}

	r.Remote.Release(ownerOf(obj)) // there may have been one before

	var err error
	if s.client, err = r.localClient(obj); err != nil {
		return engine.Fail(v2.RESTClientErrorReason, err)
	}

	if s.permit, err = r.Permits.Take(ctx); err != nil {
		return fmt.Errorf("wait for a turn: %w", err)
	}

	s.site = r

	return nil
}

func (r *reconciler) enterRemote(ctx context.Context, obj *v2.HelmRelease, s *scope) error {
	owner := ownerOf(obj)
	r.Applier.Forget(owner) // it may have been here before

	cluster, err := r.Remote.Open(ctx, remote.Request{Owner: owner, Ref: *obj.Spec.KubeConfig, ServiceAccount: r.account(obj)})

	switch {
	case errors.Is(err, remote.ErrConnecting):
		return engine.Await(connectAgain, "Connecting to the remote cluster")
	case err != nil:
		return engine.Fail(v2.RESTClientErrorReason, fmt.Errorf("could not create REST client getter: %w", err))
	}

	if s.visit, err = r.Remote.Visit(owner); errors.Is(err, remote.ErrBusy) {
		return engine.Await(turnAgain, err.Error())
	} else if err != nil {
		return engine.Fail(v2.RESTClientErrorReason, err)
	}

	permit, err := r.RemotePermits.Take(ctx)
	if err != nil {
		return fmt.Errorf("wait for a turn: %w", err)
	}

	site := *r
	site.Access, site.Hub, site.Applier = cluster.Access, cluster.Hub, cluster.Applier
	s.site, s.client = &site, cluster.Access.Own()
	s.permit = &visiting{Permit: permit, begin: func() (*remote.Visit, error) { return r.Remote.Visit(owner) }, visit: s.visit}

	return nil
}

// visiting is the permit to work in a remote cluster. Who waits does not visit it, so that waiting does not make a cluster slow.
type visiting struct {
	kube.Permit
	begin func() (*remote.Visit, error)

	mu    sync.Mutex
	visit *remote.Visit
}

// Release implements kube.Permit.
func (v *visiting) Release() {
	v.mu.Lock()
	defer v.mu.Unlock()

	v.Permit.Release()

	if v.visit != nil {
		v.visit.Leave()
		v.visit = nil
	}
}

// Take implements kube.Permit. Who has begun goes on, even if others are slow by now: half an action is worse than a slow one.
func (v *visiting) Take(ctx context.Context) error {
	v.mu.Lock()
	defer v.mu.Unlock()

	if err := v.Permit.Take(ctx); err != nil {
		return err //nolint:wrapcheck // it says what it is about
	}

	if v.visit == nil {
		v.visit, _ = v.begin() // see above
	}

	return nil
}

// account returns the name of the service account that the HelmRelease acts as, empty if it acts as the process.
func (r *reconciler) account(obj *v2.HelmRelease) string {
	return cmp.Or(obj.Spec.ServiceAccountName, r.DefaultServiceAccount)
}

// checkAccount returns an error that says where a name comes from that no service account can have.
func (r *reconciler) checkAccount(obj *v2.HelmRelease) error {
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

// localClient returns the client that acts as the service account of the object in the cluster that this is.
func (r *reconciler) localClient(obj *v2.HelmRelease) (*access.Client, error) {
	if name := r.account(obj); name != "" {
		return r.Access.As(obj.Namespace, name) //nolint:wrapcheck // it says what it is about
	}

	return r.Access.Own(), nil
}

func ownerOf(obj *v2.HelmRelease) access.ID { return Owner(client.ObjectKeyFromObject(obj)).ID }
