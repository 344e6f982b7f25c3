package storage_test

import (
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/release"
	helmstorage "helm.sh/helm/v3/pkg/storage"
	"helm.sh/helm/v3/pkg/storage/driver"
	helmtime "helm.sh/helm/v3/pkg/time"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	typedv1 "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/access/accesstest"
	"github.com/weir-dev/weir/reconcilers/helm/storage"
	"github.com/weir-dev/weir/test/cluster"
)

var shared cluster.Shared

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.NewTextHandler(io.Discard, nil)))
	os.Exit(shared.Main(m))
}

var benches atomic.Int64

// bench is a namespace of a real API server, with records as we and as Helm see them.
type bench struct {
	t         *testing.T
	namespace string
	counter   *accesstest.Counter
	received  *atomic.Int64 // bytes of answers
	client    *access.Client
	ours      *storage.Secrets
	skipped   []string
	secrets   typedv1.SecretInterface
	helms     *driver.Secrets
}

func newBench(t *testing.T) *bench {
	t.Helper()

	b := &bench{
		t: t, namespace: fmt.Sprintf("storage-%d", benches.Add(1)), counter: &accesstest.Counter{}, received: &atomic.Int64{},
	}
	config := shared.Start(t).Config()
	config.QPS = -1

	factory, err := access.New(config, access.Options{Transport: func(next http.RoundTripper) http.RoundTripper {
		return b.counter.Transport(weighing{next, b.received})
	}})
	if err != nil {
		t.Fatal(err)
	}

	set, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}

	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: b.namespace}}
	if _, err := set.CoreV1().Namespaces().Create(t.Context(), namespace, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}

	b.secrets = set.CoreV1().Secrets(b.namespace)
	b.helms = driver.NewSecrets(b.secrets)
	b.client = factory.Own()
	b.ours = storage.New(t.Context(), b.client, b.namespace, storage.Options{
		Manager: "helm-controller", Skipped: func(err error) { b.skipped = append(b.skipped, err.Error()) },
	})

	return b
}

// weighing counts the bytes of answers.
type weighing struct {
	next  http.RoundTripper
	bytes *atomic.Int64
}

func (w weighing) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := w.next.RoundTrip(req)
	if err == nil {
		resp.Body = weighed{resp.Body, w.bytes}
	}

	return resp, err
}

type weighed struct {
	io.ReadCloser
	bytes *atomic.Int64
}

func (w weighed) Read(p []byte) (int, error) {
	n, err := w.ReadCloser.Read(p)
	w.bytes.Add(int64(n))

	return n, err
}

// must fails the test on an error.
func (b *bench) must(err error) {
	b.t.Helper()

	if err != nil {
		b.t.Fatal(err)
	}
}

// secret reads the Secret of a revision.
func (b *bench) secret(name string, revision int) *corev1.Secret {
	b.t.Helper()

	s, err := b.secrets.Get(b.t.Context(), storage.Key(name, revision), metav1.GetOptions{})
	b.must(err)

	return s
}

// write writes the Secret of a revision as it is given.
func (b *bench) write(name string, revision int, content string) {
	b.t.Helper()

	_, err := b.secrets.Create(b.t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: storage.Key(name, revision), Labels: map[string]string{
			"name": name, "owner": "helm", "status": "deployed", "version": fmt.Sprint(revision),
		}},
		Type: "helm.sh/release.v1", Data: map[string][]byte{"release": []byte(content)},
	}, metav1.CreateOptions{})
	b.must(err)
}

// histories are both sides of the same records.
func (b *bench) histories() map[string]*helmstorage.Storage {
	return map[string]*helmstorage.Storage{"helm": helmstorage.Init(b.helms), "weir": helmstorage.Init(b.ours)}
}

func newRelease(name string, revision int, status release.Status) *release.Release {
	at := helmtime.Unix(1_700_000_000, 0).UTC()

	return &release.Release{
		Name: name, Namespace: "apps", Version: revision,
		Info: &release.Info{FirstDeployed: at, LastDeployed: at, Description: "Install complete", Status: status, Notes: "hello"},
		Chart: &chart.Chart{
			Metadata:  &chart.Metadata{APIVersion: "v2", Name: "podinfo", Version: "6.5.0"},
			Templates: []*chart.File{{Name: "templates/all.yaml", Data: []byte("kind: ConfigMap")}},
			Values:    map[string]any{"replicas": 1.0},
			Files:     []*chart.File{{Name: "README.md", Data: []byte("read me")}},
		},
		Config:   map[string]any{"color": "blue"},
		Manifest: "---\n# Source: podinfo/templates/all.yaml\nkind: ConfigMap\n",
		Hooks: []*release.Hook{{
			Name: "test", Kind: "Pod", Path: "podinfo/templates/test.yaml", Manifest: "kind: Pod",
			Events: []release.HookEvent{release.HookTest}, LastRun: release.HookExecution{StartedAt: at, Phase: release.HookPhaseSucceeded},
		}},
		Labels: map[string]string{},
	}
}

// noise is text that does not compress.
func noise(bytes int) string {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

	source := rand.New(rand.NewPCG(1, 2))

	var text strings.Builder
	for range bytes {
		text.WriteByte(letters[source.IntN(len(letters))])
	}

	return text.String()
}
