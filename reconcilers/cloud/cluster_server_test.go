package cloud_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	testclock "k8s.io/utils/clock/testing"

	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/cloud"
	"github.com/weir-dev/weir/reconcilers/health"
	"github.com/weir-dev/weir/reconcilers/remote"
	clouds "github.com/weir-dev/weir/test/cloud"
	kubernetes "github.com/weir-dev/weir/test/cluster"
)

// known makes the clusters of the clouds those of package remote, over the internet of the test.
type known struct{ *cloud.Credentials }

func (k known) Cluster(ctx context.Context, r remote.CloudRequest) (remote.CloudCluster, error) {
	found, err := k.Credentials.Cluster(ctx, cloud.Request{
		Provider: r.Provider, Kind: r.Kind, Namespace: r.Namespace, Name: r.Name, ServiceAccount: r.ServiceAccount, Proxy: sky.Proxy(),
	}, cloud.ClusterName{Resource: r.Cluster, Address: r.Address})

	return remote.CloudCluster(found), err
}

// kubeconfigs are the ConfigMaps of the namespace apps.
type kubeconfigs map[string]map[string]string

func (k kubeconfigs) ConfigMap(_ context.Context, _, name string) (*corev1.ConfigMap, error) {
	return &corev1.ConfigMap{Data: k[name]}, nil
}

func (kubeconfigs) Secret(context.Context, string, string) (*corev1.Secret, error) {
	return nil, errors.New("there are no Secrets")
}

// server starts an API server that the token webhook of a cloud guards, for the cluster with the name.
func server(t *testing.T, name string) *kubernetes.Cluster {
	t.Helper()

	reviewer := httptest.NewServer(sky.ServeTokenReview(name))
	t.Cleanup(reviewer.Close)

	file := filepath.Join(t.TempDir(), "webhook.yaml")
	config := fmt.Sprintf(`{apiVersion: v1, kind: Config, current-context: c, contexts: [{name: c, context: {cluster: c, user: u}}],
clusters: [{name: c, cluster: {server: %q}}], users: [{name: u, user: {}}]}`, reviewer.URL)

	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}

	return kubernetes.New(t, kubernetes.Options{Cache: binaries, APIServerArgs: []string{
		"--authentication-token-webhook-config-file=" + file, "--authentication-token-webhook-version=v1",
		"--authentication-token-webhook-cache-ttl=0s",
	}})
}

// TestRealCluster applies to an API server that knows nobody but those whom the webhook of a cloud lets in. Tokens of an hour are
// renewed, and the cluster with its watches stays the same.
func TestRealCluster(t *testing.T) {
	for provider, name := range map[string]string{cloud.AWS: eksName, cloud.Azure: aksName, cloud.GCP: gkeName} {
		t.Run(provider, func(t *testing.T) {
			there := server(t, name)
			sky.SetCluster(name, &clouds.Cluster{Address: there.Config().Host, CA: there.Config().CAData})

			clock := testclock.NewFakePassiveClock(time.Now())
			c, _, _ := credentials(t, func(o *cloud.Options) { o.Now = clock.Now })
			f := remote.New(remote.Options{
				Configs: kubeconfigs{
					"good":   {"provider": provider, "cluster": name, "serviceAccountName": "reader", "address": there.Config().Host},
					"nobody": {"provider": provider, "cluster": name, "serviceAccountName": "nobody"},
					"gone":   {"provider": provider, "cluster": name, "serviceAccountName": "gone"},
					"evil":   {"provider": provider, "cluster": name, "serviceAccountName": "reader", "address": "https://127.0.0.1:1"},
				},
				Cloud: known{c}, Patience: time.Minute, Wake: func(access.ID, health.Cause) {}, Access: access.Options{Clock: clock},
			})
			t.Cleanup(f.Close)

			open := func(config string) (*remote.Cluster, error) {
				return f.Open(t.Context(), remote.Request{
					Owner: access.ID{Kind: "Kustomization", Namespace: "apps", Name: config},
					Ref:   meta.KubeConfigReference{ConfigMapRef: &meta.LocalObjectReference{Name: config}},
				})
			}

			first, err := open("good")
			if err != nil {
				t.Fatal(err)
			}

			for range 3 {
				sky.Requests()
				clock.SetTime(clock.Now().Add(50 * time.Minute))

				if err := first.Access.Probe(t.Context()); err != nil {
					t.Fatal(err)
				}

				if len(sky.Requests()) == 0 {
					t.Error("the token is not renewed")
				}
			}

			if again, err := open("good"); err != nil || again != first {
				t.Errorf("it is another cluster after its token was renewed: %v", err)
			}

			for config, want := range map[string]string{
				"nobody": "KubeConfig ConfigMap 'apps/nobody': look up key 'cluster' \"" + name + "\" as key 'serviceAccountName' \"nobody\": ",
				"gone":   "failed to get service account 'apps/gone'", "evil": "127.0.0.1:1",
			} {
				if _, err := open(config); err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("%s: error: %v", config, err)
				}
			}
		})
	}
}

// TestMovedCluster takes away the cluster behind a name: its address may be anybody's, and gets no token any more. The new one is
// found without anybody's help.
func TestMovedCluster(t *testing.T) {
	there := server(t, gkeName)
	sky.SetCluster(gkeName, &clouds.Cluster{Address: there.Config().Host, CA: there.Config().CAData})

	woken := make(chan access.ID, 10)
	clock := testclock.NewFakePassiveClock(time.Now())
	c, _, _ := credentials(t, func(o *cloud.Options) { o.Now = clock.Now })
	f := remote.New(remote.Options{
		Configs: kubeconfigs{"good": {"provider": cloud.GCP, "cluster": gkeName, "serviceAccountName": "reader"}},
		Cloud:   known{c}, Patience: time.Minute, Access: access.Options{Clock: clock},
		Wake: func(owner access.ID, _ health.Cause) { woken <- owner },
	})
	t.Cleanup(f.Close)

	open := func() (*remote.Cluster, error) {
		return f.Open(t.Context(), remote.Request{
			Owner: access.ID{Kind: "Kustomization", Namespace: "apps", Name: "app"},
			Ref:   meta.KubeConfigReference{ConfigMapRef: &meta.LocalObjectReference{Name: "good"}},
		})
	}

	first, err := open()
	if err != nil {
		t.Fatal(err)
	}

	elsewhere := strings.Replace(there.Config().Host, "127.0.0.1", "localhost", 1)
	sky.SetCluster(gkeName, &clouds.Cluster{Address: elsewhere, CA: there.Config().CAData})
	clock.SetTime(clock.Now().Add(50 * time.Minute))

	const want = "the cluster has another address or certificate than before"
	if err := first.Access.Probe(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
		t.Fatalf("error: %v", err)
	}

	clock.SetTime(clock.Now().Add(time.Minute)) // the peace that it is left in is over

	if _, err := open(); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error: %v", err)
	}

	select {
	case <-woken:
	case <-time.After(time.Minute):
		t.Error("nobody is told")
	}

	clock.SetTime(clock.Now().Add(time.Minute))

	second, err := open()
	if err != nil || second == first {
		t.Fatalf("it is not found again: %v", err)
	}

	if err := second.Access.Probe(t.Context()); err != nil {
		t.Error(err)
	}
}
