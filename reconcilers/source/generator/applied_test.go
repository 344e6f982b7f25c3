package generator_test

import (
	"context"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/api/sourceextensions/v1beta1"
	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/apply"
	"github.com/weir-dev/weir/reconcilers/artifact"
	"github.com/weir-dev/weir/reconcilers/build"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/expression"
	"github.com/weir-dev/weir/reconcilers/health"
	"github.com/weir-dev/weir/reconcilers/kustomize"
	"github.com/weir-dev/weir/reconcilers/remote"
)

// TestApplied takes the parts of a monorepo through to what is applied: Kustomizations take ExternalArtifacts as their source,
// without any switch, and a change to one part reaches nobody but the one who applies it.
func TestApplied(t *testing.T) {
	s := newServer(t)
	define(t, s.c.Client, "kustomize.toolkit.fluxcd.io_kustomizations.yaml")

	config := func(name, value string) string {
		return "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: " + name + "\n  namespace: " + s.ns + "\ndata:\n  value: " + value + "\n"
	}
	files := map[string]string{"apps/one/config.yaml": config("one", "first"), "apps/two/config.yaml": config("two", "first")}
	push(t, s.c.Client, s.store, s.ns, "repo", "main@sha1:1", files)

	obj := s.create(t, "gen", withRepo, withArtifact("{app}", "@repo/apps/{app}/**", "@artifact/"),
		func(o *v1beta1.ArtifactGenerator) { o.Spec.PathPattern = "@repo/apps/{app}" })
	s.run(t, obj)
	expect(t, obj, meta.ReadyCondition, "True Succeeded: reconciliation succeeded, generated 2 artifact(s)")

	k := newApplier(t, s)
	one, two := k.create(t, "one"), k.create(t, "two")
	expect(t, one, meta.ReadyCondition, "True ReconciliationSucceeded: Applied revision: latest@sha256:")
	expect(t, two, meta.ReadyCondition, "True ReconciliationSucceeded: Applied revision: latest@sha256:")

	value := func(name string) string {
		cm := &corev1.ConfigMap{}
		check(t, s.c.Get(t.Context(), types.NamespacedName{Namespace: s.ns, Name: name}, cm))

		return cm.Data["value"]
	}

	if value("one") != "first" || value("two") != "first" {
		t.Errorf("one is %q, two is %q", value("one"), value("two"))
	}

	source := s.get(t, "two")
	before := two.ResourceVersion

	files["apps/one/config.yaml"] = config("one", "second")
	push(t, s.c.Client, s.store, s.ns, "repo", "main@sha1:2", files)
	s.run(t, obj)

	k.run(t, one)
	k.run(t, two)

	if value("one") != "second" || value("two") != "first" {
		t.Errorf("one is %q, two is %q", value("one"), value("two"))
	}

	if one.Status.LastAppliedRevision != s.get(t, "one").Status.Artifact.Revision {
		t.Errorf("applied %q", one.Status.LastAppliedRevision)
	}

	if two.ResourceVersion != before || s.get(t, "two").ResourceVersion != source.ResourceVersion {
		t.Error("two has changed, and nothing of it has")
	}
}

// applier runs Kustomizations.
type applier struct {
	s      *server
	runner interface {
		Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error)
	}
}

func newApplier(t *testing.T, s *server) *applier {
	t.Helper()

	factory, err := access.New(shared.Start(t).Config(), access.Options{})
	check(t, err)

	wake := func(access.ID, health.Cause) {}
	hub := health.New(factory.Own(), health.Options{Wake: wake})
	t.Cleanup(hub.Close)

	trees, err := artifact.NewTrees(artifact.TreesOptions{Dir: t.TempDir(), Store: s.store, Attempts: 1})
	check(t, err)

	expressions, err := expression.New()
	check(t, err)

	clusters := remote.New(remote.Options{Local: factory, Wake: wake})
	t.Cleanup(clusters.Close)

	kind := kustomize.Kind(kustomize.Deps{
		Sources: kustomize.SourceFunc(func(ctx context.Context, kind string, key types.NamespacedName) (kustomize.Source, error) {
			return source(ctx, s.c, kind, key)
		}),
		Trees: trees, Builder: build.New(build.Options{}), Access: factory, Hub: hub,
		Applier: apply.New(hub, apply.ApplierOptions{Wake: wake}), Expressions: expressions, Remote: clusters,
	})

	return &applier{s: s, runner: engine.New(kind, engine.Options{Client: s.c, ProgressAfter: time.Hour})}
}

// create makes a Kustomization of the ExternalArtifact of the same name, and runs it.
func (k *applier) create(t *testing.T, name string) *kustomizev1.Kustomization {
	t.Helper()

	obj := &kustomizev1.Kustomization{
		ObjectMeta: metav1.ObjectMeta{Namespace: k.s.ns, Name: name},
		Spec: kustomizev1.KustomizationSpec{
			Interval: metav1.Duration{Duration: time.Hour}, Prune: true,
			SourceRef: kustomizev1.CrossNamespaceSourceReference{Kind: "ExternalArtifact", Name: name},
		},
	}
	check(t, k.s.c.Client.Create(t.Context(), obj))
	k.run(t, obj)

	return obj
}

func (k *applier) run(t *testing.T, obj *kustomizev1.Kustomization) {
	t.Helper()

	_, err := k.runner.Reconcile(t.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(obj)})
	check(t, err)
	check(t, k.s.c.Get(t.Context(), client.ObjectKeyFromObject(obj), obj))
}
