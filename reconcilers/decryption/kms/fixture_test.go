package kms_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/weir-dev/weir/reconcilers/cloud"
	"github.com/weir-dev/weir/reconcilers/decryption/kms"
	"github.com/weir-dev/weir/reconcilers/decryption/sops"
	"github.com/weir-dev/weir/reconcilers/ingest"
	clouds "github.com/weir-dev/weir/test/cloud"
)

// sky is the cloud of all tests: the authority of its certificates has to be known before the first connection is made.
var sky *clouds.Cloud

// home and cache are the folders of who runs the tests, which have others.
var home, cache string

func TestMain(m *testing.M) {
	home, _ = os.UserHomeDir()
	cache, _ = os.UserCacheDir()

	os.Exit(clouds.Main(m, func(c *clouds.Cloud) { sky = c }))
}

const (
	role     = "arn:aws:iam::123456789012:role/reader"
	tenant   = "11111111-1111-1111-1111-111111111111"
	clientID = "22222222-2222-2222-2222-222222222222"
	mail     = "reader@project.iam.gserviceaccount.com"
	pool     = "projects/1/locations/global/workloadIdentityPools/p/providers/c"

	// secret is in all that must not be in an error.
	secret = "hunter2"
)

// dataKey is what all tests want.
var dataKey = []byte("0123456789abcdef0123456789abcdef")

// cluster is the one of the process, with ServiceAccounts and ConfigMaps.
type cluster struct {
	client.Client

	mu      sync.Mutex
	audited []string // audiences of tokens that were made for Vault
}

func newCluster(t *testing.T, objects ...client.Object) *cluster {
	t.Helper()

	for _, id := range []string{role, tenant + "/" + clientID, mail} {
		sky.Roles[id] = "apps/reader"
	}

	annotations := map[string]string{
		"eks.amazonaws.com/role-arn":                    role,
		"azure.workload.identity/tenant-id":             tenant,
		"azure.workload.identity/client-id":             clientID,
		"iam.gke.io/gcp-service-account":                mail,
		"gcp.auth.fluxcd.io/workload-identity-provider": pool,
	}

	for _, name := range []string{"reader", "nobody"} {
		objects = append(objects, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{
			Namespace: "apps", Name: name, Annotations: annotations,
		}})
	}

	c := &cluster{}
	c.Client = fake.NewClientBuilder().WithObjects(objects...).WithInterceptorFuncs(interceptor.Funcs{
		SubResourceCreate: func(_ context.Context, _ client.Client, _ string, obj, sub client.Object, _ ...client.SubResourceCreateOption) error {
			r, ok := sub.(*authenticationv1.TokenRequest)
			if !ok {
				return fmt.Errorf("unexpected %T", sub)
			}

			r.Status.Token = sky.ServiceAccountToken(obj.GetNamespace(), obj.GetName(), r.Spec.Audiences...)

			return nil
		},
	}).Build()

	return c
}

func (c *cluster) ServiceAccount(ctx context.Context, namespace, name string) (*corev1.ServiceAccount, error) {
	a := &corev1.ServiceAccount{}

	return a, c.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, a)
}

func (c *cluster) ConfigMap(ctx context.Context, namespace, name string) (*corev1.ConfigMap, error) {
	m := &corev1.ConfigMap{}

	return m, c.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, m)
}

func (c *cluster) Token(_ context.Context, namespace, name string, audiences []string, lifetime time.Duration) (string, time.Time, error) {
	c.mu.Lock()
	defer c.mu.Unlock()

	c.audited = append(c.audited, audiences...)

	return sky.ServiceAccountToken(namespace, name, audiences...), time.Now().Add(lifetime), nil
}

// tokens returns the audiences of the tokens for Vault since the last call.
func (c *cluster) tokens() []string {
	c.mu.Lock()
	defer c.mu.Unlock()

	all := c.audited
	c.audited = nil

	return all
}

// loopback allows this machine, where the servers of the tests are, and refuses what is refused everywhere.
func loopback(addr netip.Addr) error { return ingest.RefuseLinkLocal(addr) }

func services(t *testing.T, c *cluster, change ...func(*kms.Options)) *kms.Services {
	t.Helper()

	transports := &ingest.Transports{Allow: loopback}
	o := kms.Options{
		Cloud: cloud.New(cloud.Options{Client: c, Transports: transports, CacheSize: 10}), Cluster: c, Transports: transports,
		Timeout: time.Minute,
	}

	for _, f := range change {
		f(&o)
	}

	sky.Requests()

	return kms.New(o)
}

func request(account string, entries map[string]string) kms.Request {
	r := kms.Request{Kind: "Kustomization", Namespace: "apps", Name: "app", ServiceAccount: account, Proxy: sky.Proxy()}

	for name, content := range entries {
		if r.Secret == nil {
			r.Secret = map[string][]byte{}
		}

		r.Secret[name] = []byte(content)
	}

	return r
}

// unwrap asks for a data key as a request does.
func unwrap(t *testing.T, s *kms.Services, r kms.Request, recipient sops.Recipient) ([]byte, error) {
	t.Helper()

	k, err := s.For(r)
	if err != nil {
		return nil, err
	}

	return k.Unwrap(t.Context(), recipient)
}

// expect looks at what came of that. Want is how the error goes on somewhere; empty means that the data key is expected.
func expect(t *testing.T, reason, want string, got []byte, err error) {
	t.Helper()

	switch {
	case want == "" && (err != nil || string(got) != string(dataKey)):
		t.Errorf("%s\n%d bytes, error: %v", reason, len(got), err)
	case want != "" && (err == nil || !strings.Contains(err.Error(), want) || len(got) > 0):
		t.Errorf("%s\nerror: %v, want: %s", reason, err, want)
	case err != nil && strings.Contains(err.Error(), secret):
		t.Errorf("%s\nthe error gives a secret away: %v", reason, err)
	}
}

func std(raw []byte) string { return base64.StdEncoding.EncodeToString(raw) }
