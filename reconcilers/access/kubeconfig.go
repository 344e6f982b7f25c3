package access

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// Rules say what the kubeconfigs of users may do beyond naming a server and credentials.
type Rules struct {
	// Exec lets them run programs of this machine to get credentials.
	Exec bool
	// InsecureTLS lets them leave the server's certificate unverified, or do without TLS.
	InsecureTLS bool
}

// TokenSource returns the bearer token for a request. It is asked for each one.
type TokenSource func(ctx context.Context) (string, error)

// Target is another cluster, and how to get in. It cannot be changed.
type Target struct {
	config *rest.Config
	token  TokenSource // nil: the configuration has the credentials
}

// Kubeconfig reads a self-contained kubeconfig, of which only the current context counts. It opens no file and runs no
// program. Errors name the field, never its value.
func Kubeconfig(raw []byte, r Rules) (*Target, error) {
	whole, err := clientcmd.Load(raw)
	if err != nil {
		return nil, errors.New("parse kubeconfig: it is not the YAML of a kubeconfig") // the parser quotes what it reads
	}

	at, ok := whole.Contexts[whole.CurrentContext]
	if !ok || at == nil {
		return nil, fmt.Errorf("kubeconfig has no current context: %q is not one of its contexts", whole.CurrentContext)
	}

	cluster, ok := whole.Clusters[at.Cluster]
	if !ok || cluster == nil {
		return nil, fmt.Errorf("kubeconfig has no cluster %q", at.Cluster)
	}

	user, ok := whole.AuthInfos[at.AuthInfo]
	if !ok || user == nil {
		return nil, fmt.Errorf("kubeconfig has no user %q", at.AuthInfo)
	}

	if err := errors.Join(checkCluster(cluster, r), checkUser(user, r)); err != nil {
		return nil, err
	}

	only := api.NewConfig()
	only.Clusters["it"], only.AuthInfos["it"] = cluster, user
	only.Contexts["it"] = &api.Context{Cluster: "it", AuthInfo: "it"}
	only.CurrentContext = "it"

	config, err := clientcmd.NewNonInteractiveClientConfig(*only, "it", &clientcmd.ConfigOverrides{}, nil).ClientConfig()
	if err != nil {
		return nil, errors.New("kubeconfig is not valid: its cluster or user is incomplete")
	}

	return &Target{config: config}, nil
}

func checkCluster(c *api.Cluster, r Rules) error {
	if err := checkServer(c.Server, r); err != nil {
		return fmt.Errorf("kubeconfig: %w", err)
	}

	switch {
	case c.CertificateAuthority != "":
		return errors.New("kubeconfig: certificate-authority is a file, which is not allowed: use certificate-authority-data")
	case c.InsecureSkipTLSVerify && !r.InsecureTLS:
		return errors.New("kubeconfig: insecure-skip-tls-verify is not allowed, unless with the flag insecure-kubeconfig-tls")
	}

	return nil
}

func checkServer(server string, r Rules) error {
	u, err := url.Parse(server)

	switch {
	case err != nil || u.Host == "":
		return errors.New("the server is not a URL")
	case u.User != nil:
		return errors.New("the URL of the server has credentials")
	case u.Scheme != "https" && (u.Scheme != "http" || !r.InsecureTLS):
		return fmt.Errorf("the server has scheme %q, want https", u.Scheme)
	}

	return nil
}

func checkUser(u *api.AuthInfo, r Rules) error {
	for _, field := range []struct{ name, value, instead string }{
		{"client-certificate", u.ClientCertificate, "client-certificate-data"},
		{"client-key", u.ClientKey, "client-key-data"},
		{"tokenFile", u.TokenFile, "token"},
	} {
		if field.value != "" {
			return fmt.Errorf("kubeconfig: %s is a file, which is not allowed: use %s", field.name, field.instead)
		}
	}

	switch {
	case u.Exec != nil && !r.Exec:
		return errors.New("kubeconfig: exec is not allowed, unless with the flag insecure-kubeconfig-exec")
	case u.AuthProvider != nil:
		return errors.New("kubeconfig: auth-provider is not supported")
	}

	return nil
}

// Endpoint is a cluster by the address of its API server, in which the token says who is there. Without ca, a certificate
// of a public authority is expected.
func Endpoint(address string, ca []byte, token TokenSource) (*Target, error) {
	if err := checkServer(address, Rules{}); err != nil {
		return nil, fmt.Errorf("address: %w", err)
	}

	if token == nil {
		return nil, fmt.Errorf("address %q: %w", address, ErrNoIdentity)
	}

	config := &rest.Config{Host: address}
	config.CAData = ca

	return &Target{config: config, token: token}, nil
}

// As returns the target such that everything that is sent to it acts as the service account there. The error is
// that of CheckAccount.
func (t *Target) As(namespace, name string) (*Target, error) {
	identity, err := identityOf(namespace, name)
	if err != nil {
		return nil, err
	}

	config := rest.CopyConfig(t.config)
	config.Impersonate = rest.ImpersonationConfig{UserName: identity}

	return &Target{config: config, token: t.token}, nil
}
