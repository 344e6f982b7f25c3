package cloud_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
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

// binaries is where those of Kubernetes are, which tests get no home to find.
var binaries string

func TestMain(m *testing.M) {
	if dir, err := os.UserCacheDir(); err == nil {
		binaries = filepath.Join(dir, "weir", "cluster")
	}

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
// Keys of the environment that never expire are kept, too.
// The services of the node hear secrets over plain HTTP: they are asked directly, whatever proxy an object names.
// Where ServiceAccounts stand in for the identity of the process, that is not available.
// A proxy that an object names is an address that somebody gives.
// A token that somebody else still uses stays.
// Who wants the same token at the same time gets the same one.
// A provider that never answers does not hold anybody for longer than they wait.
// figures returns all metrics by their names and labels.
