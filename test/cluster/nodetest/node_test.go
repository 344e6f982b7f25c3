package nodetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"

	"github.com/weir-dev/weir/test/cluster"
)

const (
	namespace = "restricted"
	app       = "probe"
	// patience bounds each wait. What is waited for takes a second or two.
	patience = time.Minute
)

// settings of the host's kernel that a kubelet would change, were it let.
func settings() []string {
	return []string{"vm/overcommit_memory", "kernel/panic", "kernel/panic_on_oops", "net/ipv4/ip_forward"}
}

func TestNode(t *testing.T) {
	if err := cluster.NodeSupport(); err != nil {
		t.Skip(err)
	}
	before := kernel(t)
	c, err := cluster.Start(t.Context(), cluster.Options{Mode: cluster.Node, Log: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Stop() })
	api, err := kubernetes.NewForConfig(c.Config())
	if err != nil {
		t.Fatal(err)
	}
	service := deploy(t, c, api)
	if t.Failed() {
		return
	}
	base := "http://" + service + ":8080"

	t.Run("host reaches Service", func(t *testing.T) {
		if got := fetch(t, base+"/hello"); got != "ok" {
			t.Errorf("got %q", got)
		}
	})
	t.Run("pod is confined", func(t *testing.T) {
		status := fetch(t, ask(base, "file", "/proc/self/status"))
		for _, want := range []string{"Uid:\t65532\t", "CapEff:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"} {
			if !strings.Contains(status, want) {
				t.Errorf("want %q in its status:\n%s", want, status)
			}
		}
		if got := fetch(t, ask(base, "write", "/file")); !strings.Contains(got, "read-only file system") {
			t.Errorf("want a read-only root, got %q", got)
		}
	})
	t.Run("names resolve", func(t *testing.T) {
		for name, want := range map[string]string{
			app: service,
			"kubernetes.default.svc." + cluster.ClusterDomain: "",
		} {
			got := fetch(t, ask(base, "lookup", name))
			if net.ParseIP(got) == nil || want != "" && got != want {
				t.Errorf("lookup of %q: want an address %s, got %q", name, want, got)
			}
		}
	})
	t.Run("pod reaches Service", func(t *testing.T) {
		if got := fetch(t, ask(base, "fetch", "http://"+app+":8080/")); got != "ok" {
			t.Errorf("got %q", got)
		}
	})
	t.Run("pod reaches host", func(t *testing.T) {
		server := serve(t, c.HostIP())
		if got := fetch(t, ask(base, "fetch", server)); got != "host" {
			t.Errorf("got %q", got)
		}
	})
	t.Run("pod reaches registry", func(t *testing.T) {
		_, port, _ := strings.Cut(c.Registry(), ":")
		got := fetch(t, ask(base, "fetch", "http://"+c.HostIP()+":"+port+"/v2/weir/probe/tags/list"))
		if !strings.Contains(got, "v1") {
			t.Errorf("got %q", got)
		}
	})
	t.Run("logs", func(t *testing.T) {
		logs(t, api)
	})

	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	if after := kernel(t); after != before {
		t.Errorf("settings of the host's kernel changed:\n%s\nwere:\n%s", after, before)
	}
	if _, err := os.Stat(c.Dir()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the run folder is left: %v", err)
	}
	if _, err := (&net.ListenConfig{}).ListenPacket(t.Context(), "udp", c.HostIP()+":0"); err == nil {
		t.Errorf("the link to the node is left: the host still has %s", c.HostIP())
	}
}

// deploy runs two pods under the strictest policy there is and returns the address of their Service.
func deploy(t *testing.T, c *cluster.Cluster, api kubernetes.Interface) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(api.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name: namespace, Labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted"},
	}}, metav1.CreateOptions{}))
	service, err := api.CoreV1().Services(namespace).Create(ctx, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: app},
		Spec: corev1.ServiceSpec{
			Selector: map[string]string{"app": app},
			Ports:    []corev1.ServicePort{{Port: 8080, TargetPort: intstr.FromInt32(8080)}},
		},
	}, metav1.CreateOptions{})
	must(nil, err)
	must(api.AppsV1().Deployments(namespace).Create(ctx, deployment(push(ctx, t, c)), metav1.CreateOptions{}))
	watch, err := api.AppsV1().Deployments(namespace).Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + app})
	must(nil, err)
	defer watch.Stop()
	for event := range watch.ResultChan() {
		if d, ok := event.Object.(*appsv1.Deployment); ok && d.Status.AvailableReplicas == 2 {
			return service.Spec.ClusterIP
		}
	}
	t.Errorf("the Deployment is not available: %v", context.Cause(ctx))
	return ""
}

// push makes an image of the probe and returns the name of another registry for it: the node looks in its own first.
func push(ctx context.Context, t *testing.T, c *cluster.Cluster) string {
	t.Helper()
	tools, err := cluster.Build(ctx, "", true, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	img, err := cluster.Image(map[string]string{"/probe": filepath.Join(tools["node"], "probe")}, "/probe")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Push(ctx, img, "weir/probe:v1"); err != nil {
		t.Fatal(err)
	}
	return "registry.example/weir/probe:v1"
}

func deployment(image string) *appsv1.Deployment {
	labels := map[string]string{"app": app}
	no, yes, replicas := false, true, int32(2)
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: app},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas,
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec: corev1.PodSpec{
					SecurityContext: &corev1.PodSecurityContext{
						RunAsNonRoot:   &yes,
						SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
					},
					Containers: []corev1.Container{{
						Name: app, Image: image,
						ReadinessProbe: &corev1.Probe{
							ProbeHandler:  corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/", Port: intstr.FromInt32(8080)}},
							PeriodSeconds: 1,
						},
						SecurityContext: &corev1.SecurityContext{
							AllowPrivilegeEscalation: &no, ReadOnlyRootFilesystem: &yes,
							Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
						},
					}},
				},
			},
		},
	}
}

// ask is the address at which the probe answers a question.
func ask(base, what, question string) string {
	return base + "/" + what + "?q=" + url.QueryEscape(question)
}

// fetch gets the body at an address. A Service that has just come up may lose
// connections, so it tries again, until it is answered.
func fetch(t *testing.T, address string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	quick := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		Proxy: nil, DisableKeepAlives: true, DialContext: (&net.Dialer{Timeout: 300 * time.Millisecond}).DialContext,
	}}
	for {
		body, err := get(ctx, &quick, address)
		if err == nil {
			return body
		}
		if ctx.Err() != nil {
			t.Fatal(err)
		}
	}
}

func get(ctx context.Context, c *http.Client, address string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return "", err
	}
	resp, err := c.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return strings.TrimSpace(string(b)), err
}

// serve runs a web server on the host where pods can reach it.
func serve(t *testing.T, ip string) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", ip+":0")
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "host") }))
	s.Listener.Close()
	s.Listener = l
	s.Start()
	t.Cleanup(s.Close)
	return s.URL
}

// logs reads what the pods printed by way of the API server and the kubelet.
func logs(t *testing.T, api kubernetes.Interface) {
	t.Helper()
	pods, err := api.CoreV1().Pods(namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil || len(pods.Items) == 0 {
		t.Fatalf("list pods: %d, %v", len(pods.Items), err)
	}
	var all strings.Builder
	for _, p := range pods.Items {
		b, err := api.CoreV1().Pods(namespace).GetLogs(p.Name, &corev1.PodLogOptions{}).DoRaw(t.Context())
		if err != nil {
			t.Errorf("logs of %s: %v", p.Name, err)
		}
		all.Write(b)
	}
	if !strings.Contains(all.String(), "asked for /hello") {
		t.Errorf("no pod logged our request:\n%s", all.String())
	}
}

func kernel(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	for _, name := range settings() {
		value, err := os.ReadFile(filepath.Join("/proc/sys", name))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%s=%s", name, value)
	}
	return b.String()
}
