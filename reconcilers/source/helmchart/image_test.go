package helmchart_test

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/ingest"
	"github.com/weir-dev/weir/reconcilers/registry"
	"github.com/weir-dev/weir/test/helmrepo"
	registryserver "github.com/weir-dev/weir/test/registry"
)

// TestImage shows what a HelmChart looks like whose chart is in a registry over HTTPS, behind a password.
func TestImage(t *testing.T) {
	w := newWorld(t)
	s := serveRegistry(t, registryserver.Options{TLS: true, Tokens: true, Username: "jane", Password: "secret"})

	var upstream []byte
	for _, v := range []string{"6.3.5", "6.4.0+build.1", "7.0.0-rc.1", "5.0.0"} {
		if pkg := push(t, s, "org/charts", helmrepo.Chart("podinfo", v)); v == "6.4.0+build.1" {
			upstream = pkg
		}
	}

	w.repository(t, "charts", "oci://"+s.Addr+"/org/charts/", func(spec *sourcev1.HelmRepositorySpec) {
		spec.Insecure = false
		spec.SecretRef = w.keep("login", map[string][]byte{
			corev1.DockerConfigJsonKey: fmt.Appendf(nil, `{"auths":{%q:{"username":"jane","password":"secret"}}}`, s.Addr),
		})
		spec.CertSecretRef = w.keep("tls", map[string][]byte{"ca.crt": s.CA})
	})

	obj := object("podinfo", "podinfo", sourcev1.HelmRepositoryKind, "charts", version("6.x"))
	b := w.bench(t, obj)
	got := b.run(t, obj)

	const message = "pulled 'podinfo' chart with version '6.4.0+build.1'"

	want := []string{"ArtifactInStorage=True ChartPullSucceeded: " + message, "Ready=True ChartPullSucceeded: " + message}
	if diff := cmp.Diff(want, conditions(got.Object)); diff != "" {
		t.Fatalf("conditions: -want, +got:\n%s", diff)
	}

	st := got.Object.Status
	if filepath.Base(st.Artifact.Path) != "podinfo-6.4.0+build.1.tgz" || st.ObservedSourceArtifactRevision != "" || st.ObservedChartName != "podinfo" {
		t.Errorf("status is %+v", st)
	}

	if string(w.read(t, st.Artifact)) != string(upstream) {
		t.Error("the artifact is not the package in the registry")
	}

	// An interval costs a list of tags, and one with a version nothing.
	exact := object("exact", "podinfo", sourcev1.HelmRepositoryKind, "charts", version("5.0.0"))
	b2 := w.bench(t, exact)
	expect(t, b2.run(t, exact).Object, meta.ReadyCondition, "True ChartPullSucceeded: pulled 'podinfo' chart with version '5.0.0'")

	w.clock.Advance(time.Minute)
	before := s.Counts()

	if second := b.run(t, obj); len(second.Patches)+len(second.Events) != 0 {
		t.Errorf("%d patches, events %q", len(second.Patches), reasons(second.Events))
	}

	if second := b2.run(t, exact); len(second.Patches)+len(second.Events) != 0 {
		t.Errorf("%d patches, events %q", len(second.Patches), reasons(second.Events))
	}

	if d := s.Counts().Since(before); d.Tags != 1 || d.Manifests+d.Heads+d.Blobs != 0 {
		t.Errorf("requests: %+v", d)
	}

	// A new version is pulled, and values files make another chart of it.
	push(t, s, "org/charts", helmrepo.Chart("podinfo", "6.5.0"))
	w.clock.Advance(time.Minute)
	b.change(t, obj, func(spec *sourcev1.HelmChartSpec) { spec.ValuesFiles = []string{"values.yaml", "values-prod.yaml"} })

	got = b.run(t, obj)
	expect(t, got.Object, meta.ReadyCondition,
		"True ChartPackageSucceeded: packaged 'podinfo' chart with version '6.5.0+2' and merged values files [values.yaml values-prod.yaml]")

	rendered := render(t, helmrepo.Chart("podinfo", "6.5.0"), map[string]any{"replicaCount": 3})
	if diff := cmp.Diff(rendered, render(t, w.load(t, got.Object.Status.Artifact), nil)); diff != "" {
		t.Errorf("-helm template -f, +merged:\n%s", diff)
	}
}

func TestImageFailures(t *testing.T) {
	cases := map[string]struct {
		reason string
		make   func(t *testing.T, w *world, s *registryserver.Server, obj *sourcev1.HelmChart)
		want   outcome
	}{
		"NoVersion": {
			reason: "A range without a version: nobody would tell of a new one, so it is looked for again.",
			make: func(_ *testing.T, _ *world, _ *registryserver.Server, obj *sourcev1.HelmChart) {
				obj.Spec.Version = "9.x"
			},
			want: outcome{
				condition: meta.BuildFailedCondition, reason: "InvalidChartReference",
				message: "invalid chart reference: failed to get chart version for remote reference: no 'podinfo' chart with version matching '9.x' found",
			},
		},
		"BadRange": {
			reason: "What is no range.",
			make: func(_ *testing.T, _ *world, _ *registryserver.Server, obj *sourcev1.HelmChart) {
				obj.Spec.Version = "nine"
			},
			want: outcome{condition: meta.BuildFailedCondition, reason: "InvalidChartReference", stalled: true, message: "invalid chart reference: "},
		},
		"LongRange": {
			reason: "What would take too long to compare.",
			make: func(_ *testing.T, _ *world, _ *registryserver.Server, obj *sourcev1.HelmChart) {
				obj.Spec.Version = strings.Repeat("99.x || ", 1000) + "6.x"
			},
			want: outcome{condition: meta.BuildFailedCondition, reason: "InvalidChartReference", stalled: true, message: "invalid chart reference: "},
		},
		"BadName": {
			reason: "What leads to another repository.",
			make: func(_ *testing.T, _ *world, _ *registryserver.Server, obj *sourcev1.HelmChart) {
				obj.Spec.Chart = "../podinfo"
			},
			want: outcome{
				condition: meta.BuildFailedCondition, reason: "InvalidChartReference", stalled: true,
				message: "invalid chart reference: '../podinfo' is no name of a chart",
			},
		},
		"UpperName": {
			reason: "What no registry has.",
			make: func(_ *testing.T, _ *world, _ *registryserver.Server, obj *sourcev1.HelmChart) {
				obj.Spec.Chart = "Podinfo"
			},
			want: outcome{
				condition: meta.BuildFailedCondition, reason: "InvalidChartReference", stalled: true,
				message: "invalid chart reference: 'Podinfo' is no name of a chart",
			},
		},
		"BadURL": {
			reason: "The URL may hold what nobody should see.",
			make: func(_ *testing.T, w *world, s *registryserver.Server, _ *sourcev1.HelmChart) {
				repo := w.sources["HelmRepository/charts"].(*sourcev1.HelmRepository) //nolint:forcetypeassert // it is one
				repo.Spec.URL = "oci://jane:wrong-word@" + s.Addr + "/org"
			},
			want: outcome{
				condition: meta.FetchFailedCondition, reason: "URLInvalid", stalled: true, message: "invalid Helm repository URL: 'oci://127.0.0.1:",
			},
		},
		"BadScheme": {
			reason: "A registry is one.",
			make: func(_ *testing.T, w *world, _ *registryserver.Server, _ *sourcev1.HelmChart) {
				repo := w.sources["HelmRepository/charts"].(*sourcev1.HelmRepository) //nolint:forcetypeassert // it is one
				repo.Spec.URL = "https://jane:wrong-word@example.com/org"
			},
			want: outcome{
				condition: meta.FetchFailedCondition, reason: "URLInvalid", stalled: true, message: "invalid Helm repository URL: 'https://example.com/org' is no",
			},
		},
		"NoValuesFile": {
			reason: "A values file that this version does not have may be in the next one, of which nobody would tell.",
			make: func(_ *testing.T, _ *world, _ *registryserver.Server, obj *sourcev1.HelmChart) {
				obj.Spec.Version, obj.Spec.ValuesFiles = "6.x", []string{"none.yaml"}
			},
			want: outcome{condition: meta.BuildFailedCondition, reason: "ValuesFilesError", message: "values files merge error: no values file found at path"},
		},
		"NeverValuesFile": {
			reason: "But not if there is no next one.",
			make: func(_ *testing.T, _ *world, _ *registryserver.Server, obj *sourcev1.HelmChart) {
				obj.Spec.Version, obj.Spec.ValuesFiles = "6.3.5", []string{"none.yaml"}
			},
			want: outcome{
				condition: meta.BuildFailedCondition, reason: "ValuesFilesError", message: "values files merge error: no values file found at path", stalled: true,
			},
		},
		"NoTag": {
			reason: "A version without a tag may be pushed any time.",
			make: func(_ *testing.T, _ *world, _ *registryserver.Server, obj *sourcev1.HelmChart) {
				obj.Spec.Version = "9.9.9"
			},
			want: outcome{
				condition: meta.BuildFailedCondition, reason: "ChartPullError",
				message: "chart pull error: failed to download chart for remote reference: failed to get 'oci://",
			},
		},
		"NoLogin": {
			reason: "Credentials have to be right.",
			make: func(_ *testing.T, w *world, s *registryserver.Server, obj *sourcev1.HelmChart) {
				repo := w.sources["HelmRepository/charts"].(*sourcev1.HelmRepository) //nolint:forcetypeassert // it is one
				repo.Spec.SecretRef = w.keep("login", map[string][]byte{
					corev1.DockerConfigJsonKey: fmt.Appendf(nil, `{"auths":{%q:{"username":"jane","password":"wrong-word"}}}`, s.Addr),
				})
				obj.Spec.Version = "6.3"
			},
			want: outcome{
				condition: meta.BuildFailedCondition, reason: "ChartPullError",
				message: "chart pull error: failed to get chart version for remote reference: could not fetch tags for",
			},
		},
		"NoSecret": {
			reason: "And be there.",
			make: func(_ *testing.T, w *world, _ *registryserver.Server, _ *sourcev1.HelmChart) {
				repo := w.sources["HelmRepository/charts"].(*sourcev1.HelmRepository) //nolint:forcetypeassert // it is one
				repo.Spec.CertSecretRef = &meta.LocalObjectReference{Name: "none"}
			},
			want: outcome{condition: meta.FetchFailedCondition, reason: "AuthenticationFailed", message: "failed to get secret 'apps/none': "},
		},
		"NoChart": {
			reason: "What is no chart is none.",
			make: func(t *testing.T, _ *world, s *registryserver.Server, obj *sourcev1.HelmChart) {
				t.Helper()

				img, err := registryserver.Flux(map[string]string{"a": "b"}, nil)
				check(t, err)

				_, err = s.Push(t.Context(), "org/charts/podinfo", "8.0.0", img)
				check(t, err)

				obj.Spec.Version = "8.0.0"
			},
			want: outcome{
				condition: meta.BuildFailedCondition, reason: "ChartPullError",
				message: "chart pull error: failed to download chart for remote reference: 'oci://",
			},
		},
		"BadChart": {
			reason: "Nor is what only says that it is one.",
			make: func(t *testing.T, _ *world, s *registryserver.Server, obj *sourcev1.HelmChart) {
				t.Helper()

				img, err := registryserver.Chart([]byte("no chart"), nil)
				check(t, err)

				_, err = s.Push(t.Context(), "org/charts/podinfo", "8.0.0", img)
				check(t, err)

				obj.Spec.Version = "8.0.0"
			},
			want: outcome{
				condition: meta.BuildFailedCondition, reason: "ChartPullError",
				message: "chart pull error: failed to download chart for remote reference: failed to load chart: ",
			},
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			s := serveRegistry(t, registryserver.Options{Username: "jane", Password: "secret"})
			push(t, s, "org/charts", helmrepo.Chart("podinfo", "6.3.5"))
			w.repository(t, "charts", "oci://"+s.Addr+"/org/charts", func(spec *sourcev1.HelmRepositorySpec) {
				spec.SecretRef = w.keep("login", map[string][]byte{"username": []byte("jane"), "password": []byte("secret")})
			})

			obj := object("podinfo", "podinfo", sourcev1.HelmRepositoryKind, "charts")
			b := w.bench(t, obj)
			good := b.run(t, obj).Object.Status.Artifact
			content := w.read(t, good)

			b.change(t, obj, func(*sourcev1.HelmChartSpec) { tc.make(t, w, s, obj) })
			w.clock.Advance(time.Minute)

			got := b.run(t, obj).Object
			judge(t, got, tc.reason, tc.want)

			if c := engine.Condition(got, meta.ReadyCondition); strings.Contains(c.Message, "wrong-word") {
				t.Errorf("the message gives the password away: %s", c.Message)
			}

			if diff := cmp.Diff(good, got.Status.Artifact); diff != "" {
				t.Errorf("%s\nartifact: -before, +after:\n%s", tc.reason, diff)
			}

			if string(w.read(t, good)) != string(content) {
				t.Errorf("%s\nthe artifact is another one", tc.reason)
			}
		})
	}
}

// TestImageSpelling holds that names and versions may be spelt in several ways.
func TestImageSpelling(t *testing.T) {
	w := newWorld(t)
	s := serveRegistry(t, registryserver.Options{})
	push(t, s, "org/charts", helmrepo.Chart("podinfo", "6.3.5"))
	push(t, s, "org/charts", helmrepo.Chart("podinfo", "v7.0.0"))
	w.repository(t, "org", "oci://"+s.Addr+"/org//")

	for name, tc := range map[string]struct{ chart, version, file string }{
		"slashes": {chart: "/charts/podinfo/", version: "6.3.5", file: "podinfo-6.3.5.tgz"},
		"with-v":  {chart: "charts/podinfo", version: "v6.3.5", file: "podinfo-6.3.5.tgz"},
		"tag-v":   {chart: "charts/podinfo", version: "v7.0.0", file: "podinfo-v7.0.0.tgz"},
		"range-v": {chart: "charts/podinfo", version: "7.x", file: "podinfo-v7.0.0.tgz"},
	} {
		obj := object(name, tc.chart, sourcev1.HelmRepositoryKind, "org", version(tc.version))
		got := w.bench(t, obj).run(t, obj).Object

		if a := got.Status.Artifact; a == nil || filepath.Base(a.Path) != tc.file {
			t.Errorf("%s: artifact %+v, conditions %v", name, a, conditions(got))
		}
	}
}

// TestProvider holds that a HelmRepository logs in to the cloud that it names.
func TestProvider(t *testing.T) {
	w := newWorld(t)
	s := serveRegistry(t, registryserver.Options{Username: "jane", Password: "secret"})
	push(t, s, "org", helmrepo.Chart("podinfo", "6.3.5"))
	w.repository(t, "charts", "oci://"+s.Addr+"/org", func(spec *sourcev1.HelmRepositorySpec) {
		spec.Provider, spec.Insecure = "aws", false
	})

	var who []registry.Identity

	w.deps.Registries = registry.New(registry.Options{
		Transports: &ingest.Transports{}, Now: w.clock.Now,
		Cloud: registry.CloudFunc(func(_ context.Context, id registry.Identity, _ string) (string, string, error) {
			who = append(who, id)

			return "jane", "secret", nil
		}),
	})

	obj := object("podinfo", "podinfo", sourcev1.HelmRepositoryKind, "charts")
	expect(t, w.bench(t, obj).run(t, obj).Object, meta.ReadyCondition, "True ChartPullSucceeded")

	if len(who) == 0 || who[0] != (registry.Identity{Provider: "aws", Kind: "HelmRepository", Namespace: namespace, Name: "charts"}) {
		t.Errorf("logged in as %+v", who)
	}
}
