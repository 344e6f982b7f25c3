package remote_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/health"
	"github.com/weir-dev/weir/reconcilers/remote"
	"github.com/weir-dev/weir/test/cluster"
)

var shared cluster.Shared

func TestMain(m *testing.M) { os.Exit(shared.Main(m)) }

const patience = time.Minute

// configs are the Secrets and ConfigMaps of a test, by namespace and name.
type configs struct {
	mu      sync.Mutex
	secrets map[string]map[string][]byte
	maps    map[string]map[string]string
	err     error
}

func (c *configs) Secret(_ context.Context, namespace, name string) (*corev1.Secret, error) {
	c.mu.Lock()
	defer c.mu.Unlock()

	data, ok := c.secrets[namespace+"/"+name]
	if c.err != nil || !ok {
		return nil, orMissing(c.err, name)
	}

	return &corev1.Secret{Data: data}, nil
}

func (c *configs) ConfigMap(_ context.Context, namespace, name string) (*corev1.ConfigMap, error) {
	c.mu.Lock()
	defer c.mu.Unlock()

	data, ok := c.maps[namespace+"/"+name]
	if c.err != nil || !ok {
		return nil, orMissing(c.err, name)
	}

	return &corev1.ConfigMap{Data: data}, nil
}

func orMissing(err error, name string) error {
	if err != nil {
		return err
	}

	return apierrors.NewNotFound(schema.GroupResource{Resource: "objects"}, name)
}

func (c *configs) set(name string, content []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()

	if c.secrets == nil {
		c.secrets = map[string]map[string][]byte{}
	}

	if c.secrets[name] = map[string][]byte{"value": content}; content == nil {
		delete(c.secrets, name)
	}
}

type fixture struct {
	*remote.Clusters
	t       *testing.T
	configs *configs
	woken   chan access.ID
}

func newFixture(t *testing.T, change ...func(*remote.Options)) *fixture {
	t.Helper()

	f := &fixture{t: t, configs: &configs{}, woken: make(chan access.ID, 1000)}
	o := remote.Options{
		Configs: f.configs, Patience: patience,
		Wake: func(owner access.ID, _ health.Cause) { f.woken <- owner },
	}

	for _, c := range change {
		c(&o)
	}

	f.Clusters = remote.New(o)
	t.Cleanup(f.Close)

	return f
}

func owner(name string) access.ID {
	return access.ID{Kind: "Kustomization", Namespace: "ns", Name: name}
}

func request(name, secret string) remote.Request {
	return remote.Request{Owner: owner(name), Ref: meta.KubeConfigReference{SecretRef: &meta.SecretKeyReference{Name: secret}}}
}

func (f *fixture) open(r remote.Request) *remote.Cluster {
	f.t.Helper()

	c, err := f.Open(f.t.Context(), r)
	if err != nil {
		f.t.Fatal(err)
	}

	return c
}

func kubeconfig(t *testing.T, config *rest.Config) []byte {
	t.Helper()

	c := api.NewConfig()
	c.Clusters["c"] = &api.Cluster{Server: config.Host, CertificateAuthorityData: config.CAData}
	c.AuthInfos["u"] = &api.AuthInfo{ClientCertificateData: config.CertData, ClientKeyData: config.KeyData, Token: config.BearerToken}
	c.Contexts["x"] = &api.Context{Cluster: "c", AuthInfo: "u"}
	c.CurrentContext = "x"

	raw, err := clientcmd.Write(*c)
	if err != nil {
		t.Fatal(err)
	}

	return raw
}

// running returns how many goroutines watch, or hold a connection.
func running(t *testing.T) (watches, connections int) {
	t.Helper()

	var all bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&all, 2); err != nil {
		t.Fatal(err)
	}

	for stack := range strings.SplitSeq(all.String(), "\n\n") {
		switch {
		case strings.Contains(stack, "health.(*feed).run"):
			watches++
		case strings.Contains(stack, ").readLoop("):
			connections++
		}
	}

	return watches, connections
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()

	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()

	deadline := time.After(patience)

	for !holds() {
		select {
		case <-tick.C:
		case <-deadline:
			var all bytes.Buffer
			_ = pprof.Lookup("goroutine").WriteTo(&all, 1)
			t.Fatalf("%s\n%s", what, all.String())
		}
	}
}

// TestNothingLeaks counts: however many clusters were there, with watches in them, nothing is left when they are released.
func TestNothingLeaks(t *testing.T) {
	config := shared.Start(t).Config()
	f := newFixture(t)
	watches, connections := running(t)

	const clusters, owners = 5, 3

	for round := range 2 {
		for i := range clusters {
			secret := fmt.Sprintf("s%d", i)
			f.configs.set("ns/"+secret, fmt.Appendf(kubeconfig(t, config), "# %d of round %d\n", i, round))

			for j := range owners {
				name := fmt.Sprintf("%d-%d", i, j)
				c := f.open(request(name, secret))
				c.Hub.Track(owner(name), "label", []access.ID{
					{Kind: "ConfigMap", Namespace: "default", Name: "a"}, {Group: "apps", Kind: "Deployment", Namespace: "default", Name: "b"},
				})

				if err := c.Hub.Ready(t.Context(), owner(name)); err != nil {
					t.Fatal(err)
				}
			}
		}

		// The clusters of the round before are replaced: their credentials were rotated.
		if n := f.Len(); n != clusters {
			t.Errorf("there are %d clusters, want %d", n, clusters)
		}

		eventually(t, "the watches are not those of these clusters", func() bool {
			n, _ := running(t)

			return n-watches == 2*clusters
		})
	}

	for i := range clusters {
		for j := range owners {
			f.Release(owner(fmt.Sprintf("%d-%d", i, j)))
			f.Release(owner(fmt.Sprintf("%d-%d", i, j))) // once more changes nothing
		}
	}

	eventually(t, "something is left", func() bool {
		w, c := running(t)

		return w == watches && c <= connections
	})

	if n := f.Len(); n != 0 {
		t.Errorf("%d clusters are left", n)
	}
}

// TestSharing shows who gets the same cluster: those with the same credentials and the same identity.
func TestSharing(t *testing.T) {
	config := shared.Start(t).Config()
	f := newFixture(t)
	f.configs.set("ns/a", kubeconfig(t, config))
	f.configs.set("ns/same", kubeconfig(t, config))
	f.configs.set("ns/other", append(kubeconfig(t, config), "# other\n"...))

	first := f.open(request("first", "a"))
	as := func(r remote.Request, account string) remote.Request {
		r.ServiceAccount = account

		return r
	}

	cases := map[string]struct {
		reason  string
		request remote.Request
		want    bool
	}{
		"Again":    {"Who asks again has it.", request("first", "a"), true},
		"Another":  {"Another object with the same Secret has it, too.", request("another", "a"), true},
		"Content":  {"The content counts, not the name.", request("same", "same"), true},
		"Other":    {"Another kubeconfig is another cluster.", request("other", "other"), false},
		"Identity": {"Another identity has watches of its own.", as(request("tenant", "a"), "team"), false},
	}

	for name, tc := range cases {
		if got := f.open(tc.request) == first; got != tc.want {
			t.Errorf("%s: %s It is the same: %t", name, tc.reason, got)
		}
	}
}

// TestKubeconfigs shows what a kubeconfig has to be, and that who loses it loses the cluster.
// TestNumberIsBounded holds that no tenant makes clusters without number, and that those that go make room for others.
func TestNumberIsBounded(t *testing.T) {
	config := shared.Start(t).Config()
	f := newFixture(t, func(o *remote.Options) { o.Most, o.MostOf = 3, 2 })

	at := func(namespace, name string) remote.Request {
		f.configs.set(namespace+"/"+name, append(kubeconfig(t, config), "# "+namespace+name...))

		r := request(name, name)
		r.Owner.Namespace = namespace

		return r
	}

	refused := func(r remote.Request, want string) {
		t.Helper()

		if _, err := f.Open(t.Context(), r); err == nil || err.Error() != want {
			t.Errorf("the error is %v, want %q", err, want)
		}
	}

	f.open(at("ns", "a"))
	f.open(at("ns", "b"))
	refused(at("ns", "c"), `namespace "ns" has 2 remote clusters already, which is the most that it may have`)

	again := request("another", "a")
	f.open(again)            // of a cluster that is there
	f.open(at("other", "a")) // of another namespace
	refused(at("third", "a"), "there are 3 remote clusters already, which is the most that there may be")
	f.Release(owner("a"))
	f.Release(owner("another"))
	f.open(at("ns", "c"))

	if n := f.Len(); n != 3 {
		t.Errorf("there are %d clusters, want 3", n)
	}
}

// TestVisit holds that only who has a cluster goes there, and that what a cluster takes in memory is bounded.
func TestVisit(t *testing.T) {
	config := shared.Start(t).Config()
	f := newFixture(t, func(o *remote.Options) { o.Memory = 60_000 })
	f.configs.set("ns/a", kubeconfig(t, config))

	if _, err := f.Visit(owner("a")); err == nil {
		t.Error("somebody goes nowhere")
	}

	c := f.open(request("a", "a"))

	v, err := f.Visit(owner("a"))
	if err != nil {
		t.Fatal(err)
	}
	defer v.Leave()

	ctx, cancel := v.Context(t.Context())
	defer cancel()

	if _, err := c.Access.Own().Deletable(ctx); !errors.Is(err, access.ErrNoRoom) ||
		!strings.Contains(err.Error(), "the remote cluster would take more than 10000 bytes") {
		t.Errorf("an answer for which there is no room is %v", err)
	}
}

func TestKubeconfigs(t *testing.T) {
	config := shared.Start(t).Config()
	good := kubeconfig(t, config)

	cases := map[string]struct {
		reason string
		data   map[string][]byte
		key    string
		err    error
		want   string
		left   int
	}{
		"Value":     {"The key is value.", map[string][]byte{"value": good, "value.yaml": []byte("x")}, "", nil, "", 1},
		"ValueYAML": {"Or value.yaml.", map[string][]byte{"value.yaml": good}, "", nil, "", 1},
		"Key":       {"Or the one of the spec.", map[string][]byte{"mine": good, "value": []byte("x")}, "mine", nil, "", 1},
		"NoKey": {"Which then has to be there.", map[string][]byte{"value": good}, "mine", nil,
			"KubeConfig secret 'ns/s' does not contain a 'mine' key with data", 0},
		"NoValue": {"One of them has to.", map[string][]byte{"other": good}, "", nil,
			"KubeConfig secret 'ns/s' does not contain a 'value' or 'value.yaml' key with data", 0},
		"Empty":   {"With something in it.", map[string][]byte{"value": nil}, "", nil, "does not contain a 'value' or 'value.yaml' key with data", 0},
		"Wrong":   {"Which is a kubeconfig.", map[string][]byte{"value": []byte("hush")}, "", nil, "KubeConfig secret 'ns/s': parse kubeconfig", 0},
		"Missing": {"A Secret that is gone is no way in any more.", nil, "", nil, `unable to read KubeConfig secret 'ns/s' error: objects "s" not found`, 0},
		"Unread": {"One that cannot be read for now changes nothing.", nil, "", apierrors.NewTimeoutError("later", 1),
			"unable to read KubeConfig secret 'ns/s' error: Timeout: later", 1},
		"Offline": {"Nor does an API server that does not answer.", nil, "", errors.New("connection refused"),
			"unable to read KubeConfig secret 'ns/s' error: connection refused", 1},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.configs.set("ns/s", good)
			f.open(request("app", "s"))

			f.configs.secrets["ns/s"], f.configs.err = tc.data, tc.err
			if tc.data == nil {
				delete(f.configs.secrets, "ns/s")
			}

			r := request("app", "s")
			r.Ref.SecretRef.Key = tc.key

			_, err := f.Open(t.Context(), r)
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("%s: the error is %v, want %q", tc.reason, err, tc.want)
			}

			if n := f.Len(); n != tc.left {
				t.Errorf("%s: there are %d clusters, want %d", tc.reason, n, tc.left)
			}
		})
	}
}

// TestUnreachable shows that nobody waits for a cluster that does not answer, and that all who would are told when it is clear.
func TestUnreachable(t *testing.T) {
	silent, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}

	f := newFixture(t, func(o *remote.Options) { o.Patience = time.Millisecond })
	f.configs.set("ns/s", kubeconfig(t, &rest.Config{Host: "https://" + silent.Addr().String(), BearerToken: "t"}))

	const owners = 20

	var all sync.WaitGroup
	for i := range owners {
		all.Go(func() {
			if _, err := f.Open(t.Context(), request(fmt.Sprint(i), "s")); !errors.Is(err, remote.ErrConnecting) {
				t.Errorf("the error is %v", err)
			}
		})
	}

	all.Wait()

	if err := silent.Close(); err != nil {
		t.Fatal(err)
	}

	var woken []string

	for range owners {
		select {
		case id := <-f.woken:
			woken = append(woken, id.Name)
		case <-time.After(patience):
			t.Fatalf("only %v are woken", woken)
		}
	}

	if slices.Sort(woken); len(slices.Compact(woken)) != owners {
		t.Errorf("some are woken twice, others not: %v", woken)
	}

	var down *access.UnreachableError
	if _, err := f.Open(t.Context(), request("0", "s")); !errors.As(err, &down) {
		t.Errorf("the error is %v", err)
	}
}

// TestCloseWhileConnecting shows that the end of the process waits for nobody else.
func TestCloseWhileConnecting(t *testing.T) {
	silent, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()

	f := newFixture(t, func(o *remote.Options) { o.Patience = time.Millisecond })
	f.configs.set("ns/s", kubeconfig(t, &rest.Config{Host: "https://" + silent.Addr().String(), BearerToken: "t"}))

	if _, err := f.Open(t.Context(), request("app", "s")); !errors.Is(err, remote.ErrConnecting) {
		t.Errorf("the error is %v", err)
	}

	f.Release(owner("app"))
	_, _ = f.Open(t.Context(), request("other", "s"))
	f.Close()

	if _, err := f.Open(t.Context(), request("app", "s")); err == nil {
		t.Error("a cluster is opened after the end")
	}
}

// clouds are clusters of a cloud, by name.
type clouds map[string]remote.CloudCluster

func (c clouds) Cluster(_ context.Context, r remote.CloudRequest) (remote.CloudCluster, error) {
	found, ok := c[r.Provider+" "+r.Cluster+" "+r.Namespace+"/"+r.ServiceAccount]
	if !ok {
		return found, errors.New("no such cluster for this identity")
	}

	return found, nil
}

// TestCloud shows that the cloud is asked for the address and the token, as the identity of the ConfigMap.
func TestCloud(t *testing.T) {
	config := shared.Start(t).Config()

	local, err := access.New(config, access.Options{})
	if err != nil {
		t.Fatal(err)
	}

	account := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "ServiceAccount", "metadata": map[string]any{"namespace": "default", "name": "cloud"},
	}}
	if _, err := local.Own().Create(t.Context(), account, "tester"); err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}

	token, expires, err := local.Own().Token(t.Context(), "default", "cloud", nil, time.Hour)
	if err != nil {
		t.Fatal(err)
	}

	here := remote.CloudCluster{Address: config.Host, CA: config.CAData, Token: token, Expires: expires}
	cases := map[string]struct {
		reason string
		data   map[string]string
		want   string
	}{
		"Named":   {"A service account that is named.", map[string]string{"provider": "aws", "cluster": "one", "serviceAccountName": "team"}, ""},
		"Default": {"Or the default.", map[string]string{"provider": "gcp", "cluster": "one"}, ""},
		"Other":   {"Others have no access.", map[string]string{"provider": "aws", "cluster": "one", "serviceAccountName": "x"}, `KubeConfig ConfigMap 'ns/there': look up key 'cluster' "one" as key 'serviceAccountName' "x": no such cluster`},
		"None":    {"A cluster has a name.", map[string]string{"provider": "azure", "address": "https://example.org"}, "KubeConfig ConfigMap 'ns/there': key 'cluster' is missing"},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, func(o *remote.Options) {
				o.Cloud = clouds{"aws one ns/team": here, "gcp one ns/fallback": here}
				o.DefaultServiceAccount = "fallback"
			})
			f.configs.maps = map[string]map[string]string{"ns/there": tc.data}

			_, err := f.Open(t.Context(), remote.Request{
				Owner: owner("app"), Ref: meta.KubeConfigReference{ConfigMapRef: &meta.LocalObjectReference{Name: "there"}},
			})
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("%s: the error is %v, want %q", tc.reason, err, tc.want)
			}
		})
	}
}
