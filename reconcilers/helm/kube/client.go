package kube

import (
	"context"
	"fmt"
	"sync"
	"time"

	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/chartutil"
	helmkube "helm.sh/helm/v3/pkg/kube"
	"helm.sh/helm/v3/pkg/storage"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/cli-runtime/pkg/resource"

	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/apply"
	"github.com/weir-dev/weir/reconcilers/health"
)

// Options of a Client.
type Options struct {
	// Client acts as the identity of the release. It is required, as are Hub and Applier, which are those of its cluster.
	Client  *access.Client
	Hub     *health.Hub
	Applier *apply.Applier
	// Owner is the HelmRelease, its label prefix, and the field manager.
	Owner apply.Owner
	// Release and Namespace are those of Helm's release. Objects without a namespace go to that one.
	Release, Namespace string
	// ServerSide applies on the server's side. Otherwise changes are merged by the client.
	ServerSide bool
	// TakeOwnership takes objects over that exist without belonging to the release.
	TakeOwnership bool
	// Timeout of the wait for definitions and namespaces of the release to take effect. Zero stands for a minute.
	Timeout time.Duration
	// Permit of who runs the action, given back during waits. Nil if there is none.
	Permit Permit
	// Rules compute the health of kinds.
	Rules map[schema.GroupKind]health.Rule
	// Legacy waits for the kinds that Helm 3 waited for, and takes all others for ready.
	Legacy bool
	// Interrupted returns why a wait is of no use any more, or nil. It is asked every few seconds, and must not take long. Nil means
	// that nothing interrupts waits.
	Interrupted func() error
	// Definitions are about to be in the cluster: what they define counts as served.
	Definitions []*unstructured.Unstructured
	// Log takes what Helm has to say. Nil discards it.
	Log func(format string, args ...any)
}

// Client implements kube.Interface, InterfaceExt, InterfaceThreeWayMerge, InterfaceDeletionPropagation and InterfaceLogs of
// Helm's, for one action. Its methods may be called concurrently.
//
// Run actions without a context of their own: with one, Helm returns when it ends and goes on in the background. What ends the
// context of the Client ends the action, in good order.
type Client struct {
	Options
	ctx  context.Context //nolint:containedctx // Helm's interface has none
	loan *access.Loan

	mu      sync.Mutex
	readers map[schema.GroupVersion]resource.RESTClient
	written map[access.ID]string   // resource version of the last write
	spared  map[access.ID]struct{} // not deleted, because they are somebody else's
	logs    []HookLog
}

var (
	_ helmkube.Interface                    = (*Client)(nil)
	_ helmkube.InterfaceExt                 = (*Client)(nil)
	_ helmkube.InterfaceThreeWayMerge       = (*Client)(nil)
	_ helmkube.InterfaceDeletionPropagation = (*Client)(nil)
	_ helmkube.InterfaceLogs                = (*Client)(nil)
)

// New makes a client for an action that ends with the context. It sends no request.
func New(ctx context.Context, o Options) *Client {
	if o.Log == nil {
		o.Log = func(string, ...any) {}
	}
	if o.Permit == nil {
		o.Permit = free{}
	}
	return &Client{
		Options: o, ctx: ctx, loan: o.Client.Lend(ctx), readers: map[schema.GroupVersion]resource.RESTClient{},
		written: map[access.ID]string{}, spared: map[access.ID]struct{}{},
	}
}

// free is the permit of who needs none.
type free struct{}

// Release implements Permit.
func (free) Release() {}

// Take implements Permit.
func (free) Take(context.Context) error { return nil }

// Configuration returns what Helm's actions need, over the storage of releases. Templates see what the cluster serves as of now.
func (c *Client) Configuration(releases *storage.Storage) (*action.Configuration, error) {
	capabilities, err := c.Capabilities()
	if err != nil {
		return nil, err
	}
	return &action.Configuration{
		RESTClientGetter: c.loan, Releases: releases, KubeClient: c, Capabilities: capabilities, Log: c.Log,
	}, nil
}

// Capabilities returns what the cluster serves, for templates. It is shared and must not be changed.
func (c *Client) Capabilities() (*chartutil.Capabilities, error) {
	served, err := c.Client.Served(c.ctx)
	if err != nil {
		return nil, fmt.Errorf("ask what the cluster serves: %w", err)
	}
	return &chartutil.Capabilities{
		APIVersions: served.Kinds,
		KubeVersion: chartutil.KubeVersion{
			Version: served.Version.GitVersion, Major: served.Version.Major, Minor: served.Version.Minor,
		},
		HelmVersion: chartutil.DefaultCapabilities.HelmVersion,
	}, nil
}

// IsReachable implements kube.Interface.
func (c *Client) IsReachable() error {
	if _, err := c.Client.Served(c.ctx); err != nil {
		return fmt.Errorf("Kubernetes cluster unreachable: %w", err) //nolint:staticcheck // Helm's words
	}
	return nil
}

// wrote notes the outcome of a write, which the hub has yet to see.
func (c *Client) wrote(id access.ID, resourceVersion string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.written[id] = resourceVersion
}

// spare notes an object that is not to be deleted.
func (c *Client) spare(id access.ID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.spared[id] = struct{}{}
}

// label is the one by which the hub sees the objects of releases.
func (c *Client) label() string { return c.Owner.Prefix + "/name" }
