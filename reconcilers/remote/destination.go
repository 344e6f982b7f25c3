package remote

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/flight"
)

const (
	providerGeneric = "generic"

	// tokenLifetime is how long a token is good for that is made for a remote cluster.
	tokenLifetime = time.Hour
)

// Cloud knows the Kubernetes clusters of a cloud. Package cloud implements it.
type Cloud interface {
	// Cluster returns how to reach a cluster. It is asked again when the token is about to expire. It must send no token to
	// an address that the cloud does not give to the cluster.
	Cluster(ctx context.Context, r CloudRequest) (CloudCluster, error)
}

// CloudRequest names a cluster, and the identity that asks for it.
type CloudRequest struct {
	// Provider is aws, azure or gcp.
	Provider string
	// Cluster is the name by which the cloud knows it.
	Cluster string
	// Address is the one to use if the cluster has several. It may be empty.
	Address string
	// ServiceAccount, in Namespace, is who asks. Empty means the process.
	Namespace, ServiceAccount string
	// Kind and Name are the object that it is for.
	Kind, Name string
}

// CloudCluster is how to reach a cluster.
type CloudCluster struct {
	// Address of the API server, as a URL.
	Address string
	// CA is the certificate of its authority, as PEM.
	CA []byte
	// Token is good until Expires.
	Token   string
	Expires time.Time
}

// destination is what a kubeconfig leads to.
type destination struct {
	// key is the same for the same cluster, with the same credentials and the same identity.
	key flight.Fingerprint
	// target may ask others about the cluster.
	target func(ctx context.Context) (*access.Target, error)
}

// resolve reads the kubeconfig.
func (c *Clusters) resolve(ctx context.Context, r Request) (destination, error) {
	switch {
	case r.Ref.SecretRef != nil && r.Ref.ConfigMapRef != nil:
		return destination{}, errors.New("exactly one of spec.kubeConfig.configMapRef or spec.kubeConfig.secretRef must be specified")
	case r.Ref.SecretRef != nil:
		return c.fromSecret(ctx, r, *r.Ref.SecretRef)
	case r.Ref.ConfigMapRef != nil:
		return c.fromConfigMap(ctx, r, r.Ref.ConfigMapRef.Name)
	}

	return destination{}, errors.New("exactly one of spec.kubeConfig.configMapRef or spec.kubeConfig.secretRef must be specified")
}

// unread is the error of an object that could not be read, which says nothing about it.
type unread struct{ error }

// Unwrap returns why.
func (u *unread) Unwrap() error { return u.error }

// missing is the error of an object that does not exist.
type missing struct{ error }

// Unwrap returns why.
func (m *missing) Unwrap() error { return m.error }

// Is tells that the error is ErrMissing, whose words would say nothing new.
func (m *missing) Is(target error) bool { return target == ErrMissing }

func unreadable(name string, err error) error {
	err = fmt.Errorf("unable to read KubeConfig %s error: %w", name, err)
	if apierrors.IsNotFound(err) {
		return &missing{err}
	}

	return &unread{err}
}

func (c *Clusters) fromSecret(ctx context.Context, r Request, ref meta.SecretKeyReference) (destination, error) {
	name := describe("secret", r.Owner.Namespace, ref.Name)

	secret, err := c.Configs.Secret(ctx, r.Owner.Namespace, ref.Name)
	if err != nil {
		return destination{}, unreadable(name, err)
	}

	raw, err := kubeconfig(secret.Data, ref.Key)
	if err != nil {
		return destination{}, fmt.Errorf("KubeConfig %s %w", name, err)
	}

	target, err := access.Kubeconfig(raw, c.Rules)
	if err != nil {
		return destination{}, fmt.Errorf("KubeConfig %s: %w", name, err)
	}

	return impersonating(r, target, "secret", string(raw))
}

// kubeconfig returns the content of the key, or of the first of the usual ones.
func kubeconfig(data map[string][]byte, key string) ([]byte, error) {
	keys := []string{"value", "value.yaml"}
	if key != "" {
		keys = []string{key}
	}

	for _, k := range keys {
		if raw, ok := data[k]; ok && len(raw) > 0 {
			return raw, nil
		}
	}

	return nil, fmt.Errorf("does not contain a '%s' key with data", strings.Join(keys, "' or '"))
}

// impersonating is the destination of a target that is known, as the service account of the request.
func impersonating(r Request, target *access.Target, parts ...string) (destination, error) {
	target, err := as(r, target)

	return destination{
		key: keyOf(r, parts), target: func(context.Context) (*access.Target, error) { return target, nil },
	}, err
}

// as returns the target for the service account of the request, if there is one.
func as(r Request, target *access.Target) (*access.Target, error) {
	if r.ServiceAccount == "" {
		return target, nil
	}

	return target.As(r.Owner.Namespace, r.ServiceAccount)
}

func keyOf(r Request, parts []string) flight.Fingerprint {
	account := ""
	if r.ServiceAccount != "" {
		account = r.Owner.Namespace + "/" + r.ServiceAccount
	}

	return flight.FingerprintOf(append(parts, account)...)
}

func (c *Clusters) fromConfigMap(ctx context.Context, r Request, config string) (destination, error) {
	name := describe("ConfigMap", r.Owner.Namespace, config)

	object, err := c.Configs.ConfigMap(ctx, r.Owner.Namespace, config)
	if err != nil {
		return destination{}, unreadable(name, err)
	}

	data := object.Data
	account := cmp.Or(data["serviceAccountName"], c.DefaultServiceAccount)
	parts := []string{
		"ConfigMap", data["provider"], data["cluster"], data["address"], data["ca.crt"], data["audiences"], r.Owner.Namespace, account,
	}

	switch data["provider"] {
	case providerGeneric:
		target, err := c.generic(r.Owner.Namespace, account, data)
		if err != nil {
			return destination{}, fmt.Errorf("KubeConfig %s: %w", name, err)
		}

		return impersonating(r, target, parts...)
	case "aws", "azure", "gcp":
		d, err := c.cloud(r, name, account, data, parts)
		if err != nil {
			return destination{}, fmt.Errorf("KubeConfig %s: %w", name, err)
		}

		return d, nil
	}

	return destination{}, fmt.Errorf("KubeConfig %s: key 'provider' is %q, want aws, azure, gcp or generic", name, data["provider"])
}

// generic is a cluster that trusts the tokens of this one. The token goes to an address that the tenant has written, so that
// it has to be that of one of the tenant's service accounts, never that of the process.
func (c *Clusters) generic(namespace, account string, data map[string]string) (*access.Target, error) {
	address := data["address"]
	if address == "" {
		return nil, errors.New("key 'address' is missing")
	}

	if account == "" {
		return nil, errors.New("key 'serviceAccountName' is missing")
	}

	audiences := strings.Fields(data["audiences"])
	if len(audiences) == 0 {
		audiences = []string{address}
	}

	ask := func(ctx context.Context) (string, time.Time, error) {
		return c.Local.Own().Token(ctx, namespace, account, audiences, tokenLifetime)
	}

	return access.Endpoint(address, []byte(data["ca.crt"]), access.Tokens(c.now, ask))
}

func (c *Clusters) now() time.Time {
	if c.Access.Clock != nil {
		return c.Access.Clock.Now()
	}

	return time.Now()
}

// cloud is a cluster that its cloud knows, which is asked when it is connected to.
func (c *Clusters) cloud(r Request, name, account string, data map[string]string, parts []string) (destination, error) {
	if c.Cloud == nil {
		return destination{}, fmt.Errorf("provider %q is not supported by this version", data["provider"])
	}

	if data["cluster"] == "" {
		return destination{}, errors.New("key 'cluster' is missing")
	}

	request := CloudRequest{
		Provider: data["provider"], Cluster: data["cluster"], Address: data["address"],
		Namespace: r.Owner.Namespace, ServiceAccount: account, Kind: r.Owner.Kind, Name: r.Owner.Name,
	}

	target := func(ctx context.Context) (*access.Target, error) {
		found, err := c.Cloud.Cluster(ctx, request)
		if err != nil {
			return nil, fmt.Errorf("KubeConfig %s: look up %s: %w", name, asked(data, account), err)
		}

		ca := found.CA
		if data["ca.crt"] != "" {
			ca = []byte(data["ca.crt"])
		}

		target, err := access.Endpoint(found.Address, ca, access.Tokens(c.now, renewing(c.Cloud, request, found)))
		if err != nil {
			return nil, err
		}

		return as(r, target)
	}

	return destination{key: keyOf(r, parts), target: target}, nil
}

// asked names the keys that a cluster is looked up by.
func asked(data map[string]string, account string) string {
	text := fmt.Sprintf("key 'cluster' %q", data["cluster"])

	switch {
	case data["serviceAccountName"] != "":
		text += fmt.Sprintf(" as key 'serviceAccountName' %q", account)
	case account != "":
		text += fmt.Sprintf(" as the default service account %q", account)
	}

	return text
}

// errMoved says that a cluster is elsewhere by now, or another one has its name. What was its address may be anybody's.
var errMoved = errors.New("the cluster has another address or certificate than before")

// renewing returns the token that was found first, and then asks again.
func renewing(cloud Cloud, r CloudRequest, found CloudCluster) func(context.Context) (string, time.Time, error) {
	first := true

	return func(ctx context.Context) (string, time.Time, error) {
		if first {
			first = false

			return found.Token, found.Expires, nil
		}

		again, err := cloud.Cluster(ctx, r)
		if err != nil {
			return "", time.Time{}, err
		}

		if again.Address != found.Address || !bytes.Equal(again.CA, found.CA) {
			return "", time.Time{}, errMoved
		}

		return again.Token, again.Expires, nil
	}
}
