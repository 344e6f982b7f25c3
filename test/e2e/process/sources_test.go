package process

import (
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/weir-dev/weir/test/e2e/platform"
	"github.com/weir-dev/weir/test/gitserver"
	"github.com/weir-dev/weir/test/helmrepo"
	"github.com/weir-dev/weir/test/registry"
	"github.com/weir-dev/weir/test/s3server"
)

// kind is a kind of source.
func kind(name string) schema.GroupVersionKind {
	if name == "ArtifactGenerator" {
		return schema.GroupVersionKind{Group: "source.extensions.fluxcd.io", Version: "v1beta1", Kind: name}
	}

	return schema.GroupVersionKind{Group: "source.toolkit.fluxcd.io", Version: "v1", Kind: name}
}

// object returns an object of a kind of source with the spec.
func (s *stage) object(gvk schema.GroupVersionKind, namespace, name string, spec map[string]any) *unstructured.Unstructured {
	o := platform.Object(gvk, namespace, name)
	o.SetLabels(map[string]string{setLabel: s.set})
	o.Object["spec"] = map[string]any{}

	if gvk.Kind != "ArtifactGenerator" {
		o.Object["spec"] = map[string]any{"interval": "1h"}
	}

	maps.Copy(o.Object["spec"].(map[string]any), spec) //nolint:forcetypeassert // it was just made

	return o
}

// secret returns a Secret with the data.
func secret(namespace, name string, data map[string][]byte) *unstructured.Unstructured {
	encoded := map[string]any{}
	for k, v := range data {
		encoded[k] = base64.StdEncoding.EncodeToString(v)
	}

	o := platform.Object(platform.Core("Secret"), namespace, name)
	o.Object["data"] = encoded

	return o
}

// from lets a Kustomization have another kind of source.
func from(kind, name string) map[string]any {
	return map[string]any{"sourceRef": map[string]any{"kind": kind, "name": name}}
}

// upstream is a server of each kind, and the objects that read them.
type upstream struct {
	*stage

	namespace string
	repo      *gitserver.Repository
	registry  *registry.Server
	charts    *helmrepo.Server
	buckets   *s3server.Server
	objects   []*unstructured.Unstructured
}

// newUpstream makes servers with something in them, and sources of each kind that read them.
func newUpstream(t *testing.T, s *stage, name string) *upstream {
	t.Helper()

	u := &upstream{stage: s, namespace: s.namespace(t, name)}

	u.repo, _ = s.repository(t, name, files(
		"apps/one/config.yaml", configMap("one", 1), "apps/two/config.yaml", configMap("two", 1),
		"charts/local/Chart.yaml", "apiVersion: v2\nname: local\nversion: 1.2.3\n",
		"charts/local/values.yaml", "a: 1\n", "charts/local/templates/config.yaml", configMap("chart", 1),
	))

	u.registry = must(registry.Serve(t.Context(), registry.Options{Tokens: true, Username: "robot", Password: "pass"}))(t)
	t.Cleanup(u.registry.Close)
	must(u.registry.Push(t.Context(), "apps/pushed", "1.0.0",
		must(registry.Flux(map[string]string{"config.yaml": configMap("pushed", 1)}, nil))(t)))(t)

	u.charts = must(helmrepo.Serve(t.Context(), t.TempDir(), helmrepo.Options{TLS: true, Username: "robot", Password: "pass"}))(t)
	t.Cleanup(u.charts.Close)

	if err := u.charts.Add(helmrepo.Chart("podinfo", "6.0.0"), helmrepo.Chart("podinfo", "6.1.0")); err != nil {
		t.Fatal(err)
	}

	must(u.registry.Push(t.Context(), "charts/podinfo", "6.1.0",
		must(registry.Chart(must(u.charts.Package("podinfo", "6.1.0"))(t), nil))(t)))(t)

	u.buckets = must(s3server.Start(t.Context(), s3server.Options{Keys: map[string]string{"robot": "secretpass"}}))(t)
	t.Cleanup(u.buckets.Close)

	if err := u.buckets.MakeBucket("apps"); err != nil {
		t.Fatal(err)
	}

	must(u.buckets.Put("apps", "config.yaml", configMap("stored", 1)))(t)

	u.define(t)

	return u
}

// define applies all objects.
func (u *upstream) define(t *testing.T) {
	t.Helper()

	ns := u.namespace
	git := u.source(ns, "fleet", u.git.URL(u.repo))
	ref := func(kind, name string) map[string]any { return map[string]any{"kind": kind, "name": name} }
	named := func(name string) map[string]any { return map[string]any{"name": name} }

	u.objects = []*unstructured.Unstructured{
		git,
		u.object(kind("OCIRepository"), ns, "pushed", map[string]any{
			"url": "oci://" + u.registry.Addr + "/apps/pushed", "insecure": true, "ref": map[string]any{"semver": "1.x"},
			"secretRef": named("registry"),
		}),
		u.object(kind("HelmRepository"), ns, "charts", map[string]any{
			"url": u.charts.URL(), "secretRef": named("charts"), "certSecretRef": named("charts-ca"),
		}),
		u.object(kind("HelmChart"), ns, "podinfo", map[string]any{
			"chart": "podinfo", "version": ">=6.0.0", "sourceRef": ref("HelmRepository", "charts"),
		}),
		u.object(kind("HelmChart"), ns, "local", map[string]any{
			"chart": "charts/local", "sourceRef": ref("GitRepository", "fleet"), "reconcileStrategy": "Revision",
		}),
		u.object(kind("HelmChart"), ns, "pulled", map[string]any{
			"chart": "podinfo", "sourceRef": ref("HelmRepository", "registry"),
		}),
		u.object(kind("Bucket"), ns, "stored", map[string]any{
			"bucketName": "apps", "endpoint": u.buckets.Addr, "insecure": true, "secretRef": named("bucket"),
		}),
		u.object(kind("ArtifactGenerator"), ns, "split", map[string]any{
			"sources": []any{map[string]any{"alias": "fleet", "kind": "GitRepository", "name": "fleet"}},
			"artifacts": []any{
				map[string]any{"name": "one", "copy": []any{map[string]any{"from": "@fleet/apps/one/**", "to": "@artifact/"}}},
				map[string]any{"name": "two", "copy": []any{map[string]any{"from": "@fleet/apps/two/**", "to": "@artifact/"}}},
			},
		}),
		u.delivery(ns, "pushed", "", "", from("OCIRepository", "pushed")),
		u.delivery(ns, "stored", "", "", from("Bucket", "stored")),
		u.delivery(ns, "one", "", "", from("ExternalArtifact", "one")),
		u.delivery(ns, "two", "", "", from("ExternalArtifact", "two")),
	}

	u.apply(t, append(u.objects,
		u.object(kind("HelmRepository"), ns, "registry", map[string]any{
			"type": "oci", "url": "oci://" + u.registry.Addr + "/charts", "insecure": true, "secretRef": named("registry"),
		}),
		secret(ns, "registry", map[string][]byte{
			".dockerconfigjson": fmt.Appendf(nil, `{"auths":{%q:{"username":"robot","password":"pass"}}}`, u.registry.Addr),
		}),
		secret(ns, "charts", map[string][]byte{"username": []byte("robot"), "password": []byte("pass")}),
		secret(ns, "charts-ca", map[string][]byte{"ca.crt": u.charts.CA}),
		secret(ns, "bucket", map[string][]byte{"accesskey": []byte("robot"), "secretkey": []byte("secretpass")}),
	)...)
}

// ready is true when all objects have become what they say.
func (u *upstream) ready(now platform.Snapshot) error {
	var errs []error

	for _, o := range u.objects {
		gvk := o.GroupVersionKind()
		errs = append(errs, platform.Current(now.Get(gvk, o.GetNamespace(), o.GetName()), gvk.Kind+"/"+o.GetName()))
	}

	return errors.Join(errs...)
}

// newSourceStage is a stage that sees all kinds of sources.
func newSourceStage(t *testing.T, args ...string) *stage {
	t.Helper()

	s := newStage(t, append([]string{"--controllers=source-controller,kustomize-controller,source-watcher"}, args...)...)
	s.track(t, sourceKinds()...)

	return s
}

func sourceKinds() []schema.GroupVersionKind {
	return []schema.GroupVersionKind{
		kind("OCIRepository"), kind("HelmRepository"), kind("HelmChart"), kind("Bucket"), kind("ArtifactGenerator"), kind("ExternalArtifact"),
	}
}

// TestSources delivers from sources of each kind, over real servers that ask for credentials.
func TestSources(t *testing.T) {
	s := newSourceStage(t)
	u := newUpstream(t, s, "sources")

	s.await(t, "all sources and what is delivered from them are ready", u.ready)

	now := s.view.Now()
	for name, want := range map[string]string{"podinfo": "6.1.0", "pulled": "6.1.0"} {
		if got := platform.Text(now.Get(kind("HelmChart"), u.namespace, name), "status", "artifact", "revision"); got != want {
			t.Errorf("chart %q has the revision %q, not %q", name, got, want)
		}
	}

	for _, name := range []string{"pushed", "stored", "one", "two"} {
		if now.Get(platform.Core("ConfigMap"), u.namespace, name) == nil {
			t.Errorf("ConfigMap %q was not delivered", name)
		}
	}

	// What the OCI repository is made static by must not be in its way.
	if o := now.Get(kind("HelmRepository"), u.namespace, "registry"); len(o.GetFinalizers()) > 0 || platform.Text(o, "status", "url") != "" {
		t.Errorf("a static repository has got finalizers or a status: %v", o.Object)
	}

	// One application of the monorepo changes: the other is left alone.
	before := now.Get(kind("ExternalArtifact"), u.namespace, "two").GetResourceVersion()

	s.commit(t, u.repo, files("apps/one/config.yaml", configMap("one", 2)))
	s.request(t, u.objects[0])
	s.await(t, "the change is delivered", func(now platform.Snapshot) error {
		cm := now.Get(platform.Core("ConfigMap"), u.namespace, "one")
		if got := platform.Text(cm, "data", "value"); got != "2" {
			return fmt.Errorf("the value is %q", got)
		}

		return u.ready(now)
	})

	if after := s.view.Now().Get(kind("ExternalArtifact"), u.namespace, "two").GetResourceVersion(); after != before {
		t.Error("the artifact of the application that did not change has changed")
	}
}
