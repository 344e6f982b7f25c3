package controllers

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/weir-dev/weir/reconcilers/charts"
	"github.com/weir-dev/weir/reconcilers/cloud"
	"github.com/weir-dev/weir/reconcilers/ingest"
	"github.com/weir-dev/weir/reconcilers/registry"
	"github.com/weir-dev/weir/reconcilers/remote"
	"github.com/weir-dev/weir/reconcilers/verify"
)

// network is how the controllers of this process reach the servers that users name: the same connections, tokens and answers
// for all of them.
type network struct {
	transports *ingest.Transports
	cloud      *cloud.Credentials
	registries *registry.Registries
	charts     *charts.Repositories

	client *http.Client // for what belongs to no object: the roots of Sigstore, and lists of revoked certificates
	roots  *verify.PublicGood
}

// sharedNetwork returns the network of the process, and makes it if it is not there.
func (p *Process) sharedNetwork() (*network, error) {
	if p.network != nil {
		return p.network, nil
	}

	n := &network{transports: &ingest.Transports{Proxy: http.ProxyFromEnvironment, Allow: ingest.RefuseLinkLocal}}

	tokens, err := cloud.NewMetrics(metrics.Registry)
	if err != nil {
		return nil, fmt.Errorf("register metrics of tokens: %w", err)
	}

	size := p.TokenCacheSize
	if p.TokenCacheAge == 0 {
		size = 0 // what is kept for no time is not kept
	}

	n.cloud = cloud.New(cloud.Options{
		Client: p.GetClient(), DefaultServiceAccount: p.identity(), Transports: n.transports,
		CacheSize: size, CacheAge: p.TokenCacheAge, Metrics: tokens,
	})
	n.registries = registry.New(registry.Options{Transports: n.transports, Cloud: registry.CloudFunc(n.login)})
	n.charts = charts.NewRepositories(charts.RepositoriesOptions{
		Transports: n.transports, Limits: charts.IndexLimits{Bytes: p.Helm.IndexBytes}, ChartBytes: p.Helm.ChartBytes,
	})

	plain, err := n.transports.To(ingest.Route{})
	if err != nil {
		return nil, fmt.Errorf("make transport: %w", err)
	}

	n.client = ingest.NewClient(plain, nil)
	n.roots = verify.NewPublicGood(verify.PublicGoodOptions{Client: n.client, Now: time.Now})
	p.network = n

	return n, nil
}

// clouds are the clusters that clouds know, for package remote.
type clouds struct{ *cloud.Credentials }

// Cluster implements remote.Cloud.
func (c clouds) Cluster(ctx context.Context, r remote.CloudRequest) (remote.CloudCluster, error) {
	found, err := c.Credentials.Cluster(ctx, cloud.Request{
		Provider: r.Provider, Kind: r.Kind, Namespace: r.Namespace, Name: r.Name, ServiceAccount: r.ServiceAccount,
	}, cloud.ClusterName{Resource: r.Cluster, Address: r.Address})

	return remote.CloudCluster(found), err //nolint:wrapcheck // package remote says for what
}

// identity names the service account whose cloud identity objects have that name none. What one impersonates for them does
// for that too: no object gets the identity of the process because only one of the two was said.
func (o Options) identity() string {
	return cmp.Or(o.DefaultWorkloadIdentityServiceAccount, o.DefaultServiceAccount)
}

// login gets credentials for a registry of a cloud.
func (n *network) login(ctx context.Context, who registry.Identity, repository string) (username, password string, err error) {
	return n.cloud.Registry(ctx, cloud.Request{ //nolint:wrapcheck // package registry says for what
		Provider: who.Provider, Kind: who.Kind, Namespace: who.Namespace, Name: who.Name,
		ServiceAccount: who.ServiceAccount, Proxy: who.Proxy,
	}, repository)
}
