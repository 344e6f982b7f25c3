package cloud

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/eks/types"
	"github.com/fluxcd/pkg/auth"
	"github.com/fluxcd/pkg/auth/aws"
	"github.com/fluxcd/pkg/auth/azure"
	"github.com/fluxcd/pkg/auth/gcp"
)

// Cluster is how to reach a Kubernetes cluster.
type Cluster struct {
	// Address of the API server, as https://<host>:<port>. It is one that the cloud gives to the cluster.
	Address string

	// CA is the certificate of its authority, as PEM. Nil means that the authority is a public one.
	CA []byte

	// Token is good until Expires. It is made anew for each answer.
	Token   string
	Expires time.Time
}

// ClusterName says which cluster of a cloud.
type ClusterName struct {
	// Resource is the ARN of an EKS cluster, the resource ID of an AKS cluster, or projects/…/locations/…/clusters/… for GKE.
	Resource string

	// Address is the one to use if the cluster has several. It has to be one of those that the cloud knows. Empty means the
	// first one.
	Address string
}

// Cluster looks up a cluster, and makes a token for it. The cloud is asked each time: an address that somebody writes is only
// used if the cloud says that it is the cluster's.
func (c *Credentials) Cluster(ctx context.Context, r Request, name ClusterName) (Cluster, error) {
	if name.Address != "" {
		address, err := auth.ParseClusterAddress(name.Address)
		if err != nil {
			return Cluster{}, err //nolint:wrapcheck // it names the address
		}

		name.Address = address
	}

	id, h, err := c.reach(ctx, r)
	if err != nil {
		return Cluster{}, err
	}

	ctx, cancel := context.WithTimeoutCause(ctx, c.options.Timeout, fmt.Errorf("timed out after %s", c.options.Timeout))
	defer cancel()

	l := lookup{Credentials: c, request: r, id: id, http: h}

	switch r.Provider {
	case AWS:
		return l.eks(ctx, name)
	case Azure:
		return l.aks(ctx, name)
	case GCP:
		return l.gke(ctx, name)
	default:
		return Cluster{}, unknown(r.Provider)
	}
}

// lookup is one question for a cluster.
type lookup struct {
	*Credentials

	request Request
	id      identity
	http    httpClient
}

// describe says what was done in vain.
func (l lookup) failed(err error) error {
	return fmt.Errorf("describe %s cluster as %s: %w", l.request.Provider, l.id, Reason(err))
}

// eks asks Amazon. The name and the region are parts of hosts and paths, so they have to look like it.
func (l lookup) eks(ctx context.Context, name ClusterName) (Cluster, error) {
	const pattern = `^arn:aws[a-z-]*:eks:([a-z]+(?:-[a-z]+)+-[0-9]+):[0-9]{12}:cluster/([0-9A-Za-z][0-9A-Za-z_-]{0,99})$`

	m := regexp.MustCompile(pattern).FindStringSubmatch(name.Resource)
	if m == nil {
		return Cluster{}, fmt.Errorf("invalid EKS cluster ARN %q: want arn:aws:eks:<region>:<account>:cluster/<name>", name.Resource)
	}

	p := aws.Provider{Implementation: awsCalls{l.http}}

	token, err := l.token(ctx, l.request, p, l.id, auth.WithSTSRegion(m[1]))
	if err != nil {
		return Cluster{}, err
	}

	keys, ok := token.(*aws.Credentials)
	if !ok {
		return Cluster{}, unexpected(token)
	}

	found, err := p.Implementation.DescribeCluster(ctx, &eks.DescribeClusterInput{Name: &m[2]},
		eks.Options{Region: m[1], Credentials: signingKeys(keys)})
	if err != nil {
		return Cluster{}, l.failed(err)
	}

	at, ca, err := eksEndpoint(found.Cluster, name)
	if err != nil {
		return Cluster{}, err
	}

	// With address and certificate known, this only signs.
	config, err := p.NewRESTConfig(ctx, []auth.Token{keys}, auth.WithClusterResource(name.Resource),
		auth.WithClusterAddress(at), auth.WithCAData(string(ca)))
	if err != nil {
		return Cluster{}, l.failed(err)
	}

	// The token is a signature, which is worth nothing without its keys.
	expires := config.ExpiresAt
	if until := deref(keys.Expiration); !until.IsZero() && until.Before(expires) {
		expires = until
	}

	return Cluster{Address: at, CA: ca, Token: config.BearerToken, Expires: expires}, nil
}

// eksEndpoint returns what is needed of what Amazon says, which is of another account's cluster of the same name if the
// identity is of that account.
func eksEndpoint(found *types.Cluster, name ClusterName) (address string, ca []byte, err error) {
	if found == nil || deref(found.Endpoint) == "" || found.CertificateAuthority == nil {
		return "", nil, fmt.Errorf("EKS cluster %q has no endpoint yet", name.Resource)
	}

	if got := deref(found.Arn); got != name.Resource {
		return "", nil, fmt.Errorf("the identity sees EKS cluster %q, and not %q", got, name.Resource)
	}

	if ca, err = certificate(deref(found.CertificateAuthority.Data)); err != nil {
		return "", nil, err
	}

	address, err = choose(name.Address, *found.Endpoint)

	return address, ca, err
}

func signingKeys(k *aws.Credentials) awssdk.CredentialsProvider {
	return awssdk.CredentialsProviderFunc(func(context.Context) (awssdk.Credentials, error) {
		return awssdk.Credentials{
			AccessKeyID: deref(k.AccessKeyId), SecretAccessKey: deref(k.SecretAccessKey), SessionToken: deref(k.SessionToken),
		}, nil
	})
}

// aks asks Azure, whose library compares the address with those of the cluster as long as it has no certificate.
func (l lookup) aks(ctx context.Context, name ClusterName) (Cluster, error) {
	o := []auth.Option{auth.WithClusterResource(name.Resource), auth.WithClusterAddress(name.Address)}

	sets, err := azure.Provider{}.GetAccessTokenOptionsForCluster(o...)
	if err != nil {
		return Cluster{}, l.failed(err)
	}

	calls := azureCalls{httpClient: l.http}
	tokens := make([]auth.Token, 0, len(sets))

	for _, set := range sets {
		var options auth.Options
		options.Apply(set...)
		calls.scopes = options.Scopes // those of the last one, which is for the resource manager

		token, err := l.token(ctx, l.request, azure.Provider{Implementation: calls}, l.id, set...)
		if err != nil {
			return Cluster{}, err
		}

		tokens = append(tokens, token)
	}

	config, err := azure.Provider{Implementation: calls}.NewRESTConfig(ctx, tokens, o...)
	if err != nil {
		return Cluster{}, l.failed(err)
	}

	at, err := choose(name.Address, config.Host)
	if err != nil {
		return Cluster{}, err
	}

	return Cluster{Address: at, CA: config.CAData, Token: config.BearerToken, Expires: config.ExpiresAt}, nil
}

// gke asks Google, for itself: the library would take any address that comes with a certificate.
func (l lookup) gke(ctx context.Context, name ClusterName) (Cluster, error) {
	const pattern = `^projects/[0-9a-z.:-]{1,100}/locations/[0-9a-z-]{1,100}/clusters/[0-9a-z-]{1,100}$`
	if !regexp.MustCompile(pattern).MatchString(name.Resource) {
		return Cluster{}, fmt.Errorf("invalid GKE cluster %q: want projects/<project>/locations/<location>/clusters/<name>", name.Resource)
	}

	token, err := l.token(ctx, l.request, gcp.Provider{Implementation: gcpCalls{l.http}}, l.id)
	if err != nil {
		return Cluster{}, err
	}

	t, ok := token.(*gcp.Token)
	if !ok || t.AccessToken == "" {
		return Cluster{}, unexpected(token)
	}

	found, err := l.http.cluster(ctx, name.Resource, t.AccessToken)
	if err != nil {
		return Cluster{}, l.failed(err)
	}

	ca, err := certificate(found.MasterAuth.ClusterCACertificate)
	if err != nil {
		return Cluster{}, err
	}

	at, err := choose(name.Address, found.endpoints()...)
	if err != nil {
		return Cluster{}, err
	}

	if at == canonical(found.Control.DNS.Endpoint) {
		ca = nil // a public authority has signed the certificate of the front end
	}

	return Cluster{Address: at, CA: ca, Token: t.AccessToken, Expires: t.Expiry}, nil
}

// choose returns the address that is asked for if it is one of those that the cloud gives, or the first one of these.
func choose(want string, given ...string) (string, error) {
	var all []string

	for _, g := range given {
		if at := canonical(g); at != "" && !slices.Contains(all, at) {
			all = append(all, at)
		}
	}

	switch {
	case len(all) == 0:
		return "", errors.New("the cluster has no address yet")
	case want == "":
		return all[0], nil
	case !slices.Contains(all, want):
		return "", fmt.Errorf("address %q is none of the cluster, which has %s", want, strings.Join(all, ", "))
	}

	return want, nil
}

// canonical returns the address in the form of all others, or nothing.
func canonical(address string) string {
	at, err := auth.ParseClusterAddress(address)
	if err != nil {
		return ""
	}

	return at
}

func certificate(encoded string) ([]byte, error) {
	ca, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || len(ca) == 0 {
		return nil, errors.New("the cloud gave no usable certificate of the cluster")
	}

	return ca, nil
}
