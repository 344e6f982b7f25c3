package github_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weir-dev/weir/reconcilers/ingest"
	"github.com/weir-dev/weir/reconcilers/secrets"
	"github.com/weir-dev/weir/reconcilers/source/git/github"
)

// key is the key of the App, which all tests share: making one takes a while.
var key = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

// api is GitHub, as far as an App sees it.
type api struct {
	t   *testing.T
	now time.Time
	key *rsa.PublicKey

	mu       sync.Mutex
	requests []string
	issuers  []string
	bodies   []string
	tokens   int
	answer   int // a status to answer with, if it is not zero
}

func (a *api) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()

	a.requests = append(a.requests, req.Method+" "+req.URL.Path)

	if a.answer != 0 {
		w.WriteHeader(a.answer)
		fmt.Fprintf(w, `{"message":"no, %s"}`, req.Header.Get("Authorization")) //nolint:gosec // what it says must not get anywhere

		return
	}

	issuer, err := a.authenticate(req)
	if err != nil {
		http.Error(w, err.Error(), http.StatusUnauthorized)

		return
	}

	a.issuers = append(a.issuers, issuer)

	switch req.Method + " " + req.URL.Path {
	case "GET /api/v3/orgs/acme/installation":
		fmt.Fprint(w, `{"id": 77, "account": {"login": "acme"}}`)
	case "GET /api/v3/users/jane/installation":
		fmt.Fprint(w, `{"id": 78}`)
	case "POST /api/v3/app/installations/77/access_tokens", "POST /api/v3/app/installations/78/access_tokens":
		body, _ := io.ReadAll(req.Body)
		a.bodies = append(a.bodies, string(body))
		a.tokens++

		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, `{"token": "ghs_%d", "expires_at": %q}`, a.tokens, a.now.Add(time.Hour).Format(time.RFC3339))
	default:
		http.NotFound(w, req)
	}
}

// authenticate checks the JSON web token with the public key, as RFC 7519 and GitHub say.
func (a *api) authenticate(req *http.Request) (string, error) {
	text, ok := strings.CutPrefix(req.Header.Get("Authorization"), "Bearer ")
	parts := strings.Split(text, ".")

	if !ok || len(parts) != 3 {
		return "", fmt.Errorf("no token: %q", text)
	}

	decoded := make([][]byte, 3)
	for i, p := range parts {
		b, err := base64.RawURLEncoding.DecodeString(p)
		if err != nil {
			return "", err
		}

		decoded[i] = b
	}

	if string(decoded[0]) != `{"alg":"RS256","typ":"JWT"}` {
		return "", fmt.Errorf("header %s", decoded[0])
	}

	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if err := rsa.VerifyPKCS1v15(a.key, crypto.SHA256, sum[:], decoded[2]); err != nil {
		return "", err
	}

	var claims struct {
		Issuer  string `json:"iss"`
		Issued  int64  `json:"iat"`
		Expires int64  `json:"exp"`
	}
	if err := json.Unmarshal(decoded[1], &claims); err != nil {
		return "", err
	}

	now := a.now.Unix()
	if claims.Issued > now || claims.Expires <= now || claims.Expires-claims.Issued > 600 {
		return "", fmt.Errorf("times %+v", claims)
	}

	return claims.Issuer, nil
}

func pemKey(t *testing.T) string {
	t.Helper()

	k, err := key()
	if err != nil {
		t.Fatal(err)
	}

	return string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(k)}))
}

func serve(t *testing.T) (*api, *httptest.Server) {
	t.Helper()

	k, err := key()
	if err != nil {
		t.Fatal(err)
	}

	a := &api{t: t, now: time.Date(2026, time.January, 2, 3, 4, 5, 0, time.UTC), key: &k.PublicKey}
	s := httptest.NewTLSServer(a)
	t.Cleanup(s.Close)

	return a, s
}

func secret(s *httptest.Server, data map[string]string) *corev1.Secret {
	sec := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "apps", Name: "app"}, Data: map[string][]byte{
		"githubAppBaseURL": []byte(s.URL + "/api/v3/"),
		"ca.crt":           pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}),
	}}
	for k, v := range data {
		sec.Data[k] = []byte(v)
	}

	return sec
}

func app(t *testing.T, s *corev1.Secret) github.App {
	t.Helper()

	certificates, err := secrets.FindTLS(s, false)
	if err != nil {
		t.Fatal(err)
	}

	a, err := github.ReadApp(s, certificates, nil)
	if err != nil {
		t.Fatal(err)
	}

	return a
}

func (a *api) clock() time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()

	return a.now
}

func TestToken(t *testing.T) {
	pkcs1 := pemKey(t)

	k, err := key()
	if err != nil {
		t.Fatal(err)
	}

	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}

	cases := map[string]struct {
		reason   string
		data     map[string]string
		issuer   string
		requests []string
	}{
		"ID": {
			reason:   "An App has an ID, and an installation has one.",
			data:     map[string]string{"githubAppID": "12", "githubAppInstallationID": "77", "githubAppPrivateKey": pkcs1},
			issuer:   "12",
			requests: []string{"POST /api/v3/app/installations/77/access_tokens"},
		},
		"ClientID": {
			reason: "Its client ID is as good; keys come in two forms; line ends do not matter.",
			data: map[string]string{
				"githubAppClientID": "Iv23.abc\n", "githubAppInstallationID": "77\n",
				"githubAppPrivateKey": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
			},
			issuer:   "Iv23.abc",
			requests: []string{"POST /api/v3/app/installations/77/access_tokens"},
		},
		"Organisation": {
			reason:   "An installation is found by its owner.",
			data:     map[string]string{"githubAppID": "12", "githubAppInstallationOwner": "acme", "githubAppPrivateKey": pkcs1},
			issuer:   "12",
			requests: []string{"GET /api/v3/orgs/acme/installation", "POST /api/v3/app/installations/77/access_tokens"},
		},
		"User": {
			reason: "The owner may be a user.",
			data:   map[string]string{"githubAppID": "12", "githubAppInstallationOwner": "jane", "githubAppPrivateKey": pkcs1},
			issuer: "12",
			requests: []string{
				"GET /api/v3/orgs/jane/installation", "GET /api/v3/users/jane/installation",
				"POST /api/v3/app/installations/78/access_tokens",
			},
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			a, s := serve(t)
			tokens := github.NewTokens(&ingest.Transports{}, a.clock)

			got, err := tokens.Get(t.Context(), app(t, secret(s, tc.data)))
			if err != nil || got != "ghs_1" {
				t.Errorf("%s\ngot %q, %v", tc.reason, got, err)
			}

			if diff := cmp.Diff(tc.requests, a.requests); diff != "" {
				t.Errorf("%s\n-want +got:\n%s", tc.reason, diff)
			}

			for _, issuer := range a.issuers {
				if issuer != tc.issuer {
					t.Errorf("%s\nissuer %q", tc.reason, issuer)
				}
			}

			if diff := cmp.Diff([]string{`{"permissions":{"contents":"read"}}`}, a.bodies); diff != "" {
				t.Errorf("%s\n-want +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestTokenIsKept(t *testing.T) {
	a, s := serve(t)
	tokens := github.NewTokens(&ingest.Transports{}, a.clock)
	data := map[string]string{"githubAppID": "12", "githubAppInstallationID": "77", "githubAppPrivateKey": pemKey(t)}
	one, other := app(t, secret(s, data)), app(t, secret(s, map[string]string{
		"githubAppID": "13", "githubAppInstallationID": "77", "githubAppPrivateKey": pemKey(t),
	}))

	get := func(app github.App, want string) {
		t.Helper()

		if got, err := tokens.Get(t.Context(), app); err != nil || got != want {
			t.Errorf("got %q, %v; want %q", got, err, want)
		}
	}
	wait := func(d time.Duration) {
		a.mu.Lock()
		defer a.mu.Unlock()

		a.now = a.now.Add(d)
	}

	get(one, "ghs_1")
	wait(49 * time.Minute)
	get(one, "ghs_1")
	get(other, "ghs_2") // another App has another token
	wait(2 * time.Minute)
	get(one, "ghs_3") // before it expires
	get(other, "ghs_2")
	tokens.Forget(other)
	get(other, "ghs_4") // it was good for nothing

	var wg sync.WaitGroup

	wait(time.Hour)

	for range 20 {
		wg.Go(func() {
			if _, err := tokens.Get(t.Context(), one); err != nil {
				t.Error(err)
			}
		})
	}

	wg.Wait()

	if a.tokens != 5 {
		t.Errorf("%d tokens", a.tokens)
	}
}

func TestReadApp(t *testing.T) {
	good := map[string]string{"githubAppID": "12", "githubAppInstallationID": "77", "githubAppPrivateKey": "x"}

	cases := map[string]struct {
		reason string
		change map[string]string
		want   string
	}{
		"TwoIDs":           {reason: "An App is named once.", change: map[string]string{"githubAppClientID": "x"}, want: "exactly one of 'githubAppID' and 'githubAppClientID' has to be set"},
		"NoID":             {reason: "An App is named.", change: map[string]string{"githubAppID": ""}, want: "exactly one of 'githubAppID' and 'githubAppClientID' has to be set"},
		"TwoInstallations": {reason: "So is its installation.", change: map[string]string{"githubAppInstallationOwner": "x"}, want: "exactly one of 'githubAppInstallationID' and 'githubAppInstallationOwner' has to be set"},
		"NoInstallation":   {reason: "So is its installation.", change: map[string]string{"githubAppInstallationID": " "}, want: "exactly one of 'githubAppInstallationID' and 'githubAppInstallationOwner' has to be set"},
		"NoKey":            {reason: "An App has a key.", change: map[string]string{"githubAppPrivateKey": ""}, want: "'githubAppPrivateKey' is required"},
		"LargeKey":         {reason: "Nobody waits for a key of a million bits.", change: map[string]string{"githubAppPrivateKey": strings.Repeat("x", 20000)}, want: "'githubAppPrivateKey' has more than 16384 bytes"},
		"OddID":            {reason: "An ID is a number.", change: map[string]string{"githubAppID": "12/../x"}, want: "'githubAppID' is not in the form that GitHub gives it"},
		"OddInstallation":  {reason: "It becomes part of a path.", change: map[string]string{"githubAppInstallationID": "../x"}, want: "'githubAppInstallationID' is not in the form that GitHub gives it"},
		"OddOwner":         {reason: "It becomes part of a path.", change: map[string]string{"githubAppInstallationOwner": "../x"}, want: "'githubAppInstallationOwner' is not in the form that GitHub gives it"},
		"URLScheme":        {reason: "The API is on a web server.", change: map[string]string{"githubAppBaseURL": "file:///etc"}, want: "'githubAppBaseURL' is no URL of a web server"},
		"URLLogin":         {reason: "The App logs in with its key.", change: map[string]string{"githubAppBaseURL": "https://u:pa55@x"}, want: "'githubAppBaseURL' has more than a host and a path"},
		"URLGarbage":       {reason: "A URL is readable.", change: map[string]string{"githubAppBaseURL": "https://u:pa/55@x"}, want: "'githubAppBaseURL' is no URL: invalid port"},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s := &corev1.Secret{Data: map[string][]byte{}}
			for _, m := range []map[string]string{good, tc.change} {
				for k, v := range m {
					s.Data[k] = []byte(v)
				}
			}

			_, err := github.ReadApp(s, nil, nil)
			if err == nil || !strings.HasPrefix(err.Error(), tc.want) || strings.Contains(err.Error(), "55") {
				t.Errorf("%s\ngot:  %v\nwant: %s", tc.reason, err, tc.want)
			}
		})
	}
}

// What goes wrong says what it is, and nothing of the key or of what is signed with it.
func TestFailures(t *testing.T) {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}

	foreign := string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(k)}))

	cases := map[string]struct {
		reason string
		data   map[string]string
		answer int
		want   string
	}{
		"ForeignKey": {reason: "Only the key of the App is taken.", data: map[string]string{"githubAppPrivateKey": foreign}, want: `for installation "77": GitHub answers "401 Unauthorized"`},
		"NoPEM":      {reason: "A key is a key.", data: map[string]string{"githubAppPrivateKey": "sec-ret"}, want: "'githubAppPrivateKey' is no private RSA key in PEM"},
		"OtherPEM":   {reason: "A key is a key.", data: map[string]string{"githubAppPrivateKey": "-----BEGIN PRIVATE KEY-----\nc2VjLXJldA==\n-----END PRIVATE KEY-----\n"}, want: "'githubAppPrivateKey' is no private RSA key in PEM"},
		"NotThere":   {reason: "An installation is there.", data: map[string]string{"githubAppInstallationID": "79"}, want: `for installation "79": GitHub answers "404 Not Found"`},
		"NoOwner": {
			reason: "The owner has to have the App.", data: map[string]string{"githubAppInstallationID": "", "githubAppInstallationOwner": "nobody"},
			want: `the GitHub App is not installed for the owner: "nobody"`,
		},
		"Trouble":  {reason: "GitHub may be in trouble.", answer: 503, want: `for installation "77": GitHub answers "503 Service Unavailable"`},
		"Redirect": {reason: "Not everything is an answer.", answer: 204, want: `for installation "77": the answer is not what GitHub answers`},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			a, s := serve(t)
			a.answer = tc.answer

			data := map[string]string{"githubAppID": "12", "githubAppInstallationID": "77", "githubAppPrivateKey": pemKey(t)}
			maps.Copy(data, tc.data)

			_, err := github.NewTokens(&ingest.Transports{}, a.clock).Get(t.Context(), app(t, secret(s, data)))
			if err == nil || err.Error() != "get token of GitHub App: "+tc.want {
				t.Errorf("%s\ngot:  %v\nwant: %s", tc.reason, err, tc.want)
			}
		})
	}
}
