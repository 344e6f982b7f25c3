package bucket_test

import (
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/test/s3server"
)

// Many objects are asked for at once. Which one is refused first must not decide what is said.
func TestTheFirstFailureCounts(t *testing.T) {
	w := newWorld(t)
	s := w.server(t, s3server.Options{})

	var once sync.Once

	refused := make(chan struct{})

	s.Before(func(rw http.ResponseWriter, r *http.Request) bool {
		switch r.URL.Path {
		case "/apps/app.yaml":
			<-refused

			select { // a bit later, but for those who give up when the other one fails
			case <-r.Context().Done():
			case <-time.After(100 * time.Millisecond):
			}

			rw.WriteHeader(http.StatusForbidden)
		case "/apps/base/kustomization.yaml":
			rw.WriteHeader(http.StatusForbidden)
			once.Do(func() { close(refused) })
		default:
			return false
		}

		return true
	})

	obj := object("app", s)
	b := w.bench(t, obj)

	for range 2 {
		expect(t, b.run(t, obj).Object, meta.FetchFailedCondition,
			`True BucketOperationFailed: fetch from bucket 'apps' failed: get "app.yaml": Access Denied.`)
	}
}

// Who compresses on the way calls etags weak. The content is the same.
func TestWeakEtags(t *testing.T) {
	w := newWorld(t)
	s := w.server(t, s3server.Options{})
	s.Before(func(rw http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/apps/app.yaml" {
			return false
		}

		rw.Header().Set("Last-Modified", time.Now().UTC().Format(http.TimeFormat))
		rw.Header().Set("ETag", `W/"`+s3server.ETag("a: 1\n")+`"`)
		_, _ = io.WriteString(rw, "a: 1\n")

		return true
	})

	obj := object("app", s)
	b := w.bench(t, obj)
	expect(t, b.run(t, obj).Object, meta.ReadyCondition, "True Succeeded")
	requests(s)
	w.clock.Advance(time.Minute)
	b.run(t, obj)
	same(t, "requests", []string{"list"}, requests(s))
}

// Without an etag, nothing tells whether an object is the one that was fetched before.
func TestWithoutEtags(t *testing.T) {
	w := newWorld(t)
	s := w.server(t, s3server.Options{})

	content := map[string]string{"a.yaml": "old"}

	s.Before(func(rw http.ResponseWriter, r *http.Request) bool {
		if r.URL.Query().Get("list-type") == "2" {
			_, _ = io.WriteString(rw, `<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>apps</Name>`)

			for key := range content {
				_, _ = fmt.Fprintf(rw, "<Contents><Key>%s</Key><Size>3</Size></Contents>", key)
			}

			_, _ = io.WriteString(rw, "</ListBucketResult>")

			return true
		}

		text, ok := content[strings.TrimPrefix(r.URL.Path, "/apps/")]
		if ok {
			rw.Header().Set("Last-Modified", time.Now().UTC().Format(http.TimeFormat))
			_, _ = io.WriteString(rw, text)
		}

		return ok
	})

	obj := object("app", s)
	b := w.bench(t, obj)
	same(t, "files", map[string]string{"a.yaml": "old"}, w.files(t, b.run(t, obj).Object.Status.Artifact))

	content["a.yaml"], content["b.yaml"] = "new", "new"
	w.clock.Advance(time.Minute)
	same(t, "files", content, w.files(t, b.run(t, obj).Object.Status.Artifact))
}

// A redirect must not take a token elsewhere.
func TestTokensAreNotRedirected(t *testing.T) {
	w := newWorld(t)
	w.identities(t)

	var got []string

	sky.Handle("evil.test", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		got = append(got, r.Header.Get("Authorization"))
		rw.WriteHeader(http.StatusForbidden)
	}))
	sky.Before(func(rw http.ResponseWriter, r *http.Request) bool {
		if r.Host != "storage.googleapis.com" {
			return false
		}

		http.Redirect(rw, r, "https://evil.test/", http.StatusTemporaryRedirect)

		return true
	})
	defer sky.Before(nil)

	obj := onCloud("gcp", "storage.googleapis.com", withAccount("reader"))
	expect(t, w.bench(t, obj).run(t, obj).Object, meta.ReadyCondition, "False BucketOperationFailed: ")
	same(t, "tokens", []string{""}, got)
}

func withTimeout(d time.Duration) func(*sourcev1.BucketSpec) {
	return func(s *sourcev1.BucketSpec) { s.Timeout = &metav1.Duration{Duration: d} }
}

// Who waits for the keys of others, which do not come, waits as long as it may, and no longer.
func TestLoginIsNotWaitedForWithoutEnd(t *testing.T) {
	w := newWorld(t)
	s := w.server(t, s3server.Options{LDAP: map[string]string{"alice": "hunter2"}})
	w.secret("ldap", map[string]string{"username": "alice", "password": "hunter2"})

	asked := make(chan struct{}, 9)

	s.Before(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPost {
			return false
		}

		_, _ = io.Copy(io.Discard, r.Body) // else nobody sees that the connection ends

		asked <- struct{}{}

		<-r.Context().Done()

		return true
	})

	login := func(s3 *sourcev1.BucketSpec) {
		s3.STS = &sourcev1.BucketSTSSpec{Provider: "ldap", Endpoint: s.URL(), SecretRef: ref("ldap")}
	}
	patient, hasty := object("patient", s, login, withTimeout(time.Hour)), object("hasty", s, login, withTimeout(50*time.Millisecond))
	b := w.bench(t, patient, hasty)
	done := make(chan struct{})

	go func() {
		defer close(done)
		b.run(t, patient)
	}()

	<-asked
	expect(t, b.run(t, hasty).Object, meta.ReadyCondition, "False AuthenticationFailed: timed out after 50ms")
	s.Close()
	<-done
}

// Servers that do not answer must not hold all workers.
func TestSlowServersHoldSomeWorkers(t *testing.T) {
	w := newWorld(t)
	w.deps.Workers, w.deps.Patience = 2, time.Millisecond // there is room for one
	s := w.server(t, s3server.Options{})
	s.Before(func(_ http.ResponseWriter, r *http.Request) bool {
		<-r.Context().Done()

		return true
	})

	one, other := object("one", s, withTimeout(time.Hour)), object("other", s, withTimeout(time.Hour), withPrefix("base"))
	b := w.bench(t, one, other)
	done := make(chan string, 2)

	for _, obj := range []*sourcev1.Bucket{one, other} {
		go func() { done <- engine.Condition(b.run(t, obj).Object, meta.ReadyCondition).Message }()
	}

	if got := <-done; !strings.Contains(got, "gave up after 1ms: ") {
		t.Errorf("the first one to end says %q", got)
	}

	s.Close()
	<-done
}

// A key must not keep a worker busy for days.
func TestCostlyKeys(t *testing.T) {
	long := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: make([]byte, 32<<10)}))
	certificate := func(text string) map[string]string {
		return map[string]string{"tenantId": tenant, "clientId": clientID, "clientCertificate": text}
	}

	cases := map[string]struct {
		reason, provider, endpoint string
		secret                     map[string]string
		want                       string
	}{
		"PKCS12": {
			reason: "The file says how often its password is hashed.", provider: "azure", endpoint: "https://account.blob.core.windows.net",
			secret: certificate("\x30\x82\x01\x00"),
			want:   "'clientCertificate' is no certificate with a key in PEM, which is not encrypted",
		},
		"Certificate": {
			reason: "Numbers of a million bits take long.", provider: "azure", endpoint: "https://account.blob.core.windows.net",
			secret: certificate(long), want: "'clientCertificate' has more than 32768 bytes",
		},
		"ServiceAccount": {
			reason: "They do for everybody.", provider: "gcp", endpoint: "storage.googleapis.com",
			secret: map[string]string{"serviceaccount": long}, want: "'serviceaccount' has more than 32768 bytes",
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.identities(t)
			w.secret("key", tc.secret)

			obj := onCloud(tc.provider, tc.endpoint, withSecret("key"))
			expect(t, w.bench(t, obj).run(t, obj).Object, meta.ReadyCondition,
				"False AuthenticationFailed: invalid 'apps/key' secret data: "+tc.want)
		})
	}
}
