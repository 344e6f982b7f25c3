package bucket_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/ingest"
	"github.com/weir-dev/weir/test/s3server"
)

func withSTS(sts sourcev1.BucketSTSSpec) func(*sourcev1.BucketSpec) {
	return func(s *sourcev1.BucketSpec) { s.STS = &sts }
}

func ref(name string) *meta.LocalObjectReference { return &meta.LocalObjectReference{Name: name} }

func TestKeysOfASecret(t *testing.T) {
	const secret = "wJalrXUtnFEMI"

	cases := map[string]struct {
		reason   string
		provider string
		keys     map[string]string
		want     string
	}{
		"Right": {
			reason: "The right keys open the bucket.", keys: map[string]string{"accesskey": "reader", "secretkey": secret},
			want: "",
		},
		"RightForAWS": {
			reason: "So they do for AWS.", provider: "aws", keys: map[string]string{"accesskey": "reader", "secretkey": secret},
			want: "",
		},
		"WrongSecret": {
			reason: "The server refuses a wrong key.", keys: map[string]string{"accesskey": "reader", "secretkey": secret + "x"},
			want: "BucketOperationFailed: failed to confirm existence of 'apps' bucket: The request signature we calculated does not match",
		},
		"Unknown": {
			reason: "The server refuses one it does not know.", keys: map[string]string{"accesskey": "nobody", "secretkey": secret},
			want: "BucketOperationFailed: failed to confirm existence of 'apps' bucket: The Access Key Id you provided does not exist",
		},
		"Misspelt": {
			reason: "A misspelt key does not mean no key.", keys: map[string]string{"accessKey": "reader", "secretkey": secret},
			want: "AuthenticationFailed: invalid 'apps/keys' secret data: required fields 'accesskey' and 'secretkey'",
		},
		"Empty": {
			reason: "Nor does an empty one.", keys: map[string]string{"accesskey": "reader", "secretkey": ""},
			want: "AuthenticationFailed: invalid 'apps/keys' secret data: required fields 'accesskey' and 'secretkey'",
		},
		"Missing": {
			reason: "Nor does a Secret that is not there.",
			want:   "AuthenticationFailed: failed to get secret 'apps/keys': ",
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			s := w.server(t, s3server.Options{Keys: map[string]string{"reader": secret}})

			if tc.keys != nil {
				w.secret("keys", tc.keys)
			}

			obj := object("app", s, withSecret("keys"), func(s *sourcev1.BucketSpec) { s.Provider = tc.provider })
			got := w.bench(t, obj).run(t, obj)

			if tc.want == "" {
				expect(t, got.Object, meta.ReadyCondition, "True Succeeded")
			} else {
				expect(t, got.Object, meta.FetchFailedCondition, "True "+tc.want)
				expect(t, got.Object, meta.ReadyCondition, "False "+tc.want)
			}

			if all := fmt.Sprint(got.Object.Status, got.Events, got.Err); strings.Contains(all, secret) {
				t.Errorf("%s\nthe secret shows: %s", tc.reason, all)
			}
		})
	}
}

func TestAnonymous(t *testing.T) {
	w := newWorld(t)
	s := w.server(t, s3server.Options{Keys: map[string]string{"reader": "secret"}})
	obj := object("app", s)
	expect(t, w.bench(t, obj).run(t, obj).Object, meta.FetchFailedCondition,
		"True BucketOperationFailed: failed to confirm existence of 'apps' bucket: Access Denied.")
}

// Keys that change are taken at once, and what was seen with other ones is not shown.
func TestRotation(t *testing.T) {
	w := newWorld(t)
	s := w.server(t, s3server.Options{Keys: map[string]string{"reader": "secret"}})
	w.secret("keys", map[string]string{"accesskey": "reader", "secretkey": "wrong"})

	obj := object("app", s, withSecret("keys"))
	b := w.bench(t, obj)
	expect(t, b.run(t, obj).Object, meta.ReadyCondition, "False BucketOperationFailed")

	w.secret("keys", map[string]string{"accesskey": "reader", "secretkey": "secret"})

	got := b.run(t, obj)
	expect(t, got.Object, meta.ReadyCondition, "True Succeeded")
	same(t, "events", []string{"NewArtifact: stored artifact with 2 fetched files from 'apps' bucket"}, reasons(got.Events))

	w.secret("keys", map[string]string{"accesskey": "reader", "secretkey": "wrong"})
	expect(t, b.run(t, obj).Object, meta.ReadyCondition, "False BucketOperationFailed")

	w.secret("keys", map[string]string{"accesskey": "reader", "secretkey": "secret"})
	w.clock.Advance(time.Minute)
	same(t, "events", []string{"Succeeded: stored artifact with 2 fetched files from 'apps' bucket"}, reasons(b.run(t, obj).Events))
}

func TestWrongBucket(t *testing.T) {
	w := newWorld(t)
	s := w.server(t, s3server.Options{})
	obj := object("app", s, func(s *sourcev1.BucketSpec) { s.BucketName = "none" })
	got := w.bench(t, obj).run(t, obj)
	expect(t, got.Object, meta.FetchFailedCondition, "True BucketOperationFailed: bucket 'none' not found")
	expect(t, got.Object, meta.ReconcilingCondition, "True ProgressingWithRetry: bucket 'none' not found")

	if got.Object.Status.ObservedGeneration != 0 {
		t.Errorf("observed generation is %d", got.Object.Status.ObservedGeneration)
	}
}

func TestTLS(t *testing.T) {
	cases := map[string]struct {
		reason     string
		clientAuth bool
		secret     func(t *testing.T, s *s3server.Server) map[string]string
		want       string
	}{
		"NoAuthority": {
			reason: "A server that nobody vouches for is not trusted.",
			want:   "False BucketOperationFailed: failed to confirm existence of 'apps' bucket: tls: failed to verify certificate",
		},
		"Authority": {
			reason: "The authority of the object is trusted.",
			secret: func(_ *testing.T, s *s3server.Server) map[string]string {
				return map[string]string{"ca.crt": string(s.CA)}
			},
			want: "True Succeeded",
		},
		"NoClientCertificate": {
			reason: "A server may ask for a certificate.", clientAuth: true,
			secret: func(_ *testing.T, s *s3server.Server) map[string]string {
				return map[string]string{"ca.crt": string(s.CA)}
			},
			want: "False BucketOperationFailed: failed to confirm existence of 'apps' bucket: ",
		},
		"ClientCertificate": {
			reason: "The certificate of the object is shown.", clientAuth: true,
			secret: func(t *testing.T, s *s3server.Server) map[string]string {
				t.Helper()

				cert, key, err := s.ClientCertificate()
				check(t, err)

				return map[string]string{"ca.crt": string(s.CA), "tls.crt": string(cert), "tls.key": string(key)}
			},
			want: "True Succeeded",
		},
		"Misspelt": {
			reason: "A misspelt key does not mean no certificate.",
			secret: func(_ *testing.T, s *s3server.Server) map[string]string {
				return map[string]string{"ca.cert": string(s.CA)}
			},
			want: "False AuthenticationFailed: secret 'apps/tls': none of the keys is there",
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			s := w.server(t, s3server.Options{TLS: true, ClientAuth: tc.clientAuth})
			obj := object("app", s)

			if tc.secret != nil {
				w.secret("tls", tc.secret(t, s))
				obj.Spec.CertSecretRef = ref("tls")
			}

			expect(t, w.bench(t, obj).run(t, obj).Object, meta.ReadyCondition, tc.want)
		})
	}
}

func TestLDAP(t *testing.T) {
	cases := map[string]struct {
		reason string
		secret map[string]string
		tls    bool
		want   string
	}{
		"Right": {
			reason: "The service gives keys for a password.", secret: map[string]string{"username": "alice", "password": "hunter2"},
			want: "True Succeeded",
		},
		"OverTLS": {
			reason: "It may have an authority of its own.", secret: map[string]string{"username": "alice", "password": "hunter2"}, tls: true,
			want: "True Succeeded",
		},
		"Wrong": {
			reason: "It refuses a wrong one.", secret: map[string]string{"username": "alice", "password": "hunter3"},
			want: "False AuthenticationFailed: get keys from the STS endpoint: InvalidParameterValue: LDAP server error: LDAP auth failed",
		},
		"Misspelt": {
			reason: "A misspelt key is an error.", secret: map[string]string{"user": "alice", "password": "hunter2"},
			want: "False AuthenticationFailed: secret 'apps/ldap': 'username' and 'password' have to be set together",
		},
		"Empty": {
			reason: "An empty Secret is an error.", secret: map[string]string{},
			want: "False AuthenticationFailed: invalid 'apps/ldap' secret data: required fields 'username' and 'password'",
		},
		"None": {
			reason: "There is no user without a Secret.",
			want:   "False AuthenticationFailed: spec.sts.secretRef is required for the 'ldap' STS provider",
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			s := w.server(t, s3server.Options{LDAP: map[string]string{"alice": "hunter2"}, TLS: tc.tls})
			sts := sourcev1.BucketSTSSpec{Provider: "ldap", Endpoint: s.URL()}
			obj := object("app", s)

			if tc.secret != nil {
				w.secret("ldap", tc.secret)
				sts.SecretRef = ref("ldap")
			}

			if tc.tls {
				w.secret("tls", map[string]string{"ca.crt": string(s.CA)})
				sts.CertSecretRef, obj.Spec.CertSecretRef = ref("tls"), ref("tls")
			}

			obj.Spec.STS = &sts
			b := w.bench(t, obj)
			got := b.run(t, obj)
			expect(t, got.Object, meta.ReadyCondition, tc.want)

			if strings.Contains(fmt.Sprint(got.Object.Status, got.Events, got.Err), "hunter") {
				t.Errorf("%s\nthe password shows", tc.reason)
			}

			if engine.IsTrue(got.Object, meta.ReadyCondition) {
				s.Requests()
				b.run(t, obj)
				w.clock.Advance(time.Minute)
				b.run(t, obj)
				same(t, "requests with keys that are still good", []string{"list"}, requests(s))
			}
		})
	}
}

func TestInvalid(t *testing.T) {
	const amazon = "https://sts.us-east-1.amazonaws.com"

	cases := map[string]struct {
		reason string
		change func(*sourcev1.BucketSpec)
		want   string
	}{
		"STSForGCP": {
			"STS is for S3.", func(s *sourcev1.BucketSpec) {
				s.Provider, s.Endpoint, s.STS = "gcp", "storage.googleapis.com", &sourcev1.BucketSTSSpec{Provider: "aws", Endpoint: amazon}
			}, "InvalidSTSConfiguration: STS configuration is only supported for the 'aws' and 'generic' Bucket providers",
		},
		"LDAPForAWS": {
			"AWS has its own.", func(s *sourcev1.BucketSpec) {
				s.Provider, s.STS = "aws", &sourcev1.BucketSTSSpec{Provider: "ldap", Endpoint: amazon}
			}, "InvalidSTSConfiguration: 'aws' is the only supported STS provider for the 'aws' Bucket provider",
		},
		"AWSForGeneric": {
			"Others do not.", withSTS(sourcev1.BucketSTSSpec{Provider: "aws", Endpoint: amazon}),
			"InvalidSTSConfiguration: 'ldap' is the only supported STS provider for the 'generic' Bucket provider",
		},
		"STSSecretForAWS": {
			"AWS needs no password.", func(s *sourcev1.BucketSpec) {
				s.Provider, s.STS = "aws", &sourcev1.BucketSTSSpec{Provider: "aws", Endpoint: amazon, SecretRef: ref("x")}
			}, "InvalidSTSConfiguration: spec.sts.secretRef is not required for the 'aws' STS provider",
		},
		"STSCertForAWS": {
			"Nor an authority.", func(s *sourcev1.BucketSpec) {
				s.Provider, s.STS = "aws", &sourcev1.BucketSTSSpec{Provider: "aws", Endpoint: amazon, CertSecretRef: ref("x")}
			}, "InvalidSTSConfiguration: spec.sts.certSecretRef is not required for the 'aws' STS provider",
		},
		"STSElsewhere": {
			"A token of AWS goes to AWS.", func(s *sourcev1.BucketSpec) {
				s.Provider, s.STS = "aws", &sourcev1.BucketSTSSpec{Provider: "aws", Endpoint: "https://evil.test/x.sts.amazonaws.com"}
			}, `InvalidSTSConfiguration: STS endpoint "evil.test" is no https://<host> of AWS`,
		},
		"STSNoURL": {
			"LDAP needs an address.", withSTS(sourcev1.BucketSTSSpec{Provider: "ldap", Endpoint: "https://"}),
			"InvalidSTSConfiguration: failed to parse STS Endpoint 'https:': it is no URL of HTTP",
		},
		"EndpointWithScheme": {
			"An endpoint is no URL.", func(s *sourcev1.BucketSpec) { s.Endpoint = "http://127.0.0.1" },
			"URLInvalid: endpoint 'http://127.0.0.1' is no <host>[:<port>]",
		},
		"EndpointWithPath": {
			"It has no path.", func(s *sourcev1.BucketSpec) { s.Endpoint = "127.0.0.1/x" },
			"URLInvalid: endpoint '127.0.0.1/x' is no <host>[:<port>]",
		},
		"EndpointOfAzure": {
			"That of Azure is one.", func(s *sourcev1.BucketSpec) { s.Provider, s.Endpoint = "azure", "account.blob.core.windows.net" },
			"URLInvalid: endpoint 'account.blob.core.windows.net' is no URL of a storage account",
		},
		"AccountForGeneric": {
			"A ServiceAccount is for clouds.", func(s *sourcev1.BucketSpec) { s.ServiceAccountName = "reader" },
			"AuthenticationFailed: ServiceAccountName is not supported for the 'generic' Bucket provider",
		},
		"AccountAndSecret": {
			"It is one or the other.", func(s *sourcev1.BucketSpec) {
				s.Provider, s.ServiceAccountName, s.SecretRef = "aws", "reader", ref("x")
			},
			"AuthenticationFailed: cannot set both .spec.secretRef and .spec.serviceAccountName",
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			s := w.server(t, s3server.Options{})
			obj := object("app", s, tc.change)
			got := w.bench(t, obj).run(t, obj)

			expect(t, got.Object, meta.StalledCondition, "True "+tc.want)
			expect(t, got.Object, meta.ReadyCondition, "False "+tc.want)
			expect(t, got.Object, meta.ReconcilingCondition, "")
			same(t, tc.reason, []string(nil), requests(s))

			if got.Object.Status.ObservedGeneration != 1 || got.Result.RequeueAfter != 0 || got.Err != nil {
				t.Errorf("%s\nobserved generation %d, %+v, %v", tc.reason, got.Object.Status.ObservedGeneration, got.Result, got.Err)
			}
		})
	}
}

// Addresses that nobody may ask for are not asked.
func TestGuard(t *testing.T) {
	w := newWorld(t)
	w.buckets.Transports = &ingest.Transports{Allow: ingest.RefuseLinkLocal}
	obj := object("app", nil, func(s *sourcev1.BucketSpec) { s.Endpoint, s.Insecure = "169.254.169.254", true })
	got := w.bench(t, obj).run(t, obj)
	expect(t, got.Object, meta.FetchFailedCondition,
		"True BucketOperationFailed: failed to confirm existence of 'apps' bucket: dial tcp 169.254.169.254:80: address 169.254.169.254 is link-local")
}
