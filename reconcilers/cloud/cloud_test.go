package cloud_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/weir-dev/weir/reconcilers/cloud"
	"github.com/weir-dev/weir/reconcilers/ingest"
	clouds "github.com/weir-dev/weir/test/cloud"
)

// sky is the cloud of all tests: the authority of its certificates has to be known before the first connection is made.
var sky *clouds.Cloud

func TestMain(m *testing.M) {
	os.Exit(clouds.Main(m, func(c *clouds.Cloud) { sky = c }))
}

const (
	role     = "arn:aws:iam::123456789012:role/reader"
	tenant   = "11111111-1111-1111-1111-111111111111"
	clientID = "22222222-2222-2222-2222-222222222222"
	mail     = "reader@project.iam.gserviceaccount.com"
	pool     = "projects/1/locations/global/workloadIdentityPools/p/providers/c"

	ecr = "123456789012.dkr.ecr.us-east-1.amazonaws.com/app"
	acr = "registry.azurecr.io/app"
	gar = "europe-docker.pkg.dev/project/repo/app"
)

// cluster is an API server with ServiceAccounts, which makes tokens that the clouds trust.
type cluster struct {
	client.Client

	tokens atomic.Int64
}

// accounts returns the ServiceAccount "reader" of the namespace apps, which has a role in each cloud, and "nobody", which has
// annotations and no role.
func accounts() []client.Object {
	annotations := map[string]string{
		"eks.amazonaws.com/role-arn":                    role,
		"azure.workload.identity/tenant-id":             tenant,
		"azure.workload.identity/client-id":             clientID,
		"iam.gke.io/gcp-service-account":                mail,
		"gcp.auth.fluxcd.io/workload-identity-provider": pool,
	}

	return []client.Object{
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "apps", Name: "reader", Annotations: annotations}},
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "apps", Name: "nobody", Annotations: annotations}},
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "apps", Name: "plain"}},
	}
}

func newCluster(t *testing.T) *cluster {
	t.Helper()

	for _, id := range []string{role, tenant + "/" + clientID, mail} {
		sky.Roles[id] = "apps/reader"
	}

	c := &cluster{}
	c.Client = fake.NewClientBuilder().WithObjects(accounts()...).WithInterceptorFuncs(interceptor.Funcs{
		SubResourceCreate: func(_ context.Context, _ client.Client, name string, obj, sub client.Object,
			_ ...client.SubResourceCreateOption,
		) error {
			request, ok := sub.(*authenticationv1.TokenRequest)
			if !ok || name != "token" || request.Spec.ExpirationSeconds == nil || *request.Spec.ExpirationSeconds != 600 {
				return fmt.Errorf("unexpected request for %q: %+v", name, sub)
			}

			c.tokens.Add(1)
			request.Status.Token = sky.ServiceAccountToken(obj.GetNamespace(), obj.GetName(), request.Spec.Audiences...)

			return nil
		},
	}).Build()

	return c
}

// credentials returns credentials with a cache, and their metrics.
func credentials(t *testing.T, change ...func(*cloud.Options)) (*cloud.Credentials, *cluster, *prometheus.Registry) {
	t.Helper()

	c, registry := newCluster(t), prometheus.NewRegistry()

	metrics, err := cloud.NewMetrics(registry)
	if err != nil {
		t.Fatal(err)
	}

	o := cloud.Options{Client: c, Transports: &ingest.Transports{Allow: ingest.RefuseLinkLocal}, CacheSize: 10, Metrics: metrics}
	for _, f := range change {
		f(&o)
	}

	sky.Requests()

	return cloud.New(o), c, registry
}

func request(provider, account string) cloud.Request {
	return cloud.Request{
		Provider: provider, Kind: "OCIRepository", Namespace: "apps", Name: "app", ServiceAccount: account, Proxy: sky.Proxy(),
	}
}

func TestRegistry(t *testing.T) {
	cases := map[string]struct {
		reason     string
		repository string
		request    cloud.Request
		username   string
		password   string // how it begins
		err        string
	}{
		"AWS": {
			reason: "ECR gives a password for keys.", repository: ecr, request: request(cloud.AWS, "reader"),
			username: "AWS", password: "password-of-ASIA",
		},
		"AWSPublic": {
			reason: "So does the public one.", repository: "public.ecr.aws/app", request: request(cloud.AWS, "reader"),
			username: "AWS", password: "password-of-ASIA",
		},
		"Azure": {
			reason: "ACR gives a token for a token.", repository: acr, request: request(cloud.Azure, "reader"),
			username: "00000000-0000-0000-0000-000000000000", password: "eyJ",
		},
		"GCP": {
			reason: "Artifact Registry takes a token.", repository: gar, request: request(cloud.GCP, "reader"),
			username: "oauth2accesstoken", password: "token-",
		},
		"AWSElsewhere": {
			reason: "A registry of somebody else gets nothing.", repository: "ghcr.io/org/app", request: request(cloud.AWS, "reader"),
			err: `provider "aws" does not fit the repository: invalid AWS registry: 'ghcr.io'`,
		},
		"AWSLookalike": {
			reason: "Nor does one that looks like it.", repository: "123456789012.dkr.ecr.us-east-1.amazonaws.com.evil.test/app",
			request: request(cloud.AWS, "reader"), err: `provider "aws" does not fit the repository`,
		},
		"AzureElsewhere": {
			reason: "The same holds for Azure.", repository: ecr, request: request(cloud.Azure, "reader"),
			err: `provider "azure" does not fit the repository`,
		},
		"GCPElsewhere": {
			reason: "And for Google Cloud.", repository: "gcr.io.evil.test/app", request: request(cloud.GCP, "reader"),
			err: `provider "gcp" does not fit the repository`,
		},
		"DockerHub": {
			reason: "A repository without a host is one of Docker Hub.", repository: "library/app", request: request(cloud.GCP, "reader"),
			err: `provider "gcp" does not fit the repository`,
		},
		"NoProvider": {
			reason: "A provider is needed.", repository: gar, request: request("generic", "reader"),
			err: `provider "generic" is none of "aws", "azure" and "gcp"`,
		},
		"NoRoleAWS": {
			reason: "Who has no role gets nothing, for the same reason each time.", repository: ecr, request: request(cloud.AWS, "nobody"),
			err: "get aws credentials of service account 'apps/nobody': AccessDenied: Not authorized to perform sts:AssumeRoleWithWebIdentity",
		},
		"NoRoleAzure": {
			reason: "Who has no role gets nothing, for the same reason each time.", repository: acr, request: request(cloud.Azure, "nobody"),
			err: "get azure credentials of service account 'apps/nobody': invalid_client: " +
				"AADSTS700213: No matching federated identity record found.",
		},
		"NoRoleGCP": {
			reason: "Who has no role gets nothing.", repository: gar, request: request(cloud.GCP, "nobody"),
			err: "get gcp credentials of service account 'apps/nobody': ",
		},
		"NoAnnotationAWS": {
			reason: "The error says which annotation lacks.", repository: ecr, request: request(cloud.AWS, "plain"),
			err: "get aws credentials of service account 'apps/plain': invalid eks.amazonaws.com/role-arn annotation: ''",
		},
		"NoAnnotationAzure": {
			reason: "The error says which annotation lacks.", repository: acr, request: request(cloud.Azure, "plain"),
			err: "get azure credentials of service account 'apps/plain': azure tenant ID is not set in the service account annotation",
		},
		"NoAccount": {
			reason: "An account that is not there is no other one.", repository: gar, request: request(cloud.GCP, "none"),
			err: "failed to get service account 'apps/none': serviceaccounts \"none\" not found",
		},
		"NoNamespace": {
			reason: "Without a namespace, the identity of the process does not stand in.", repository: gar,
			request: cloud.Request{Provider: cloud.GCP, ServiceAccount: "reader"}, err: `service account "reader" cannot be used`,
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c, cluster, _ := credentials(t)

			username, password, err := c.Registry(t.Context(), tc.request, tc.repository)
			if tc.err != "" {
				if err == nil || !strings.HasPrefix(err.Error(), tc.err) || username+password != "" {
					t.Errorf("%s\n%q %q, error: %v", tc.reason, username, password, err)
				}

				if _, _, again := c.Registry(t.Context(), tc.request, tc.repository); again == nil || again.Error() != err.Error() {
					t.Errorf("%s\nfirst error: %v\nthen: %v", tc.reason, err, again)
				}

				return
			}

			if err != nil || username != tc.username || !strings.HasPrefix(password, tc.password) {
				t.Fatalf("%s\n%q %q, error: %v", tc.reason, username, password, err)
			}

			sky.Requests()

			_, again, err := c.Registry(t.Context(), tc.request, tc.repository+"/other")
			if err != nil || again != password || len(sky.Requests()) != 0 || cluster.tokens.Load() != 1 {
				t.Errorf("the credentials are not kept: %d tokens, %v", cluster.tokens.Load(), err)
			}
		})
	}
}

func TestGit(t *testing.T) {
	codecommit := "https://git-codecommit.us-east-1.amazonaws.com/v1/repos/app"
	devops := "https://dev.azure.com/org/project/_git/app"

	cases := map[string]struct {
		reason  string
		request cloud.Request
		url     string
		bearer  bool
		err     string
	}{
		"CodeCommit": {"CodeCommit takes a signature.", request(cloud.AWS, "reader"), codecommit, false, ""},
		"DevOps":     {"Azure DevOps takes a token.", request(cloud.Azure, "reader"), devops, true, ""},
		"OldDevOps":  {"It has an older name.", request(cloud.Azure, "reader"), "https://org.visualstudio.com/p/_git/app", true, ""},
		"HTTP": {
			"Nothing goes over the wire as it is.", request(cloud.Azure, "reader"), "http://dev.azure.com/org", false,
			`provider "azure" does not fit the URL: "dev.azure.com" over "http" is none of its Git servers`,
		},
		"AzureElsewhere": {
			"Another server gets no token.", request(cloud.Azure, "reader"), "https://dev.azure.com.evil.test/org", false,
			`provider "azure" does not fit the URL`,
		},
		"AzurePort": {
			"Nor another port.", request(cloud.Azure, "reader"), "https://dev.azure.com:8443/org", false,
			`provider "azure" does not fit the URL`,
		},
		"AWSBucket": {
			"A bucket may be called like it.", request(cloud.AWS, "reader"), "https://git-codecommit.us-east-1.s3.amazonaws.com/x", false,
			`provider "aws" does not fit the URL`,
		},
		"AWSElsewhere": {
			"Another server gets no signature.", request(cloud.AWS, "reader"), "https://github.com/org/app", false,
			`provider "aws" does not fit the URL`,
		},
		"GCP": {"Google Cloud has no Git.", request(cloud.GCP, "reader"), devops, false, `provider "gcp" does not fit the URL`},
		"Secret": {
			"The URL may hold a secret.", request(cloud.AWS, "reader"), "https://u:hunter2@github.com:x/", false, "parse URL: ",
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c, _, _ := credentials(t)

			username, password, bearer, err := c.Git(t.Context(), tc.request, tc.url)
			if tc.err != "" {
				if err == nil || !strings.HasPrefix(err.Error(), tc.err) || username+password+bearer != "" ||
					strings.Contains(err.Error(), "hunter2") {
					t.Errorf("%s\nerror: %v", tc.reason, err)
				}

				return
			}

			if err != nil || (bearer != "") != tc.bearer || (username != "" && password != "") == tc.bearer {
				t.Errorf("%s\n%q %q %q, error: %v", tc.reason, username, password, bearer, err)
			}
		})
	}
}

func TestAccess(t *testing.T) {
	c, _, _ := credentials(t)

	keys, err := c.AWS(t.Context(), request(cloud.AWS, "reader"), cloud.AWSOptions{Region: "us-east-1"})
	if err != nil || keys.AccessKeyID == "" || keys.SecretAccessKey == "" || keys.SessionToken == "" || keys.Expires.IsZero() {
		t.Errorf("%+v, error: %v", keys.AccessKeyID, err)
	}

	regional := cloud.AWSOptions{Region: "us-east-1", STSEndpoint: "https://sts.eu-central-1.amazonaws.com"}
	sky.Requests()

	other, err := c.AWS(t.Context(), request(cloud.AWS, "reader"), regional)
	if err != nil || other.AccessKeyID == keys.AccessKeyID {
		t.Errorf("the same keys from another endpoint: %v", err)
	}

	if got := fmt.Sprint(sky.Requests()); got != "[POST sts.eu-central-1.amazonaws.com/]" {
		t.Errorf("requests: %s", got)
	}

	if _, err := c.AWS(t.Context(), request(cloud.AWS, "reader"), cloud.AWSOptions{}); err == nil ||
		!strings.Contains(err.Error(), "an AWS region is required") {
		t.Errorf("error without a region: %v", err)
	}

	blob, err := c.Azure(t.Context(), request(cloud.Azure, "reader"), "https://storage.azure.com/.default")
	if err != nil || blob.Token == "" {
		t.Errorf("error: %v", err)
	}

	vault, err := c.Azure(t.Context(), request(cloud.Azure, "reader"), "https://vault.azure.net/.default")
	if err != nil || vault.Token == blob.Token {
		t.Errorf("the same token for another service: %v", err)
	}

	token, err := c.GCP(t.Context(), request(cloud.GCP, "reader"))
	if err != nil || token.AccessToken == "" {
		t.Errorf("error: %v", err)
	}

	if _, err := c.GCP(t.Context(), request(cloud.AWS, "reader")); err == nil ||
		err.Error() != `provider "aws" has no credentials of gcp` {
		t.Errorf("error for another provider: %v", err)
	}
}

func TestCheckSTSEndpoint(t *testing.T) {
	cases := map[string]bool{
		"https://sts.amazonaws.com":                                                true,
		"https://sts.us-east-1.amazonaws.com":                                      true,
		"https://sts-fips.us-gov-west-1.amazonaws.com":                             true,
		"https://vpce-002b7cc8966426bc6-njisq19r.sts.us-east-1.vpce.amazonaws.com": true,
		"http://sts.us-east-1.amazonaws.com":                                       false,
		"https://sts.us-east-1.amazonaws.com/":                                     false,
		"https://sts.us-east-1.amazonaws.com:8443":                                 false,
		"https://user@sts.us-east-1.amazonaws.com":                                 false,
		"https://evil.test/x.sts.amazonaws.com":                                    false,
		"https://evil.test?x.sts.us-east-1.amazonaws.com":                          false,
		"https://evil.test#x.sts.us-east-1.amazonaws.com":                          false,
		"https://sts.s3.amazonaws.com":                                             false,
		"https://x.sts.s3.amazonaws.com":                                           false,
		"https://sts.us-east-1.elb.amazonaws.com":                                  false,
		"https://sts.us-east-1.amazonaws.com.evil.test":                            false,
		"https://sts.us-east-1.amazonaws.com\n":                                    false,
		"":                                                                         false,
	}

	for endpoint, want := range cases {
		if err := cloud.CheckSTSEndpoint(endpoint); (err == nil) != want {
			t.Errorf("%q: %v", endpoint, err)
		}
	}
}

// The identity of the process is what its environment says.
func TestProcess(t *testing.T) {
	c, cluster, _ := credentials(t)

	t.Setenv("AWS_REGION", "us-east-1")
	t.Setenv("AWS_ROLE_ARN", role)
	t.Setenv("AWS_WEB_IDENTITY_TOKEN_FILE", tokenFile(t, "sts.amazonaws.com"))

	username, password, err := c.Registry(t.Context(), request(cloud.AWS, ""), ecr)
	if err != nil || username == "" || password == "" {
		t.Errorf("aws: %v", err)
	}

	t.Setenv("AZURE_AUTHORITY_HOST", "https://login.microsoftonline.com/")
	t.Setenv("AZURE_TENANT_ID", tenant)
	t.Setenv("AZURE_CLIENT_ID", clientID)
	t.Setenv("AZURE_FEDERATED_TOKEN_FILE", tokenFile(t, "api://AzureADTokenExchange"))

	if _, password, err = c.Registry(t.Context(), request(cloud.Azure, ""), acr); err != nil || password == "" {
		t.Errorf("azure: %v", err)
	}

	key, err := sky.NewServiceKey(mail)
	if err != nil {
		t.Fatal(err)
	}

	file := filepath.Join(t.TempDir(), "key.json")
	if err := os.WriteFile(file, key, 0o600); err != nil {
		t.Fatal(err)
	}

	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", file)

	if _, password, err = c.Registry(t.Context(), request(cloud.GCP, ""), gar); err != nil || password == "" {
		t.Errorf("gcp: %v", err)
	}

	if cluster.tokens.Load() != 0 {
		t.Error("tokens of ServiceAccounts were made")
	}
}

// Keys of the environment that never expire are kept, too.
func TestProcessWithKeys(t *testing.T) {
	c, _, registry := credentials(t)

	keys := sky.Keys.Issue(time.Hour)
	t.Setenv("AWS_ACCESS_KEY_ID", keys.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", keys.SecretKey)
	t.Setenv("AWS_SESSION_TOKEN", keys.SessionToken)

	for range 2 {
		got, err := c.AWS(t.Context(), request(cloud.AWS, ""), cloud.AWSOptions{Region: "us-east-1"})
		if err != nil || got.AccessKeyID != keys.AccessKey || !got.Expires.IsZero() {
			t.Errorf("%+v, %v", got.AccessKeyID, err)
		}
	}

	if got := figures(t, registry); got["gotk_token_cached_items"] != 1 {
		t.Errorf("figures: %v", got)
	}
}

// The services of the node hear secrets over plain HTTP: they are asked directly, whatever proxy an object names.
func TestProcessAsksItsNodeDirectly(t *testing.T) {
	c, _, _ := credentials(t)

	var asked atomic.Int64

	node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "secret of the pod" {
			http.Error(w, "no", http.StatusForbidden)

			return
		}

		asked.Add(1)

		_ = json.NewEncoder(w).Encode(map[string]string{
			"AccessKeyId": "node", "SecretAccessKey": "x", "Token": "y", "Expiration": time.Now().Add(time.Hour).Format(time.RFC3339),
		})
	}))
	defer node.Close()

	t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", node.URL)
	t.Setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "secret of the pod")

	keys, err := c.AWS(t.Context(), request(cloud.AWS, ""), cloud.AWSOptions{Region: "us-east-1"})
	if err != nil || keys.AccessKeyID != "node" || asked.Load() != 1 || len(sky.Requests()) != 0 {
		t.Errorf("%q, %v: the node was asked %d times", keys.AccessKeyID, err, asked.Load())
	}
}

func tokenFile(t *testing.T, audience string) string {
	t.Helper()

	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(sky.ServiceAccountToken("apps", "reader", audience)), 0o600); err != nil {
		t.Fatal(err)
	}

	return file
}

// Where ServiceAccounts stand in for the identity of the process, that is not available.
func TestLockdown(t *testing.T) {
	c, cluster, _ := credentials(t, func(o *cloud.Options) { o.DefaultServiceAccount = "reader" })
	t.Setenv("AWS_ACCESS_KEY_ID", "process")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "process")

	keys, err := c.AWS(t.Context(), request(cloud.AWS, ""), cloud.AWSOptions{Region: "us-east-1"})
	if err != nil || keys.AccessKeyID == "process" || cluster.tokens.Load() != 1 {
		t.Errorf("%q, %v", keys.AccessKeyID, err)
	}

	elsewhere := request(cloud.AWS, "")
	elsewhere.Namespace = "other"

	if _, err := c.AWS(t.Context(), elsewhere, cloud.AWSOptions{Region: "us-east-1"}); err == nil ||
		!strings.Contains(err.Error(), "failed to get service account 'other/reader'") {
		t.Errorf("error: %v", err)
	}

	if _, err := c.AzureManaged(t.Context(), request(cloud.Azure, ""), clientID, "x"); err == nil {
		t.Error("a managed identity is available")
	}
}

// A proxy that an object names is an address that somebody gives.
func TestGuardedProxy(t *testing.T) {
	c, _, _ := credentials(t)

	r := request(cloud.GCP, "reader")
	r.Proxy = &url.URL{Scheme: "http", Host: "169.254.169.254", User: url.UserPassword("u", "hunter2")}

	_, err := c.GCP(t.Context(), r)
	if err == nil || !strings.Contains(err.Error(), "address 169.254.169.254 is link-local") || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("error: %v", err)
	}
}

func TestFingerprint(t *testing.T) {
	c, cluster, _ := credentials(t)

	of := func(r cloud.Request) string {
		t.Helper()

		f, err := c.Fingerprint(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}

		return string(f[:])
	}

	reader := of(request(cloud.AWS, "reader"))
	other := request(cloud.AWS, "reader")
	other.Kind, other.Name = "Bucket", "other"

	if of(other) != reader {
		t.Error("two objects with the same account differ")
	}

	if of(request(cloud.AWS, "nobody")) == reader || of(request(cloud.AWS, "")) == reader || of(request(cloud.GCP, "reader")) == reader {
		t.Error("who is not the same has the same fingerprint")
	}

	account := &corev1.ServiceAccount{}
	if err := cluster.Get(t.Context(), client.ObjectKey{Namespace: "apps", Name: "reader"}, account); err != nil {
		t.Fatal(err)
	}

	account.Annotations["eks.amazonaws.com/role-arn"] += "2"
	if err := cluster.Update(t.Context(), account); err != nil {
		t.Fatal(err)
	}

	if of(request(cloud.AWS, "reader")) == reader {
		t.Error("an account with another role has the same fingerprint")
	}

	// And what was kept for the old one is not given to it.
	if _, err := c.AWS(t.Context(), request(cloud.AWS, "reader"), cloud.AWSOptions{Region: "us-east-1"}); err == nil {
		t.Error("it got keys for a role that it has not")
	}
}

func TestCache(t *testing.T) {
	now := time.Now()
	clock := func() time.Time { return now }

	cases := map[string]struct {
		reason string
		change func(*cloud.Options)
		after  time.Duration
		want   int64
	}{
		"Kept":     {"A token is kept.", func(*cloud.Options) {}, 0, 1},
		"Late":     {"It is kept for four fifths of its life.", func(*cloud.Options) {}, 47 * time.Minute, 1},
		"Stale":    {"After that, there is a new one.", func(*cloud.Options) {}, 49 * time.Minute, 2},
		"Age":      {"It may be kept for less.", func(o *cloud.Options) { o.CacheAge = time.Minute }, 61 * time.Second, 2},
		"Disabled": {"Or not at all.", func(o *cloud.Options) { o.CacheSize = 0 }, 0, 2},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			now = time.Now()
			c, cluster, _ := credentials(t, func(o *cloud.Options) { o.Now = clock }, tc.change)

			for range 2 {
				if _, err := c.GCP(t.Context(), request(cloud.GCP, "reader")); err != nil {
					t.Fatal(err)
				}

				now = now.Add(tc.after)
			}

			if got := cluster.tokens.Load(); got != tc.want {
				t.Errorf("%s\n%d tokens", tc.reason, got)
			}
		})
	}
}

func TestCacheMetrics(t *testing.T) {
	c, _, registry := credentials(t, func(o *cloud.Options) { o.CacheSize = 1 })

	get := func(provider, name, account string) {
		r := request(provider, account)
		r.Name = name

		if provider == cloud.GCP {
			_, _ = c.GCP(t.Context(), r)
		} else {
			_, _ = c.AWS(t.Context(), r, cloud.AWSOptions{Region: "us-east-1"})
		}
	}

	get(cloud.GCP, "a", "reader")
	get(cloud.GCP, "b", "reader")
	get(cloud.AWS, "b", "reader")
	get(cloud.AWS, "b", "nobody")

	want := map[string]float64{
		"gotk_token_cache_events_total cache_miss OCIRepository a apps reconcile": 1,
		"gotk_token_cache_events_total cache_hit OCIRepository b apps reconcile":  1,
		"gotk_token_cache_events_total cache_miss OCIRepository b apps reconcile": 2,
		"gotk_token_cache_requests_total success":                                 3,
		"gotk_token_cache_requests_total failure":                                 1,
		"gotk_token_cache_evictions_total":                                        1,
		"gotk_token_cached_items":                                                 1,
	}
	if diff := cmp.Diff(want, figures(t, registry)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}

	c.Forget("OCIRepository", "apps", "b")

	want = map[string]float64{
		"gotk_token_cache_events_total cache_miss OCIRepository a apps reconcile": 1,
		"gotk_token_cache_requests_total success":                                 3,
		"gotk_token_cache_requests_total failure":                                 1,
		"gotk_token_cache_evictions_total":                                        1,
		"gotk_token_cached_items":                                                 0,
	}
	if diff := cmp.Diff(want, figures(t, registry)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// A token that somebody else still uses stays.
func TestForgetKeepsWhatOthersUse(t *testing.T) {
	c, cluster, _ := credentials(t)

	for _, name := range []string{"a", "b"} {
		r := request(cloud.GCP, "reader")
		r.Name = name

		if _, err := c.GCP(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}

	c.Forget("OCIRepository", "apps", "a")

	if _, err := c.GCP(t.Context(), request(cloud.GCP, "reader")); err != nil || cluster.tokens.Load() != 1 {
		t.Errorf("%d tokens, %v", cluster.tokens.Load(), err)
	}
}

// Who wants the same token at the same time gets the same one.
func TestConcurrently(t *testing.T) {
	c, cluster, _ := credentials(t)

	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			r := request(cloud.GCP, "reader")
			r.Name = fmt.Sprint(i)

			if _, _, err := c.Registry(t.Context(), r, gar); err != nil {
				t.Error(err)
			}

			if i%5 == 0 {
				c.Forget(r.Kind, r.Namespace, r.Name)
			}
		})
	}

	wg.Wait()

	if got := cluster.tokens.Load(); got < 1 || got > 20 {
		t.Errorf("%d tokens", got)
	}
}

// A provider that never answers does not hold anybody for longer than they wait.
func TestEnds(t *testing.T) {
	c, _, _ := credentials(t)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()

	if _, err := c.GCP(ctx, request(cloud.GCP, "reader")); err == nil {
		t.Error("there is a token")
	}
}

// figures returns all metrics by their names and labels.
func figures(t *testing.T, r *prometheus.Registry) map[string]float64 {
	t.Helper()

	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}

	got := map[string]float64{}

	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			labels := map[string]string{}

			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}

			for _, l := range []string{"status", "event_type", "kind", "name", "namespace", "operation"} {
				if v, ok := labels[l]; ok {
					name += " " + v
				}
			}

			got[name] = value(m)
		}
	}

	return got
}

func value(m *dto.Metric) float64 { return m.GetCounter().GetValue() + m.GetGauge().GetValue() }
