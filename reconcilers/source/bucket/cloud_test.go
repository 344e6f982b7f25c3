package bucket_test

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/cloud"
	"github.com/weir-dev/weir/reconcilers/ingest"
	clouds "github.com/weir-dev/weir/test/cloud"
	"github.com/weir-dev/weir/test/s3server"
)

// sky is the cloud of all tests, see package test/cloud.
var sky *clouds.Cloud

func TestMain(m *testing.M) {
	os.Exit(clouds.Main(m, func(c *clouds.Cloud) { sky = c }))
}

const (
	role     = "arn:aws:iam::123456789012:role/reader"
	tenant   = "11111111-1111-1111-1111-111111111111"
	clientID = "22222222-2222-2222-2222-222222222222"
	mail     = "reader@project.iam.gserviceaccount.com"
)

// identities gives the world credentials for the ServiceAccounts "reader", which has a role in each cloud, and "nobody".
func (w *world) identities(t *testing.T) {
	t.Helper()

	annotations := map[string]string{
		"eks.amazonaws.com/role-arn":                    role,
		"azure.workload.identity/tenant-id":             tenant,
		"azure.workload.identity/client-id":             clientID,
		"iam.gke.io/gcp-service-account":                mail,
		"gcp.auth.fluxcd.io/workload-identity-provider": "projects/1/locations/global/workloadIdentityPools/p/providers/c",
	}

	for _, id := range []string{role, tenant + "/" + clientID, mail} {
		sky.Roles[id] = "apps/reader"
	}

	api := fake.NewClientBuilder().WithObjects(
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "apps", Name: "reader", Annotations: annotations}},
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "apps", Name: "nobody", Annotations: annotations}},
	).WithInterceptorFuncs(interceptor.Funcs{
		SubResourceCreate: func(_ context.Context, _ client.Client, _ string, obj, sub client.Object,
			_ ...client.SubResourceCreateOption,
		) error {
			request, ok := sub.(*authenticationv1.TokenRequest)
			if !ok {
				return fmt.Errorf("unexpected request: %+v", sub)
			}

			request.Status.Token = sky.ServiceAccountToken(obj.GetNamespace(), obj.GetName(), request.Spec.Audiences...)

			return nil
		},
	}).Build()

	w.buckets.Transports = &ingest.Transports{}
	w.buckets.Cloud = cloud.New(cloud.Options{Client: api, Transports: w.buckets.Transports, CacheSize: 10})
	w.secret("proxy", map[string]string{"address": sky.Proxy().String()})
}

// onCloud returns a Bucket of a cloud.
func onCloud(provider, endpoint string, change ...func(*sourcev1.BucketSpec)) *sourcev1.Bucket {
	return object("app", nil, append([]func(*sourcev1.BucketSpec){func(s *sourcev1.BucketSpec) {
		s.Provider, s.Endpoint, s.ProxySecretRef = provider, endpoint, ref("proxy")
	}}, change...)...)
}

func withAccount(name string) func(*sourcev1.BucketSpec) {
	return func(s *sourcev1.BucketSpec) { s.ServiceAccountName = name }
}

// revisionOfCloud returns the revision of objects with the etags.
func revisionOfCloud(etags map[string]string) string {
	text := ""
	for _, key := range slices.Sorted(maps.Keys(etags)) {
		text += key + " " + etags[key] + "\n"
	}

	return sum(text)
}

func TestAWS(t *testing.T) {
	const host = "s3.us-east-1.amazonaws.com"

	s := s3server.New(s3server.Options{
		Issued: sky.Keys, Domains: []string{host, "s3.dualstack.us-east-1.amazonaws.com"},
	})
	check(t, s.MakeBucket("apps"))
	put(t, s, map[string]string{"app.yaml": "a: 1\n"})
	sky.Handle("apps."+host, s)
	sky.Handle("apps.s3.dualstack.us-east-1.amazonaws.com", s)

	cases := map[string]struct {
		reason string
		change []func(*sourcev1.BucketSpec)
		want   string
	}{
		"Account": {"The role of the account opens the bucket.", []func(*sourcev1.BucketSpec){withAccount("reader")}, "True Succeeded"},
		"Endpoint": {
			"The keys may come from an endpoint.", []func(*sourcev1.BucketSpec){withAccount("reader"), withSTS(sourcev1.BucketSTSSpec{
				Provider: "aws", Endpoint: "https://sts.eu-central-1.amazonaws.com",
			})}, "True Succeeded",
		},
		"NoRole": {
			"Who has no role gets nothing.", []func(*sourcev1.BucketSpec){withAccount("nobody")},
			"False AuthenticationFailed: get aws credentials of service account 'apps/nobody': AccessDenied: Not authorized",
		},
		"Elsewhere": {
			"The keys go to nobody but AWS.", []func(*sourcev1.BucketSpec){withAccount("reader"), func(s *sourcev1.BucketSpec) {
				s.Endpoint = "s3.us-east-1.amazonaws.com.evil.test"
			}},
			`False AuthenticationFailed: provider "aws" does not fit the endpoint: host "s3.us-east-1.amazonaws.com.evil.test" is none of`,
		},
		"Insecure": {
			"Nor over the wire as they are.", []func(*sourcev1.BucketSpec){withAccount("reader"), func(s *sourcev1.BucketSpec) {
				s.Insecure = true
			}},
			`False AuthenticationFailed: provider "aws" does not fit the endpoint: the credentials of an identity need HTTPS`,
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.identities(t)

			obj := onCloud("aws", host, tc.change...)
			got := w.bench(t, obj).run(t, obj)
			expect(t, got.Object, meta.ReadyCondition, tc.want)

			if strings.HasPrefix(tc.want, "True") {
				same(t, tc.reason, map[string]string{"app.yaml": "a: 1\n"}, w.files(t, got.Object.Status.Artifact))
			}
		})
	}
}

func TestProcessIdentity(t *testing.T) {
	keys := sky.Keys.Issue(time.Hour)
	t.Setenv("AWS_ACCESS_KEY_ID", keys.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", keys.SecretKey)
	t.Setenv("AWS_SESSION_TOKEN", keys.SessionToken)

	s := s3server.New(s3server.Options{Issued: sky.Keys, Domains: []string{"s3.dualstack.eu-central-1.amazonaws.com"}})
	check(t, s.MakeBucket("apps"))
	put(t, s, map[string]string{"app.yaml": "a: 1\n"})
	sky.Handle("apps.s3.dualstack.eu-central-1.amazonaws.com", s)

	w := newWorld(t)
	w.identities(t)

	obj := onCloud("aws", "s3.amazonaws.com", func(s *sourcev1.BucketSpec) { s.Region = "eu-central-1" })
	expect(t, w.bench(t, obj).run(t, obj).Object, meta.ReadyCondition, "True Succeeded")

	// Where nobody gives credentials, nothing is asked for without them.
	w.buckets.Cloud = nil
	expect(t, w.bench(t, obj).run(t, obj).Object, meta.ReadyCondition,
		"False AuthenticationFailed: workload identity is not available: spec.secretRef is required")
}

func TestGCP(t *testing.T) {
	const host = "storage.googleapis.com"

	etags := map[string]string{}
	for key, content := range map[string]string{"app.yaml": "a: 1\n", "dir/ä+%?.yaml": "b", "dir/": ""} {
		etags[key] = sky.Put("apps", key, content)
	}

	delete(etags, "dir/")

	key, err := sky.NewServiceKey(mail)
	check(t, err)

	cases := map[string]struct {
		reason string
		secret map[string]string
		change []func(*sourcev1.BucketSpec)
		want   string
	}{
		"Account": {reason: "The account opens the bucket.", change: []func(*sourcev1.BucketSpec){withAccount("reader")}, want: "True Succeeded"},
		"Key":     {reason: "So does a key.", secret: map[string]string{"serviceaccount": string(key)}, want: "True Succeeded"},
		"UnknownKey": {
			reason: "One that nobody knows does not.",
			secret: map[string]string{"serviceaccount": strings.Replace(string(key), mail, "x@y.iam.gserviceaccount.com", 1)},
			want:   "False AuthenticationFailed: get token for the key of the service account: invalid_grant: Invalid JWT Signature.",
		},
		"Misspelt": {
			reason: "A misspelt key is an error.", secret: map[string]string{"serviceAccount": string(key)},
			want: "False AuthenticationFailed: invalid 'apps/gcp' secret data: required fields 'serviceaccount'",
		},
		"OtherKind": {
			reason: "Credentials that name files of this machine are refused.",
			secret: map[string]string{"serviceaccount": `{"type": "external_account", "credential_source": {"file": "/etc/passwd"}}`},
			want:   "False AuthenticationFailed: invalid 'apps/gcp' secret data: 'serviceaccount' is no key of a service account",
		},
		"NoRole": {
			reason: "Who has no role gets nothing.", change: []func(*sourcev1.BucketSpec){withAccount("nobody")},
			want: "False AuthenticationFailed: get gcp credentials of service account 'apps/nobody': ",
		},
		"Elsewhere": {
			reason: "The token goes to nobody else.",
			change: []func(*sourcev1.BucketSpec){withAccount("reader"), func(s *sourcev1.BucketSpec) { s.Endpoint = "evil.test" }},
			want:   `False AuthenticationFailed: provider "gcp" does not fit the endpoint: host "evil.test" is none of the provider's storage`,
		},
		"NoBucket": {
			reason: "A bucket may not be there.",
			change: []func(*sourcev1.BucketSpec){withAccount("reader"), func(s *sourcev1.BucketSpec) { s.BucketName = "none" }},
			want:   "False BucketOperationFailed: bucket 'none' not found",
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.identities(t)

			obj := onCloud("gcp", host, tc.change...)
			if tc.secret != nil {
				w.secret("gcp", tc.secret)
				obj.Spec.SecretRef = ref("gcp")
			}

			got := w.bench(t, obj).run(t, obj)
			expect(t, got.Object, meta.ReadyCondition, tc.want)

			if strings.HasPrefix(tc.want, "True") {
				same(t, tc.reason, map[string]string{"app.yaml": "a: 1\n", "dir/ä+%?.yaml": "b"}, w.files(t, got.Object.Status.Artifact))
				same(t, tc.reason, revisionOfCloud(etags), got.Object.Status.Artifact.Revision)
			}

			if strings.Contains(fmt.Sprint(got.Object.Status, got.Events), "PRIVATE") {
				t.Error("the key shows")
			}
		})
	}
}

// What is fetched is what was listed, or what is there now with its own etag.
func TestGCPChangesWhileFetching(t *testing.T) {
	sky.Put("changing", "a.yaml", "old")
	sky.Put("changing", "b.yaml", "b")
	sky.Put("changing", "gone.yaml", "gone")

	w := newWorld(t)
	w.identities(t)

	obj := onCloud("gcp", "storage.googleapis.com", withAccount("reader"), func(s *sourcev1.BucketSpec) { s.BucketName = "changing" })
	b := w.bench(t, obj)

	var etag string
	sky.Before(func(_ http.ResponseWriter, r *http.Request) bool {
		if etag == "" && strings.HasSuffix(r.URL.Path, ".yaml") {
			etag = sky.Put("changing", "a.yaml", "new")
			sky.Delete("changing", "gone.yaml")
		}

		return false
	})
	defer sky.Before(nil)

	got := b.run(t, obj)
	same(t, "files", map[string]string{"a.yaml": "new", "b.yaml": "b"}, w.files(t, got.Object.Status.Artifact))
	sky.Requests()
	w.clock.Advance(time.Minute)

	if again := b.run(t, obj); len(again.Events)+len(again.Patches) != 0 {
		t.Errorf("the next run sees something else: %q", reasons(again.Events))
	}

	same(t, "requests", "[GET storage.googleapis.com/storage/v1/b/changing/o]", fmt.Sprint(sky.Requests()))
}

// Several pages make one listing.
func TestPages(t *testing.T) {
	const objects = 2500

	for i := range objects {
		key := fmt.Sprintf("%04d.yaml", i)
		sky.Put("account/many", key, key)
		sky.Put("many", key, key)
	}

	many := func(s *sourcev1.BucketSpec) { s.BucketName = "many"; s.Ignore = new("*\n!*0.yaml\n") }
	cases := map[string]*sourcev1.Bucket{
		"Azure": onCloud("azure", "https://account.blob.core.windows.net", withAccount("reader"), many),
		"GCP":   onCloud("gcp", "storage.googleapis.com", withAccount("reader"), many),
	}

	for name, obj := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.identities(t)

			got := w.bench(t, obj).run(t, obj)
			if files := w.files(t, got.Object.Status.Artifact); len(files) != objects/10 || files["2490.yaml"] != "2490.yaml" {
				t.Errorf("%d files", len(files))
			}
		})
	}
}
