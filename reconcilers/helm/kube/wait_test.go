package kube_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/release"

	"github.com/weir-dev/weir/reconcilers/helm/kube"
	"github.com/weir-dev/weir/test/cluster"
)

// unready never becomes ready by itself: no node takes its pods.
var unready = strings.ReplaceAll(deployment, "spec: {containers", "spec: {nodeSelector: {no: node}, containers")

// going is an action on its way.
type going struct {
	release *release.Release
	err     error
	done    chan struct{}
}

func (b *bench) start(c *kube.Client, chart *chart.Chart, timeout time.Duration) *going {
	b.t.Helper()
	in := action.NewInstall(b.configuration(c))
	in.ReleaseName, in.Namespace, in.Wait, in.WaitForJobs, in.Timeout = "app", b.namespace, true, true, timeout
	g := &going{done: make(chan struct{})}
	go func() {
		defer close(g.done)
		g.release, g.err = in.Run(chart, nil)
	}()
	return g
}

func (b *bench) end(g *going) error {
	b.t.Helper()
	select {
	case <-g.done:
		return g.err
	case <-time.After(patience):
		b.t.Fatal("the action never ended")
		return nil
	}
}

// TestPermit holds that who waits lets others work.
func TestPermit(t *testing.T) {
	b := newBench(t)
	permits := kube.NewPermits(1)
	permit, err := permits.Take(b.ctx())
	if err != nil {
		t.Fatal(err)
	}
	o := b.options(true)
	o.Permit = permit
	g := b.start(kube.New(b.ctx(), o), charted(t, map[string]string{"deployment": unready}), patience)
	ctx, cancel := context.WithTimeout(b.ctx(), patience)
	defer cancel()
	other, err := permits.Take(ctx)
	if err != nil {
		t.Fatalf("the one that waits holds its permit: %v", err)
	}
	b.eventually("it is there", func() bool { return b.exists(b.ref("Deployment", "app")) })
	b.patch(b.ref("Deployment", "app"), "", `{"spec":{"template":{"spec":{"nodeSelector":null}}}}`)
	b.eventually("it is ready", b.available)
	select {
	case <-g.done:
		t.Fatal("it went on without a permit")
	default:
	}
	other.Release()
	if err := b.end(g); err != nil {
		t.Fatal(err)
	}
	permit.Release()
	permit.Release() // does nothing
	if _, err := permits.Take(b.ctx()); err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(b.ctx())
	cancel()
	_, err = permits.Take(ended)
	failsWith(t, "none is left", err, "context canceled")
}

// TestWaitEnds holds what a wait says that does not end well.
func TestWaitEnds(t *testing.T) {
	failing := strings.Replace(unready, "spec:", "spec:\n  progressDeadlineSeconds: 1", 1)
	cases := map[string]struct {
		reason    string
		templates map[string]string
		timeout   time.Duration
		texts     []string
		failed    bool
	}{
		"failed": {
			reason:    "what has failed is not waited for any longer",
			templates: map[string]string{"a": failing}, timeout: time.Hour, failed: true,
			texts: []string{"resource Deployment/NS/app not ready. status: Failed"},
		},
		"late": {
			reason:    "there is an end to patience",
			templates: map[string]string{"a": unready}, timeout: time.Second,
			texts: []string{"resource Deployment/NS/app not ready. status: InProgress", "context deadline exceeded"},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			g := b.start(kube.New(b.ctx(), b.options(true)), charted(t, c.templates), c.timeout)
			err := b.end(g)
			for i, text := range c.texts {
				c.texts[i] = strings.ReplaceAll(text, "NS", b.namespace)
			}
			failsWith(t, c.reason, err, c.texts...)
			var wait *kube.WaitError
			if !errors.As(err, &wait) || wait.Failed != c.failed || len(wait.Conditions) != 1 {
				t.Errorf("%s: got %+v", c.reason, wait)
			}
			same(t, "it is on record", map[int]release.Status{1: release.StatusFailed}, b.status())
		})
	}
}

// TestCancel ends an action in the middle of a wait.
func TestCancel(t *testing.T) {
	b := newBench(t)
	ctx, cancel := context.WithCancelCause(b.ctx())
	g := b.start(kube.New(ctx, b.options(true)), charted(t, map[string]string{"deployment": unready}), time.Hour)
	b.eventually("it is there", func() bool { return b.exists(b.ref("Deployment", "app")) })
	why := errors.New("a new reconciliation")
	cancel(why)
	if err := b.end(g); !errors.Is(err, why) {
		t.Errorf("want the cause, got %v", err)
	}
	same(t, "it is on record", map[int]release.Status{1: release.StatusFailed}, b.status())
}

// TestUnhurried holds what is not waited for.
func TestUnhurried(t *testing.T) {
	b := newBench(t)
	paused := strings.Replace(unready, "spec:", "spec:\n  paused: true", 1)
	job := `{apiVersion: batch/v1, kind: Job, metadata: {name: job, L}, spec: {template: {spec: {restartPolicy: Never, nodeSelector: {no: node}, containers: [{name: job, image: job}]}}}}`
	in := action.NewInstall(b.configuration(kube.New(b.ctx(), b.options(true))))
	in.ReleaseName, in.Namespace, in.Wait, in.Timeout = "app", b.namespace, true, patience
	if _, err := in.Run(charted(t, map[string]string{"a": paused, "b": job}), nil); err != nil {
		t.Fatalf("a paused Deployment, and a Job without being told to: %v", err)
	}
}

// TestWaitForDeletion waits for who holds an object back.
func TestWaitForDeletion(t *testing.T) {
	b := newBench(t)
	o := b.options(true)
	held := strings.ReplaceAll(config("held", "one"), "name: held", "name: held, finalizers: [tests.example/hold]")
	if _, err := b.install(kube.New(b.ctx(), o), charted(t, map[string]string{"a": held})); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- b.uninstall(kube.New(b.ctx(), o)) }()
	b.eventually("it is being deleted", func() bool {
		m, err := b.admin.GetMeta(b.ctx(), b.ref("ConfigMap", "held"))
		return err == nil && m.DeletionTimestamp != nil
	})
	select {
	case err := <-done:
		t.Fatalf("it did not wait: %v", err)
	default:
	}
	b.patch(b.ref("ConfigMap", "held"), "", `{"metadata":{"finalizers":null}}`)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// TestOutage lets the API server go away and come back during a wait.
func TestOutage(t *testing.T) {
	c := cluster.New(t, cluster.Options{})
	b := newBenchOn(t, c)
	g := b.start(kube.New(b.ctx(), b.options(true)), charted(t, map[string]string{"deployment": deployment}), time.Hour)
	b.eventually("it is there", func() bool { return b.exists(b.ref("Deployment", "app")) })
	if err := c.Kill("kube-apiserver"); err != nil {
		t.Fatal(err)
	}
	if err := c.Restart(b.ctx(), "kube-apiserver"); err != nil {
		t.Fatal(err)
	}
	b.patch(b.ref("Deployment", "app"), "status", `{"status":{"observedGeneration":1,"replicas":1,"updatedReplicas":1,"readyReplicas":1,
		"availableReplicas":1,"conditions":[{"type":"Available","status":"True"},{"type":"Progressing","status":"True","reason":"NewReplicaSetAvailable"}]}}`)
	if err := b.end(g); err != nil {
		t.Fatal(err)
	}
	if err := c.Kill("kube-apiserver"); err != nil {
		t.Fatal(err)
	}
	err := kube.New(b.ctx(), b.options(true)).Wait(nil, time.Second)
	same(t, "nothing to wait for needs no API server", nil, err)
	b.factory.Invalidate()
	failsWith(t, "no API server", kube.New(b.ctx(), b.options(true)).IsReachable(), "Kubernetes cluster unreachable")
}

// TestOverload has an API server that has too much to do, now and then.
func TestOverload(t *testing.T) {
	for name, ssa := range map[string]bool{"server": true, "client": false} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			n := 0
			b.meet = func(*http.Request) *http.Response { // under the lock of the bench it is not, so it has its own way to count
				b.mu.Lock()
				defer b.mu.Unlock()
				if n++; n%2 == 0 {
					return nil
				}
				return &http.Response{
					StatusCode: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"0"}, "Content-Type": {"application/json"}},
					Body: io.NopCloser(strings.NewReader(`{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"TooManyRequests","code":429}`)),
				}
			}
			o := b.options(ssa)
			templates := map[string]string{"a": config("a", "one"), "b": config("b", "one")}
			if _, err := b.install(kube.New(b.ctx(), o), charted(t, templates)); err != nil {
				t.Fatal(err)
			}
			templates["a"] = config("a", "two")
			if _, err := b.upgrade(kube.New(b.ctx(), o), charted(t, templates), false); err != nil {
				t.Fatal(err)
			}
			same(t, "it came through", map[string]string{"key": "two"}, b.data("a"))
			if err := b.uninstall(kube.New(b.ctx(), o)); err != nil {
				t.Fatal(err)
			}
			same(t, "all the way", false, b.exists(b.ref("ConfigMap", "a")))
		})
	}
}

// TestIdentity holds that everything but watches acts as the service account, and that templates see what that may see.
func TestIdentity(t *testing.T) {
	b := newBench(t)
	b.create(`{apiVersion: v1, kind: ServiceAccount, metadata: {name: tenant, namespace: NS}}`)
	b.create(`{apiVersion: v1, kind: ConfigMap, metadata: {name: seen, namespace: NS}, data: {key: seen}}`)
	b.create(`{apiVersion: v1, kind: Secret, metadata: {name: hidden, namespace: NS}, stringData: {key: hidden}}`)
	b.create(`{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: tenant, namespace: NS}, rules: [{apiGroups: [""], resources: [configmaps], verbs: ["*"]}]}`)
	b.create(`{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: tenant, namespace: NS},
		roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: tenant}, subjects: [{kind: ServiceAccount, name: tenant, namespace: NS}]}`)
	client, err := b.factory.As(b.namespace, "tenant")
	if err != nil {
		t.Fatal(err)
	}
	o := b.options(true)
	o.Client = client
	anonymous := 0
	shared := []string{"/api", "/apis", "/version"} // what the cluster serves, which all releases are told
	b.meet = func(req *http.Request) *http.Response {
		if req.Header.Get("Impersonate-User") == "" && !slices.Contains(shared, req.URL.Path) {
			b.mu.Lock()
			anonymous++
			b.mu.Unlock()
		}
		return nil
	}
	look := `{{ $l := lookup "v1" "KIND" .Release.Namespace "NAME" }}` +
		"{apiVersion: v1, kind: ConfigMap, metadata: {name: config, L}, data: {key: {{ $l.data.key }}, none: '{{ lookup \"v1\" \"ConfigMap\" .Release.Namespace \"none\" }}'," +
		" all: '{{ len (lookup \"v1\" \"ConfigMap\" .Release.Namespace \"\").items }}'}}"
	seen := strings.NewReplacer("KIND", "ConfigMap", "NAME", "seen").Replace(look)
	if _, err := b.install(kube.New(b.ctx(), o), charted(t, map[string]string{"a": seen})); err != nil {
		t.Fatal(err)
	}
	same(t, "what is allowed", map[string]string{"key": "seen", "none": "map[]", "all": "2"}, b.data("config"))

	hidden := strings.NewReplacer("KIND", "Secret", "NAME", "hidden").Replace(look)
	_, err = b.upgrade(kube.New(b.ctx(), o), charted(t, map[string]string{"a": hidden}), false)
	failsWith(t, "what is not", err, "forbidden", "secrets", "system:serviceaccount:"+b.namespace+":tenant")

	_, err = b.upgrade(kube.New(b.ctx(), o), charted(t, map[string]string{"a": seen, "secret": "{apiVersion: v1, kind: Secret, metadata: {name: s, L}}"}), false)
	failsWith(t, "what is not to be written", err, "forbidden")
	if err := b.uninstall(kube.New(b.ctx(), o)); err != nil {
		t.Fatal(err)
	}
	same(t, "requests without an identity", 0, anonymous)
	same(t, "uninstalled", false, b.exists(b.ref("ConfigMap", "config")))
}
