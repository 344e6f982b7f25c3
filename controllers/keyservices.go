package controllers

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/reconcilers/decryption"
	"github.com/weir-dev/weir/reconcilers/decryption/kms"
	"github.com/weir-dev/weir/reconcilers/decryption/sops"
	"github.com/weir-dev/weir/reconcilers/ingest"
	"github.com/weir-dev/weir/reconcilers/source"
)

// DecryptionOptions say who asks key services, where objects say nothing. Package kms says what that means.
type DecryptionOptions struct {
	// DefaultServiceAccount gives the identity for objects that name none.
	DefaultServiceAccount string

	// AgeSecret names the Secret, in the namespace of the process, with age keys for objects that name no Secret.
	AgeSecret string

	// VaultInstances names the ConfigMap, in the namespace of the process, with the Vaults that ServiceAccounts may log in to.
	VaultInstances string

	// VaultAddress, VaultToken and VaultNamespace are those of the process, and VaultCA certificates that it trusts, as PEM.
	VaultAddress, VaultToken, VaultNamespace string
	VaultCA                                  []byte
}

// decryption returns what decrypts for all objects. A Secret that an object names is read as it is at each run; that of the process
// is the same for all of them.
func (p *Process) decryption(n *network, c *configs) *decryption.Decryption {
	o := decryption.Options{Secrets: c, Services: p.keyServices(n, c), Lane: source.NewLane(kustomizationWorkers, 0)}

	if name := p.Decryption.AgeSecret; name != "" {
		o.Fallback = func(ctx context.Context) (*corev1.Secret, error) { return p.Secret(ctx, p.Namespace, name) }
	}

	return decryption.New(o)
}

// keyServices returns the key services, which all objects share.
func (p *Process) keyServices(n *network, c *configs) decryption.Services {
	o := p.Decryption

	vault := kms.Vault{
		Address: o.VaultAddress, Token: o.VaultToken, Namespace: o.VaultNamespace, CA: o.VaultCA,
		Self: func(ctx context.Context) (types.NamespacedName, error) { return whoami(ctx, p.GetClient()) },
	}
	if o.VaultInstances != "" {
		vault.Instances = types.NamespacedName{Namespace: p.Namespace, Name: o.VaultInstances}
	}

	// Files say where their keys are, which must not be this machine.
	services := kms.New(kms.Options{
		Cloud: n.cloud, Cluster: keyCluster{Process: p, configs: c}, DefaultServiceAccount: o.DefaultServiceAccount, Vault: vault,
		Transports: &ingest.Transports{Proxy: http.ProxyFromEnvironment, Allow: kms.RefuseLocal},
	})

	return decryption.ServicesFunc(func(r decryption.Request, secret map[string][]byte) (sops.Keys, error) {
		return services.For(kms.Request{ //nolint:wrapcheck // package decryption names the Secret
			Kind: r.Kind, Namespace: r.Namespace, Name: r.Name, ServiceAccount: r.ServiceAccount, Secret: secret,
		})
	})
}

// keyCluster is the cluster of the process, for package kms.
type keyCluster struct {
	*Process

	configs *configs
}

// ConfigMap implements kms.Cluster.
func (c keyCluster) ConfigMap(ctx context.Context, namespace, name string) (*corev1.ConfigMap, error) {
	return c.configs.ConfigMap(ctx, namespace, name)
}

// Token implements kms.Cluster.
func (c keyCluster) Token(
	ctx context.Context, namespace, name string, audiences []string, lifetime time.Duration,
) (string, time.Time, error) {
	return c.access.Own().Token(ctx, namespace, name, audiences, lifetime)
}

// whoami asks the API server which service account the process is.
func whoami(ctx context.Context, c client.Writer) (types.NamespacedName, error) {
	review := &authenticationv1.SelfSubjectReview{}
	if err := c.Create(ctx, review); err != nil {
		return types.NamespacedName{}, fmt.Errorf("ask who the controller is: %w", err)
	}

	user := review.Status.UserInfo.Username

	namespace, name, ok := strings.Cut(strings.TrimPrefix(user, "system:serviceaccount:"), ":")
	if !ok || !strings.HasPrefix(user, "system:serviceaccount:") {
		return types.NamespacedName{}, fmt.Errorf("the controller is %q, which is no service account", user)
	}

	return types.NamespacedName{Namespace: namespace, Name: name}, nil
}
