package access

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	testclock "k8s.io/utils/clock/testing"
)

// served returns a factory for a server with the handler.
func served(t *testing.T, o Options, token TokenSource, handler http.HandlerFunc) *Factory {
	t.Helper()

	server := httptest.NewTLSServer(handler)
	t.Cleanup(server.Close)

	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})

	target, err := Endpoint(server.URL, ca, token)
	if err != nil {
		t.Fatal(err)
	}

	if target, err = target.As("ns", "team"); err != nil {
		t.Fatal(err)
	}

	f, err := NewRemote(target, o)
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(f.Close)

	return f
}

func fixed(token string) TokenSource {
	return func(context.Context) (string, error) { return token, nil }
}

// TestRemoteIdentity shows that not even a look at what is served goes out without the identity, or without a token.
func TestRemoteIdentity(t *testing.T) {
	var got atomic.Value

	f := served(t, Options{}, fixed("t"), func(w http.ResponseWriter, req *http.Request) {
		got.Store(req.URL.Path + " " + req.Header.Get("Impersonate-User") + " " + req.Header.Get("Authorization"))
		w.WriteHeader(http.StatusForbidden)
	})

	if err := f.Probe(t.Context()); err != nil {
		t.Errorf("a cluster that does not tell its version is %v", err)
	}

	if want := "/version system:serviceaccount:ns:team Bearer t"; got.Load() != want {
		t.Errorf("the request is %q, want %q", got.Load(), want)
	}

	_, _ = f.Own().Deletable(t.Context())

	if text, _ := got.Load().(string); !strings.HasSuffix(text, " system:serviceaccount:ns:team Bearer t") || strings.HasPrefix(text, "/version") {
		t.Errorf("discovery is %q", text)
	}

	got.Store("")

	empty := served(t, Options{}, fixed(""), func(http.ResponseWriter, *http.Request) { got.Store("a request") })
	if err := empty.Probe(t.Context()); !errors.Is(err, ErrNoIdentity) || got.Load() != "" {
		t.Errorf("without a token: %v, and the server has seen %q", err, got.Load())
	}
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

func TestProbe(t *testing.T) {
	cases := map[string]struct {
		reason string
		answer http.HandlerFunc
		want   string
	}{
		"OK":           {"It is there.", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "{}") }, ""},
		"Forbidden":    {"Not to be told is an answer.", status(http.StatusForbidden), ""},
		"Missing":      {"So is that there is nothing to be told.", status(http.StatusNotFound), ""},
		"Down":         {"What stands in front of it says that it is down.", status(http.StatusServiceUnavailable), "unable to handle the request"},
		"Gateway":      {"Or cannot reach it.", status(http.StatusBadGateway), "an error on the server"},
		"Late":         {"Or does not wait for it any more.", status(http.StatusGatewayTimeout), "unable to return a response in the time allotted"},
		"Broken":       {"It is out of order.", status(http.StatusInternalServerError), "an error on the server"},
		"Busy":         {"It has too much to do.", status(http.StatusTooManyRequests), "too many requests"},
		"Unauthorized": {"It does not know us.", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }, "asked for the client to provide credentials"},
		"Redirect": {"It sends us to somebody else, who gets nothing.", func(w http.ResponseWriter, req *http.Request) {
			http.Redirect(w, req, "https://192.0.2.1/", http.StatusFound)
		}, "the cluster answers with a redirect (302), which is not followed"},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			err := served(t, Options{}, fixed("t"), tc.answer).Probe(t.Context())
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("%s: the error is %v, want %q", tc.reason, err, tc.want)
			}
		})
	}
}

// TestWatchIsBounded shows that a cluster cannot fill the memory with an event, nor with the refusal of a watch.
func TestWatchIsBounded(t *testing.T) {
	w := &Watch{body: io.NopCloser(io.MultiReader(strings.NewReader(`{"type":"`), endless{})), buf: make([]byte, frameSize), full: true}
	if _, err := w.Next(); !errors.Is(err, errLongEvent) {
		t.Errorf("an event without end is %v", err)
	}

	events := strings.Repeat(`{"type":"BOOKMARK","object":{"data":"`+strings.Repeat("a", maxEvent/2)+`"}}`, 3)

	w = &Watch{body: io.NopCloser(strings.NewReader(events)), buf: make([]byte, frameSize), full: true}
	for range 3 {
		if _, err := w.Next(); err != nil {
			t.Errorf("events that are together longer than one may be: %v", err)
		}
	}

	refusing := newLine(nil).wrap(roundTripperFunc(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusInternalServerError, Body: io.NopCloser(endless{})}, nil
	}))

	resp, err := refusing.RoundTrip(httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/api/v1/pods?watch=true", nil))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()

	if n, err := io.Copy(io.Discard, resp.Body); err == nil || n > maxAnswer {
		t.Errorf("of a refusal without end %d bytes are read, then %v", n, err)
	}
}

// endless is a text without end.
type endless struct{}

// Read implements io.Reader.
func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'a'
	}

	return len(p), nil
}

// TestMetadataServiceIsRefused shows that no kubeconfig makes the process talk to what gives away its credentials, be it as a
// server or as a proxy.
func TestMetadataServiceIsRefused(t *testing.T) {
	const config = `{clusters: [{name: c, cluster: {server: "SERVER", proxy-url: "PROXY"}}], users: [{name: u, user: {token: t}}],
contexts: [{name: x, context: {cluster: c, user: u}}], current-context: x}`

	for reason, with := range map[string]*strings.Replacer{
		"as a server": strings.NewReplacer("SERVER", "https://169.254.169.254", "PROXY", ""),
		"as a proxy":  strings.NewReplacer("SERVER", "https://example.com", "PROXY", "http://169.254.169.254:80"),
	} {
		target, err := Kubeconfig([]byte(with.Replace(config)), Rules{})
		if err != nil {
			t.Fatal(err)
		}

		f, err := NewRemote(target, Options{})
		if err != nil {
			t.Fatal(err)
		}

		if err := f.Probe(t.Context()); err == nil || !strings.Contains(err.Error(), "address 169.254.169.254 is link-local") {
			t.Errorf("%s: %v", reason, err)
		}

		f.Close()
	}
}

func TestAnswerIsBounded(t *testing.T) {
	body := &answer{ReadCloser: io.NopCloser(strings.NewReader("12345")), ctx: t.Context(), line: newLine(nil), left: 4}

	if _, err := io.ReadAll(body); err == nil || !strings.Contains(err.Error(), "is longer than") {
		t.Errorf("more than is left is read: %v", err)
	}
}

// TestLine shows that one request that does not come through spares all others the wait, and that the cluster is found again.
func TestLine(t *testing.T) {
	clock := testclock.NewFakePassiveClock(time.Unix(1000, 0))

	var broken atomic.Bool

	var asked atomic.Int64

	f := served(t, Options{Clock: clock}, fixed("t"), func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)

		if broken.Load() {
			panic(http.ErrAbortHandler)
		}

		_, _ = io.WriteString(w, "{}")
	})

	if err := f.Probe(t.Context()); err != nil || f.Down() != nil || f.Broken() {
		t.Fatalf("the cluster is %v, down %v", err, f.Down())
	}

	peace := []time.Duration{5 * time.Second, 10 * time.Second, 20 * time.Second, 40 * time.Second, 80 * time.Second, 2 * time.Minute, 2 * time.Minute}

	broken.Store(true)

	for _, want := range peace {
		if err := f.Probe(t.Context()); err == nil {
			t.Fatal("a broken cluster answers")
		}

		down := f.Down()
		if down == nil || down.Until.Sub(clock.Now()) != want {
			t.Fatalf("the cluster is left in peace until %v, want %s from now", down, want)
		}

		before := asked.Load()

		var unreachable *UnreachableError
		if _, err := f.Own().Deletable(t.Context()); !errors.As(err, &unreachable) || asked.Load() != before {
			t.Fatalf("a request meanwhile gets %v, and the server %d more", err, asked.Load()-before)
		}

		clock.SetTime(clock.Now().Add(want))

		if f.Down() != nil || !f.Broken() {
			t.Fatal("the cluster is not to be asked again")
		}
	}

	broken.Store(false)

	if err := f.Probe(t.Context()); err != nil || f.Down() != nil || f.Broken() {
		t.Errorf("the cluster is not found again: %v", err)
	}
}

// TestLineCancelled shows that a caller who loses interest says nothing about the cluster.
func TestLineCancelled(t *testing.T) {
	there := make(chan struct{})
	f := served(t, Options{}, fixed("t"), func(_ http.ResponseWriter, req *http.Request) {
		close(there)
		<-req.Context().Done()
		panic(http.ErrAbortHandler) // an answer might be faster than the connection's end
	})

	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-there
		cancel()
	}()

	if err := f.Probe(ctx); err == nil || f.Broken() {
		t.Errorf("the error is %v, broken %t", err, f.Broken())
	}
}

// TestHalfAnAnswer shows that a server which begins to answer, and breaks off, is left in peace for longer and longer: each of
// its answers costs somebody the time of a request.
func TestHalfAnAnswer(t *testing.T) {
	clock := testclock.NewFakePassiveClock(time.Unix(1000, 0))
	f := served(t, Options{Clock: clock}, fixed("t"), func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, "{")
	})

	for _, want := range []time.Duration{5 * time.Second, 10 * time.Second, 20 * time.Second} {
		if err := f.Probe(t.Context()); err == nil {
			t.Fatal("half an answer is taken for one")
		}

		down := f.Down()
		if down == nil || down.Until.Sub(clock.Now()) != want {
			t.Fatalf("the cluster is left in peace until %v, want %s from now", down, want)
		}

		clock.SetTime(clock.Now().Add(want))
	}
}

// TestRoom shows that all that is taken within a room counts for it, and is given back.
func TestRoom(t *testing.T) {
	tenant := NewRoom("the tenant", 100, nil)
	a, b := NewRoom("a", 80, tenant), NewRoom("b", 80, tenant)

	for _, step := range []struct {
		reason string
		room   *Room
		n      int64
		want   string
	}{
		{"There is room.", a, 60, ""},
		{"It is bounded.", a, 21, "there is no room: a would take more than 80 bytes"},
		{"So is that of all.", b, 41, "there is no room: the tenant would take more than 100 bytes"},
		{"What was refused was not taken.", b, 40, ""},
		{"What is given back can be taken.", a, -60, ""},
		{"Even by others.", b, 40, ""},
		{"Nothing has no bounds.", nil, 1 << 40, ""},
	} {
		err := step.room.Take(step.n)
		if got := fmt.Sprint(err); step.want == "" && err != nil || step.want != "" && (got != step.want || !errors.Is(err, ErrNoRoom)) {
			t.Errorf("%s: %v", step.reason, err)
		}
	}

	if tenant.Used() != 80 || a.Used() != 0 {
		t.Errorf("used are %d of all and %d of a", tenant.Used(), a.Used())
	}
}

// TestAnswersTakeRoom shows that answers of all kinds are bounded together, with what is kept of them, and that nothing is left
// of them when they are read.
func TestAnswersTakeRoom(t *testing.T) {
	room := NewRoom("the cluster", 1<<20, nil)
	kind := `{"resource":"things","responseKind":{"group":"g","version":"v1","kind":"Thing"},"scope":"Cluster","verbs":["list"]}`

	kinds := make([]string, 1000) // take half of the room when they are kept
	for i := range kinds {
		kinds[i] = strings.Replace(kind, "Thing", fmt.Sprint("Thing", i), 1)
	}

	const of = `{"kind":"APIGroupDiscoveryList","apiVersion":"apidiscovery.k8s.io/v2","items":[{"metadata":{"name":"g"},"versions":[{"version":"v1","resources":[%s]}]}]}`

	var large atomic.Bool

	f := served(t, Options{Room: room}, fixed("t"), func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Content-Type", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList")

		switch {
		case req.URL.Query().Has("watch"):
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.Copy(w, io.MultiReader(strings.NewReader(`{"type":"`), io.LimitReader(endless{}, 1<<20)))
		case strings.HasSuffix(req.URL.Path, "/things"):
			_, _ = io.CopyN(w, endless{}, 1<<20)
		case req.URL.Path == "/api":
			_, _ = io.WriteString(w, `{"kind":"APIGroupDiscoveryList","apiVersion":"apidiscovery.k8s.io/v2","items":[]}`)
		case !large.Load():
			_, _ = fmt.Fprintf(w, of, strings.Join(kinds, ","))
		default:
			_, _ = fmt.Fprintf(w, of, strings.Join(kinds, ",")+strings.Repeat(","+kind, 2000))
		}
	})

	thing := schema.GroupKind{Group: "g", Kind: "Thing0"}
	kept := int64(1000) * kindBytes

	if _, err := f.Own().Mapping(t.Context(), thing, ""); err != nil || room.Used() != kept {
		t.Fatalf("discovery takes %d of the room (%v), want %d", room.Used(), err, kept)
	}

	if _, err := f.Own().List(t.Context(), thing, Query{}); !errors.Is(err, ErrNoRoom) {
		t.Errorf("a list for which there is no room is %v", err)
	}

	w, err := f.Own().Watch(t.Context(), thing, Query{Full: true}, "1")
	if err != nil {
		t.Fatal(err)
	}

	if _, err := w.Next(); !errors.Is(err, ErrNoRoom) || room.Used() == kept {
		t.Errorf("an event for which there is no room is %v, with %d taken", err, room.Used())
	}

	w.Close()

	large.Store(true)

	if _, err := f.Own().Deletable(t.Context()); !errors.Is(err, ErrNoRoom) || room.Used() != kept {
		t.Errorf("more kinds than there is room for are %v, with %d taken, want %d", err, room.Used(), kept)
	}

	if f.Close(); room.Used() != 0 {
		t.Errorf("%d bytes are taken by a cluster that is gone", room.Used())
	}
}

// TestDiscoveryIsBounded shows that what a cluster serves is bounded even where there is room.
func TestDiscoveryIsBounded(t *testing.T) {
	resources := map[schema.GroupVersion]*metav1.APIResourceList{{Version: "v1"}: {APIResources: make([]metav1.APIResource, mostKinds+1)}}
	groups := &metav1.APIGroupList{Groups: []metav1.APIGroup{{Versions: []metav1.GroupVersionForDiscovery{{Version: "v1"}}}}}

	k := newKinds(func(context.Context) (*metav1.APIGroupList, map[schema.GroupVersion]*metav1.APIResourceList, map[schema.GroupVersion]error, error) {
		return groups, resources, nil, nil
	}, testclock.NewFakePassiveClock(time.Unix(1000, 0)))

	if _, err := k.find(t.Context(), schema.GroupKind{Kind: "Pod"}, ""); err == nil || !strings.Contains(err.Error(), "more than 50000 kinds") {
		t.Errorf("too many kinds are %v", err)
	}

	for path, want := range map[string]int64{"/apis": maxDiscovery, "/k8s/clusters/c/api": maxDiscovery, "/api/v1/pods": maxAnswer} {
		if got := longest(path); got != want {
			t.Errorf("the answer to %s may have %d bytes, want %d", path, got, want)
		}
	}
}

func TestTokens(t *testing.T) {
	now := time.Unix(1000, 0)
	asked := 0
	fail := errors.New("no")

	source := Tokens(func() time.Time { return now }, func(context.Context) (string, time.Time, error) {
		if asked++; asked == 3 {
			return "", time.Time{}, fail
		}

		return string(rune('a' + asked - 1)), now.Add(100 * time.Second), nil
	})

	for _, step := range []struct {
		after time.Duration
		want  string
		err   error
	}{{0, "a", nil}, {79 * time.Second, "a", nil}, {time.Second, "b", nil}, {80 * time.Second, "", fail}, {0, "d", nil}} {
		now = now.Add(step.after)

		if got, err := source(t.Context()); got != step.want || !errors.Is(err, step.err) {
			t.Errorf("after %s the token is %q (%v), want %q", step.after, got, err, step.want)
		}
	}
}
