package kustomize_test

import (
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/access/accesstest"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/remote"
	"github.com/weir-dev/weir/test/cluster"
)

// elsewhere is a second cluster.
var elsewhere struct {
	once    sync.Once
	cluster *cluster.Cluster
	err     error
}

// away is the second cluster, with a namespace of the same name as at home.
type away struct {
	*env
	config *rest.Config
	c      client.WithWatch
}

func newAway(e *env) *away {
	e.t.Helper()

	elsewhere.once.Do(func() {
		elsewhere.cluster, elsewhere.err = cluster.Start(context.Background(), cluster.Options{})
	})
	must(e.t, elsewhere.err)

	a := &away{env: e, config: elsewhere.cluster.Config()}

	var err error
	a.c, err = client.NewWithWatch(a.config, client.Options{Scheme: e.c.Scheme()})
	must(e.t, err)
	must(e.t, a.c.Create(e.t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: e.namespace}}))

	return a
}

func (a *away) data(name string) map[string]string {
	a.t.Helper()

	obj := &corev1.ConfigMap{}

	err := a.c.Get(a.t.Context(), types.NamespacedName{Namespace: a.namespace, Name: name}, obj)
	if apierrors.IsNotFound(err) {
		return nil
	}

	must(a.t, err)

	return obj.Data
}

// kubeconfig is one with the credentials of the configuration.
func kubeconfig(t *testing.T, config *rest.Config) []byte {
	t.Helper()

	c := api.NewConfig()
	c.Clusters["c"] = &api.Cluster{Server: config.Host, CertificateAuthorityData: config.CAData}
	c.AuthInfos["u"] = &api.AuthInfo{
		ClientCertificateData: config.CertData, ClientKeyData: config.KeyData, Token: config.BearerToken,
	}
	c.Contexts["x"] = &api.Context{Cluster: "c", AuthInfo: "u"}
	c.CurrentContext = "x"

	raw, err := clientcmd.Write(*c)
	must(t, err)

	return raw
}

// secret writes a Secret with a kubeconfig.
func (e *env) secret(name, key string, content []byte) {
	e.t.Helper()

	obj := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace, Name: name}, Data: map[string][]byte{key: content}}
	if err := e.c.Create(e.t.Context(), obj); apierrors.IsAlreadyExists(err) {
		must(e.t, e.c.Update(e.t.Context(), obj))
	} else {
		must(e.t, err)
	}
}

func secretRef(name, key string) *meta.KubeConfigReference {
	return &meta.KubeConfigReference{SecretRef: &meta.SecretKeyReference{Name: name, Key: key}}
}

// TestRemote holds that everything that a Kustomization does goes to the cluster of its kubeconfig: apply, health, drift, prune
// and removal.
func TestRemote(t *testing.T) {
	e := newEnv(t)
	a := newAway(e)
	e.publish("repo", "main@sha1:1", map[string]string{"a.yaml": configMap("a", "1"), "b.yaml": configMap("b", "1")})
	e.secret("away", "value", kubeconfig(t, a.config))
	e.kustomization("app", func(s *kustomizev1.KustomizationSpec) {
		s.KubeConfig, s.Wait = secretRef("away", ""), true
	})
	e.ready("app")

	check := func(what string, want ...string) {
		t.Helper()

		got := []string{a.data("a")["key"], a.data("b")["key"], fmt.Sprint(e.data("a") == nil)}
		if diff := cmp.Diff(append(want, "true"), got); diff != "" {
			t.Errorf("%s: a and b there, and nothing here: -want, +got:\n%s", what, diff)
		}
	}
	check("applied", "1", "1")

	must(t, a.c.Patch(t.Context(), &corev1.ConfigMap{ObjectMeta: b(e)}, client.RawPatch(types.MergePatchType, []byte(`{"data":{"key":"x"}}`))))
	e.awaken("app", "an object has drifted in the other cluster")
	e.ready("app")
	check("corrected", "1", "1")

	e.publish("repo", "main@sha1:2", map[string]string{"a.yaml": configMap("a", "2")})
	e.ready("app")
	check("pruned", "2", "")

	// The same cluster by another kubeconfig, as after a rotation of the credentials.
	before := e.deps.Remote.Len()
	e.secret("away", "value", append(kubeconfig(t, a.config), "# rotated\n"...))
	e.ready("app")

	if after := e.deps.Remote.Len(); before != 1 || after != 1 {
		t.Errorf("there are %d clusters before the rotation and %d after, want 1", before, after)
	}

	// Without the kubeconfig nothing is deleted, and nothing forgotten.
	must(t, e.c.Delete(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace, Name: "away"}}))

	if obj, _ := e.once("app"); !strings.HasPrefix(says(obj, meta.ReadyCondition),
		"False ReconciliationFailed: failed to build kube client: unable to read KubeConfig secret 'NS/away' error: ") {
		t.Errorf("Ready is %q when the kubeconfig is missing", says(obj, meta.ReadyCondition))
	}

	if n := e.deps.Remote.Len(); n != 0 {
		t.Errorf("%d clusters are left that nobody has credentials for", n)
	}

	must(t, e.c.Delete(t.Context(), e.get("app")))

	if obj, _ := e.once("app"); obj == nil || !strings.Contains(says(obj, meta.ReadyCondition), "pruning for deleted resource failed: unable to read") {
		t.Error("the object is gone, and what it applied elsewhere is forgotten")
	}

	e.secret("away", "value", kubeconfig(t, a.config))
	e.run("app", "gone", func(obj *kustomizev1.Kustomization) bool { return obj == nil })
	check("removed", "", "")

	if n := e.deps.Remote.Len(); n != 0 {
		t.Errorf("%d clusters are left that nobody uses", n)
	}
}

// TestRemoteMoves holds that a Kustomization that gets a kubeconfig, or loses it, applies to the right cluster.
func TestRemoteMoves(t *testing.T) {
	e := newEnv(t)
	a := newAway(e)
	e.publish("repo", "main@sha1:1", map[string]string{"a.yaml": configMap("a", "1")})
	e.secret("away", "conf", kubeconfig(t, a.config))
	e.kustomization("app", nil)
	e.ready("app")

	e.edit("app", func(k *kustomizev1.Kustomization) { k.Spec.KubeConfig = secretRef("away", "conf") })
	e.run("app", "there", func(obj *kustomizev1.Kustomization) bool { return obj.Status.ObservedGeneration == obj.Generation })

	if a.data("a") == nil {
		t.Error("nothing is applied to the other cluster")
	}

	must(t, e.c.Delete(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace, Name: "a"}}))
	e.edit("app", func(k *kustomizev1.Kustomization) { k.Spec.KubeConfig = nil })
	e.run("app", "here", func(obj *kustomizev1.Kustomization) bool { return obj.Status.ObservedGeneration == obj.Generation })

	if e.data("a") == nil {
		t.Error("nothing is applied here any more")
	}
}

// TestRemoteForgotten holds that a kubeconfig that does not come back keeps a deleted Kustomization for a while only.
func TestRemoteForgotten(t *testing.T) {
	e := newEnv(t)
	a := newAway(e)
	e.publish("repo", "main@sha1:1", map[string]string{"a.yaml": configMap("a", "1")})
	e.secret("away", "value", kubeconfig(t, a.config))
	e.kustomization("app", func(s *kustomizev1.KustomizationSpec) { s.KubeConfig = secretRef("away", "") })
	e.ready("app")
	must(t, e.c.Delete(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace, Name: "away"}}))
	must(t, e.c.Delete(t.Context(), e.get("app")))

	if obj, _ := e.once("app"); obj == nil {
		t.Fatal("the object is gone at once, though the kubeconfig may be put back")
	}

	e.clock.advance(6 * time.Minute)
	e.told()

	if obj, _ := e.once("app"); obj != nil {
		t.Errorf("the object stays for ever: %s", says(obj, meta.ReadyCondition))
	}

	e.wantEvents(`Warning PruneFailed Finalize: unable to prune objects: ` + "\n" +
		`unable to read KubeConfig secret 'NS/away' error: secrets "away" not found`)

	if a.data("a") == nil {
		t.Error("an object is deleted without the credentials for it")
	}
}

// TestRemoteUnreachable holds that a cluster that does not answer holds nobody up, and is told.
func TestRemoteUnreachable(t *testing.T) {
	e := newEnv(t)

	silent, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0") // accepts, and never says anything
	must(t, err)

	e.publish("repo", "main@sha1:1", map[string]string{"a.yaml": configMap("a", "1")})
	e.secret("away", "value.yaml", kubeconfig(t, &rest.Config{Host: "https://" + silent.Addr().String(), BearerToken: "t"}))
	e.kustomization("app", func(s *kustomizev1.KustomizationSpec) { s.KubeConfig = secretRef("away", "") })
	e.kustomization("other", nil)

	obj, _ := e.once("app")
	wantConditions(t, obj, map[string]string{
		"Ready":       "Unknown Progressing: Reconciliation in progress",
		"Reconciling": "True Progressing: Connecting to the remote cluster",
	})
	e.ready("other")
	e.calm()
	must(t, silent.Close())
	e.awaken("app", "the connection has failed")

	obj, after := e.once("app")
	if got := says(obj, meta.ReadyCondition); !strings.HasPrefix(got, "False ReconciliationFailed: failed to build kube client: the cluster cannot be reached: ") ||
		after == 0 || engine.IsTrue(obj, meta.StalledCondition) {
		t.Errorf("Ready is %q, next run in %s", got, after)
	}

	// Nothing is known to be there, so that it may go.
	must(t, e.c.Delete(t.Context(), obj))
	e.run("app", "gone", func(obj *kustomizev1.Kustomization) bool { return obj == nil })
}

// TestRemoteOutage holds that a cluster that breaks down later is told, tried again, and taken up where it was.
func TestRemoteOutage(t *testing.T) {
	e := newEnv(t)
	a := newAway(e)
	p := newProxy(e, a.config)
	e.publish("repo", "main@sha1:1", map[string]string{"a.yaml": configMap("a", "1")})
	e.secret("away", "value", kubeconfig(t, p.config()))
	e.kustomization("app", func(s *kustomizev1.KustomizationSpec) { s.KubeConfig = secretRef("away", "") })
	e.ready("app")

	p.broken.Store(true)
	p.server.CloseClientConnections()
	e.publish("repo", "main@sha1:2", map[string]string{"a.yaml": configMap("a", "2")})

	obj := e.run("app", "failed", func(obj *kustomizev1.Kustomization) bool {
		return strings.HasPrefix(says(obj, meta.ReadyCondition), "False ReconciliationFailed: ")
	})
	if obj.Status.LastAppliedRevision != "main@sha1:1" || len(ids(obj)) != 1 {
		t.Errorf("revision %s is applied, with %v", obj.Status.LastAppliedRevision, ids(obj))
	}

	// The run after it does not even try.
	if obj, _ := e.once("app"); !strings.Contains(says(obj, meta.ReadyCondition), "failed to build kube client: the cluster cannot be reached: ") {
		t.Errorf("Ready is %q", says(obj, meta.ReadyCondition))
	}

	p.broken.Store(false)
	e.clock.advance(10 * time.Minute)
	e.ready("app")

	if got := a.data("a")["key"]; got != "2" {
		t.Errorf("a is %q there, want 2", got)
	}
}

// TestRemoteSlow holds that clusters which take their time leave workers to others: a run there ends after a while and says why,
// and who finds no room gives the worker back at once, until there is.
func TestRemoteSlow(t *testing.T) {
	e := newEnv(t)
	e.remote = func(o *remote.Options) { o.Workers, o.Slow, o.Longest, o.Patience = 4, time.Hour, time.Hour, patience }
	e.restart()

	a := newAway(e)
	p := newProxy(e, a.config)
	held := make(chan struct{})
	p.slow.Store(&held)
	e.publish("repo", "main@sha1:1", map[string]string{"a.yaml": configMap("a", "1")})

	for _, name := range []string{"one", "two"} { // each has a cluster of its own
		e.secret(name, "value", append(kubeconfig(t, p.config()), "# "+name...))
		e.kustomization(name, func(s *kustomizev1.KustomizationSpec) { s.KubeConfig = secretRef(name, "") })
	}

	e.kustomization("home", nil)
	var first sync.WaitGroup

	first.Go(func() {
		_, _ = e.runner.Reconcile(t.Context(), reconcile.Request{NamespacedName: types.NamespacedName{Namespace: e.namespace, Name: "one"}})
	})

	e.eventually("the first one is held up", func() error { return wants("held", fmt.Sprint(p.holds.Load() > 0), "true") })

	// Of four workers, those of one namespace may have one in slow clusters.
	obj := e.run("two", "without a turn", func(obj *kustomizev1.Kustomization) bool {
		return strings.Contains(says(obj, meta.ReconcilingCondition), "waiting for a turn")
	})
	wantConditions(t, obj, map[string]string{
		"Ready":       "Unknown Progressing: Reconciliation in progress",
		"Reconciling": "True Progressing: waiting for a turn: remote clusters are slow",
	})
	e.ready("home")
	e.calm()
	close(held)
	first.Wait()
	e.awaken("two", "there is a turn")
	e.ready("two")
	e.ready("one")

	if a.data("a")["key"] != "1" {
		t.Error("a is not applied")
	}
}

// TestRemoteWithoutTurn holds that a run which ends because others have all the turns has not failed: it leaves no entry in the
// history.
func TestRemoteWithoutTurn(t *testing.T) {
	e := newEnv(t)
	e.remote = func(o *remote.Options) { o.Workers, o.Slow, o.Longest, o.Patience = 4, time.Hour, time.Hour, patience }
	e.restart()

	a := newAway(e)
	p := newProxy(e, a.config)
	e.publish("repo", "main@sha1:1", map[string]string{"a.yaml": configMap("a", "1")})

	for _, name := range []string{"one", "two"} { // each has a cluster of its own
		e.secret(name, "value", append(kubeconfig(t, p.config()), "# "+name...))
		e.kustomization(name, func(s *kustomizev1.KustomizationSpec) { s.KubeConfig = secretRef(name, "") })
		e.ready(name)
	}

	e.remote = func(o *remote.Options) {
		o.Workers, o.Slow, o.Longest, o.Patience = 4, 100*time.Millisecond, time.Hour, patience
	}
	e.restart()
	e.ready("two") // this one is known to be fast, so that it begins without a turn

	held := make(chan struct{})
	p.slow.Store(&held)
	e.publish("repo", "main@sha1:2", map[string]string{"a.yaml": configMap("a", "2")})

	var first sync.WaitGroup

	first.Go(func() {
		_, _ = e.runner.Reconcile(t.Context(), reconcile.Request{NamespacedName: types.NamespacedName{Namespace: e.namespace, Name: "one"}})
	})

	e.eventually("the first one is held up", func() error { return wants("held", fmt.Sprint(p.holds.Load() > 0), "true") })

	obj := e.run("two", "without a turn", func(obj *kustomizev1.Kustomization) bool {
		return strings.Contains(says(obj, meta.ReconcilingCondition), "the remote cluster is slow, and so are others")
	})
	if last := obj.Status.History.Latest(); len(obj.Status.History) != 1 || last.LastReconciledStatus != meta.ReconciliationSucceededReason {
		t.Errorf("history is %v", obj.Status.History)
	}

	close(held)
	first.Wait()
	e.ready("two")
	e.ready("one")
}

// TestRemoteTooSlow holds that a run does not go on for ever, and that its condition says why it ended.
func TestRemoteTooSlow(t *testing.T) {
	e := newEnv(t)
	e.remote = func(o *remote.Options) { o.Slow, o.Longest = time.Millisecond, 2*time.Millisecond }
	e.restart()

	a := newAway(e)
	p := newProxy(e, a.config)
	held := make(chan struct{})
	p.slow.Store(&held)
	e.publish("repo", "main@sha1:1", map[string]string{"a.yaml": configMap("a", "1")})
	e.secret("away", "value", kubeconfig(t, p.config()))
	e.kustomization("app", func(s *kustomizev1.KustomizationSpec) { s.KubeConfig = secretRef("away", "") })

	obj := e.run("app", "failed", func(obj *kustomizev1.Kustomization) bool {
		return strings.HasPrefix(says(obj, meta.ReadyCondition), "False ReconciliationFailed: ")
	})
	if got := says(obj, meta.ReadyCondition); got != "False ReconciliationFailed: the remote cluster is slow: gave up after D" {
		t.Errorf("Ready is %q", got)
	}

	close(held)

	e.remote = nil
	e.restart()
	e.ready("app")
	must(t, e.c.Delete(t.Context(), e.get("app")))
	e.run("app", "gone", func(obj *kustomizev1.Kustomization) bool { return obj == nil })
}

// proxy stands in front of an API server and writes down who asks for what.
type proxy struct {
	server *httptest.Server
	broken atomic.Bool // ends every connection without an answer
	// slow holds writes back until it is closed, or who asked has lost interest. Nil for not at all.
	slow  atomic.Pointer[chan struct{}]
	holds atomic.Int64 // how many there were
	// blind is the end of the paths that nobody may list or watch. Nil for none.
	blind atomic.Pointer[string]

	mu   sync.Mutex
	seen []exchange
}

// exchange is a request that went over the wire.
type exchange struct{ verb, path, query, user string }

// newProxy makes one that passes requests on with the rights of the configuration.
func newProxy(e *env, config *rest.Config) *proxy {
	e.t.Helper()

	to, err := url.Parse(config.Host)
	must(e.t, err)
	transport, err := rest.TransportFor(config)
	must(e.t, err)

	p := &proxy{}
	pass := &httputil.ReverseProxy{
		Transport: transport, FlushInterval: -1,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			r.Out.Header.Del("Authorization")
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}
	p.server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if p.broken.Load() {
			panic(http.ErrAbortHandler)
		}

		if slow := p.slow.Load(); slow != nil && req.Method == http.MethodPatch {
			p.holds.Add(1)

			select {
			case <-*slow:
			case <-req.Context().Done():
				return
			}
		}

		p.mu.Lock()
		p.seen = append(p.seen, exchange{accesstest.Verb(req), req.URL.Path, req.URL.RawQuery, req.Header.Get("Impersonate-User")})
		p.mu.Unlock()

		if blind := p.blind.Load(); blind != nil && req.Method == http.MethodGet && strings.HasSuffix(req.URL.Path, *blind) {
			refuse(w)

			return
		}

		pass.ServeHTTP(w, req)
	}))
	e.cleanup(func() { // whoever watches through it first: it waits for them
		e.deps.Remote.Close()
		e.hub.Close()
		p.server.CloseClientConnections()
		p.server.Close()
	})

	return p
}

// refuse answers as an API server that does not allow something.
func refuse(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusForbidden)
	_, _ = io.WriteString(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","code":403}`)
}

func (p *proxy) config() *rest.Config {
	return &rest.Config{Host: p.server.URL, BearerToken: "anything", TLSClientConfig: rest.TLSClientConfig{
		CAData: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.server.Certificate().Raw}),
	}}
}

// by returns the requests that did not come from the user, without those that the function lets pass.
func (p *proxy) strangers(user string, allowed func(exchange) bool) (strange []string, own int) {
	p.mu.Lock()
	defer p.mu.Unlock()

	for _, x := range p.seen {
		switch {
		case x.user == user:
			own++
		case !allowed(x):
			strange = append(strange, fmt.Sprintf("%s %s?%s as %q", x.verb, x.path, x.query, x.user))
		}
	}

	return slices.Compact(strange), own
}

// allow lets a service account do everything in a namespace.
func allow(t *testing.T, c client.Client, namespace, account string) {
	t.Helper()
	must(t, c.Create(t.Context(), &rbacv1.Role{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: account},
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{"*"}, Resources: []string{"*"}, Verbs: []string{"*"}}},
	}))
	must(t, c.Create(t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: account},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: account},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: account}},
	}))
}

// TestRemoteGeneric holds that a cluster that trusts this one's tokens is reached by one of the tenant's service accounts.
func TestRemoteGeneric(t *testing.T) {
	e := newEnv(t)
	e.create(&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace, Name: "team"}})
	allow(t, e.c, e.namespace, "team")
	e.publish("repo", "main@sha1:1", map[string]string{"a.yaml": configMap("a", "1")})

	config := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace, Name: "there"}, Data: map[string]string{
		"provider": "generic", "address": e.config.Host, "ca.crt": string(e.config.CAData), "serviceAccountName": "team",
		"audiences": "https://kubernetes.default.svc.cluster.local",
	}}
	e.create(config)
	e.kustomization("app", func(s *kustomizev1.KustomizationSpec) {
		s.KubeConfig = &meta.KubeConfigReference{ConfigMapRef: &meta.LocalObjectReference{Name: "there"}}
	})
	e.ready("app")

	cases := map[string]struct {
		reason, key, value, want string
	}{
		"Identity": {"The process's own token is not for addresses of tenants.", "serviceAccountName", "",
			"KubeConfig ConfigMap 'NS/there': key 'serviceAccountName' is missing"},
		"Address": {"An address is needed.", "address", "", "KubeConfig ConfigMap 'NS/there': key 'address' is missing"},
		"Plain": {"Tokens go over TLS.", "address", "http://127.0.0.1:1",
			`KubeConfig ConfigMap 'NS/there': address: the server has scheme "http", want https`},
		"Cloud": {"Without a cloud its clusters are unknown.", "provider", "aws",
			`KubeConfig ConfigMap 'NS/there': provider "aws" is not supported by this version`},
		"Provider": {"The provider has to be one.", "provider", "Generic",
			"KubeConfig ConfigMap 'NS/there': key 'provider' is \"Generic\", want aws, azure, gcp or generic"},
	}

	for name, tc := range cases {
		changed := config.DeepCopy()
		changed.ResourceVersion = ""
		changed.Data[tc.key] = tc.value
		must(t, e.c.Update(t.Context(), changed))

		obj, _ := e.once("app")
		if got, want := says(obj, meta.ReadyCondition), "False ReconciliationFailed: failed to build kube client: "+tc.want; got != want {
			t.Errorf("%s: %s\nReady is %q, want %q", name, tc.reason, got, want)
		}
	}
}
