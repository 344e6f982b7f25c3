package instance_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/distribution"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/instance"
)

// plain is the least that can be deployed.
const plain = "distribution: {version: 2.x, registry: ghcr.io/fluxcd}\ncomponents: [source-controller]\nwait: false\n"

// TestBehaviours shows, one by one and by their numbers in the list of what clients of the reference rely on, that instances behave
// like that, or as docs/decisions/0002-where-we-differ.md says. 14 and 15 are about the ResourceSet.
func TestBehaviours(t *testing.T) {
	t.Parallel()
	for _, b := range []struct {
		name string
		show func(*env)
	}{
		{"01 names and messages of the API", namesAndMessages},
		{"02 revision and inventory", revisionAndInventory},
		{"03 history", history},
		{"04 highest version in range that is embedded", versionInRange},
		{"05 no downgrades of minor versions", noDowngrades},
		{"06 ArtifactFailed retries and BuildFailed stalls", failures},
		{"07 disabled", disabled},
		{"08 intervals", intervals},
		{"09 force and annotations", force},
		{"10 takeovers", takeovers},
		{"11 order", order},
		{"12 marks of all objects", marks},
		{"13 uninstallation", uninstallation},
	} {
		t.Run(b.name, func(t *testing.T) { b.show(start(t)) })
	}
}

// 1: see also TestInstanceAdmission of package distribution.
func namesAndMessages(e *env) {
	for spec, want := range map[string]string{
		plain + "sharding: {shards: [a], storage: persistent}\n":          ".spec.storage must be set when .spec.sharding.storage is 'persistent'",
		plain + "cluster: {multitenantWorkloadIdentity: true}\n":          ".objectLevelWorkloadIdentity must be set to true when .multitenantWorkloadIdentity is set to true",
		plain + syncOf("kind: GitRepository, provider: gcp"):              "sync.provider 'gcp' is only supported for OCIRepository and Bucket",
		plain + syncOf("kind: OCIRepository, provider: github"):           "sync.provider 'github' is only supported for GitRepository",
		strings.Replace(plain, "2.x", "2.x, artifact: https://a", 1):      "spec.distribution.artifact in body should match '^oci://.*$'",
		plain + syncOf("name: "+strings.Repeat("a", 64)+", kind: Bucket"): "Too long: may not be more than 63",
	} {
		obj := &fluxv1.FluxInstance{ObjectMeta: named("flux")}
		must(e.t, yaml.UnmarshalStrict([]byte(spec), &obj.Spec))
		if err := e.c.Create(e.ctx, obj); err == nil || !strings.Contains(err.Error(), want) {
			e.t.Errorf("admitting\n%sgives %v, want %q", spec, err, want)
		}
	}
	other := &fluxv1.FluxInstance{ObjectMeta: named("other")}
	must(e.t, yaml.UnmarshalStrict([]byte(plain), &other.Spec))
	if err := e.c.Create(e.ctx, other); err == nil || !strings.Contains(err.Error(), "the only accepted name for a FluxInstance is 'flux'") {
		e.t.Errorf("another name gives %v", err)
	}
	e.create("distribution: {version: 2.x, registry: ghcr.io/fluxcd}\nwait: false\n" + syncOf("name: fleet, kind: Bucket"))
	obj := e.ready()
	renamed := obj.DeepCopy()
	renamed.Spec.Sync.Name = "other"
	if err := e.c.Update(e.ctx, renamed); err == nil || !strings.Contains(err.Error(), "Sync name is immutable") {
		e.t.Errorf("another name of the sync gives %v", err)
	}
	if fluxv1.GroupVersion.String() != "fluxcd.controlplane.io/v1" || !slices.Equal(obj.Finalizers, []string{"fluxcd.controlplane.io/finalizer"}) {
		e.t.Errorf("finalizers of %s are %q", fluxv1.GroupVersion, obj.Finalizers)
	}
	if !slices.ContainsFunc(e.deployment("source-controller").ManagedFields, func(m metav1.ManagedFieldsEntry) bool {
		return m.Manager == "flux-operator" && m.Operation == metav1.ManagedFieldsOperationApply
	}) || !slices.ContainsFunc(obj.ManagedFields, func(m metav1.ManagedFieldsEntry) bool {
		return m.Manager == "flux-operator" && m.Subresource == "status"
	}) {
		e.t.Error("the field manager is not flux-operator")
	}
	e.leave()
}

func syncOf(fields string) string { return "sync: {url: u, ref: r, path: p, " + fields + "}\n" }

// 2
func revisionAndInventory(e *env) {
	e.create(plain)
	obj := e.ready()
	dist, err := e.carried()
	must(e.t, err)
	image, err := distribution.ParseImage("registry.example.com/weir:v0.1.0@sha256:" + strings.Repeat("0", 64))
	must(e.t, err)
	set, err := dist.Build(obj, distribution.Options{Image: image})
	must(e.t, err)
	content, err := set.YAML()
	must(e.t, err)
	if want := "v2.9.5@" + digest(content); obj.Status.LastAppliedRevision != want || obj.Status.LastAttemptedRevision != want {
		e.t.Errorf("revisions are %s and %s, want %s", obj.Status.LastAppliedRevision, obj.Status.LastAttemptedRevision, want)
	}
	if len(obj.Status.Inventory.Entries) != len(set.Objects) {
		e.t.Errorf("the inventory has %d entries of %d objects", len(obj.Status.Inventory.Entries), len(set.Objects))
	}
	for id, version := range map[string]string{
		"flux-system_source-controller_apps_Deployment":                                   "v1",
		"flux-system_source-controller__Service":                                          "v1",
		"_flux-system__Namespace":                                                         "v1",
		"_crd-controller-flux-system_rbac.authorization.k8s.io_ClusterRole":               "v1",
		"_buckets.source.toolkit.fluxcd.io_apiextensions.k8s.io_CustomResourceDefinition": "v1",
	} {
		if !slices.Contains(obj.Status.Inventory.Entries, meta.ResourceRef{ID: id, Version: version}) {
			e.t.Errorf("the inventory lacks %q", id)
		}
	}
	e.leave()
}

func digest(content []byte) string {
	sum := sha256.Sum256(content)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// 3
func history(e *env) {
	e.create(plain)
	var digests []string
	relabel := func(value int) *fluxv1.FluxInstance {
		e.change(func(obj *fluxv1.FluxInstance) {
			obj.Spec.CommonMetadata = &meta.CommonMetadata{Labels: map[string]string{"example.com/try": fmt.Sprint(value)}}
		})
		return e.run("at it", func(obj *fluxv1.FluxInstance) bool {
			return isTrue(obj, "Ready") && e.deployment("source-controller").Labels["example.com/try"] == fmt.Sprint(value)
		})
	}
	e.ready()
	for i := range 6 {
		obj := relabel(i)
		digests = append(digests, obj.Status.History[0].Digest)
		if !strings.HasSuffix(obj.Status.LastAppliedRevision, "@"+digests[i]) {
			e.t.Errorf("history is of %s, revision is %s", digests[i], obj.Status.LastAppliedRevision)
		}
	}
	kept := func(obj *fluxv1.FluxInstance) []string {
		var list []string
		for _, h := range obj.Status.History {
			list = append(list, h.Digest)
		}
		return list
	}
	slices.Reverse(digests)
	if diff := cmp.Diff(digests[:5], kept(e.instance())); diff != "" {
		e.t.Errorf("digests, -want +got\n%s", diff)
	}
	obj := relabel(3)
	if diff := cmp.Diff([]string{digests[2], digests[0], digests[1], digests[3], digests[4]}, kept(obj)); diff != "" {
		e.t.Errorf("digests after one came back, -want +got\n%s", diff)
	}
	if h := obj.Status.History[0]; h.TotalReconciliations < 2 || h.LastReconciledStatus != "ReconciliationSucceeded" ||
		!cmp.Equal(h.Metadata, map[string]string{"flux": "v2.9.5"}) {
		e.t.Errorf("the entry of what came back is %+v", h)
	}
	e.change(func(obj *fluxv1.FluxInstance) { obj.Spec.Distribution.Version = "1.x" })
	obj = e.run("stalled", func(obj *fluxv1.FluxInstance) bool { return isTrue(obj, "Stalled") })
	spec, err := json.Marshal(obj.Spec)
	must(e.t, err)
	if h := obj.Status.History[0]; h.Digest != digest(spec) || h.Metadata != nil || h.LastReconciledStatus != "BuildFailed" {
		e.t.Errorf("the entry of a failed build is %+v, want the digest %s", h, digest(spec))
	}
	if len(obj.Status.History) != 5 {
		e.t.Errorf("history has %d entries", len(obj.Status.History))
	}
	e.leave()
}

// 4: see also TestSelect of package distribution.
func versionInRange(e *env) {
	carried, err := embedded.slim()
	must(e.t, err)
	files := map[string][]byte{}
	for _, version := range []string{"v2.8.9", "v2.9.5", "v2.9.7", "v2.10.0"} {
		for file, content := range upstreamFiles(e.t, version) {
			files[file] = []byte(content)
		}
	}
	releases, err := distribution.ReadReleases(files)
	must(e.t, err)
	for wanted, want := range map[string]string{"2.x": "v2.9.7", "2.9.5": "v2.9.5", "*": "v2.9.7"} {
		d, err := releases.Select(wanted, fluxv1.VariantUpstreamAlpine, "oci://a", carried)
		must(e.t, err)
		if d.Version() != want {
			e.t.Errorf("%s selects %s, want %s", wanted, d.Version(), want)
		}
	}
	for _, wanted := range []string{"2.8.x", "2.10.x", "1.x"} {
		_, err := releases.Select(wanted, fluxv1.VariantUpstreamAlpine, "oci://a", carried)
		if want := "no match found for semver: " + wanted + " in oci://a matching embedded minor versions in 2.9"; err == nil || !strings.HasPrefix(err.Error(), want) {
			e.t.Errorf("%s gives %v, want %q", wanted, err, want)
		}
	}
}

// 5
func noDowngrades(e *env) {
	for from, want := range map[string]string{
		"":                 "",
		"v2.9.5@sha256:1":  "",
		"v2.9.6@sha256:1":  "", // patches may be taken back
		"v2.8.0@sha256:1":  "",
		"v1.9.9@sha256:1":  "",
		"v2.10.0@sha256:1": "downgrading from 2.10.0 to 2.9.5 is not supported, reinstall needed",
		"v3.0.0@sha256:1":  "downgrading from 3.0.0 to 2.9.5 is not supported, reinstall needed",
	} {
		got := ""
		if err := distribution.CheckUpgrade(from, "v2.9.5@sha256:2"); err != nil {
			got = err.Error()
		}
		if got != want {
			e.t.Errorf("from %q: %q, want %q", from, got, want)
		}
	}
	if err := distribution.CheckUpgrade("v2.9.5@sha256:1", "v3.0.0@sha256:2"); err != nil {
		e.t.Errorf("a new major version: %v", err)
	}
	obj := e.create(plain)
	before := obj.DeepCopy()
	obj.Status.LastAppliedRevision = "v2.10.0@sha256:1"
	must(e.t, e.c.Status().Patch(e.ctx, obj, client.MergeFrom(before)))
	obj = e.run("stalled", func(obj *fluxv1.FluxInstance) bool { return isTrue(obj, "Stalled") })
	expect(e.t, obj, "Ready", metav1.ConditionFalse, "BuildFailed", "build failed: downgrading from 2.10.0 to 2.9.5 is not supported, reinstall needed")
	e.leave()
}

// 6: that an artifact heals, too, is shown by TestRelease.
func failures(e *env) {
	e.create(strings.Replace(plain, "2.x", "2.x, artifact: oci://127.0.0.1:1/none:latest", 1))
	obj := e.run("failed", func(obj *fluxv1.FluxInstance) bool {
		c := engine.Condition(obj, "Ready")
		return c != nil && c.Status == metav1.ConditionFalse
	})
	expect(e.t, obj, "Ready", metav1.ConditionFalse, "ArtifactFailed", "fetch failed: ")
	expect(e.t, obj, "Reconciling", metav1.ConditionTrue, "ProgressingWithRetry", "fetch failed: ")
	if after := e.once(); isTrue(obj, "Stalled") || after <= 0 || after > time.Minute {
		e.t.Errorf("an artifact that cannot be fetched is tried again in %s, Stalled is %t", after, isTrue(obj, "Stalled"))
	}
	wrong := fluxv1.Kustomize{Patches: []meta.Patch{{Patch: `{apiVersion: v1, kind: Secret, metadata: {name: nowhere}}`}}}
	e.change(func(obj *fluxv1.FluxInstance) {
		obj.Spec.Distribution.Artifact = ""
		obj.Spec.Kustomize = &wrong
	})
	obj = e.run("stalled", func(obj *fluxv1.FluxInstance) bool { return isTrue(obj, "Stalled") })
	expect(e.t, obj, "Ready", metav1.ConditionFalse, "BuildFailed", "build failed: apply spec.kustomize.patches: ")
	if after := e.once(); engine.Condition(obj, "Reconciling") != nil || after != 0 {
		e.t.Errorf("a failed build is tried again in %s", after)
	}
	e.change(func(obj *fluxv1.FluxInstance) {
		obj.Spec.Kustomize.Patches[0].Patch = `{apiVersion: v1, kind: ServiceAccount, metadata: {name: source-controller, namespace: flux-system, labels: {a: b}}}`
	})
	obj = e.ready()
	if account := (&corev1.ServiceAccount{}); !e.exists(account, "source-controller") || account.Labels["a"] != "b" || engine.Condition(obj, "Stalled") != nil {
		e.t.Errorf("a corrected patch makes %v", account.Labels)
	}
	e.leave()
}

// 7: see also TestDisabled.
func disabled(e *env) {
	e.create(plain, "fluxcd.controlplane.io/reconcile", "DISABLED")
	e.once()
	expect(e.t, e.instance(), "Ready", metav1.ConditionTrue, "ReconciliationDisabled", "Initialized with reconciliation suspended")
	e.change(func(obj *fluxv1.FluxInstance) { obj.Annotations["fluxcd.controlplane.io/reconcile"] = "enabled" })
	e.ready()
	e.change(func(obj *fluxv1.FluxInstance) { obj.Annotations["fluxcd.controlplane.io/reconcile"] = "disabled" })
	must(e.t, e.c.Delete(e.ctx, e.instance()))
	e.run("gone", func(obj *fluxv1.FluxInstance) bool { return obj == nil })
	if d := e.deployment("source-controller"); d.DeletionTimestamp != nil {
		e.t.Error("the deletion of a disabled instance deletes what it deployed")
	}
	e.create(plain)
	e.ready()
	e.leave()
}

// 8: see also TestIntervals of package api/controlplane/v1, and the tests of the flags of cmd/manager for the jitter.
func intervals(e *env) {
	e.create(plain)
	e.ready()
	if after := e.once().Round(time.Minute); after != time.Hour {
		e.t.Errorf("an instance runs every %s", after)
	}
	for _, tc := range []struct {
		every, artifact, spec string
		want                  time.Duration
	}{
		{"20m", "", "", 20 * time.Minute},
		{"nonsense", "", "", time.Hour},
		{"20m", "", "oci://a", 10 * time.Minute},
		{"20m", "3m", "oci://a", 3 * time.Minute},
	} {
		obj := &fluxv1.FluxInstance{}
		obj.Annotations = map[string]string{
			"fluxcd.controlplane.io/reconcileEvery": tc.every, "fluxcd.controlplane.io/reconcileArtifactEvery": tc.artifact,
		}
		obj.Spec.Distribution.Artifact = tc.spec
		if got := instance.Kind(instance.Deps{}).Interval(obj); got != tc.want {
			e.t.Errorf("%+v: every %s", tc, got)
		}
	}
	if got := (&fluxv1.FluxInstance{}).GetTimeout(); got != 5*time.Minute {
		e.t.Errorf("the timeout is %s", got)
	}
	e.leave()
}

// 9: that any change of an annotation makes an instance run is shown by TestOwnEvents of package controllers.
func force(e *env) {
	e.create(plain)
	e.ready()
	for _, tc := range []struct{ requested, forced, want string }{
		{"1", "2", ""},
		{"3", "3", "3"},
		{"4", "3", "3"},
		{"5", "5", "5"},
	} {
		e.change(func(obj *fluxv1.FluxInstance) {
			metav1.SetMetaDataAnnotation(&obj.ObjectMeta, "reconcile.fluxcd.io/requestedAt", tc.requested)
			metav1.SetMetaDataAnnotation(&obj.ObjectMeta, "reconcile.fluxcd.io/forceAt", tc.forced)
		})
		obj := e.run("handled", func(obj *fluxv1.FluxInstance) bool { return obj.Status.LastHandledReconcileAt == tc.requested })
		if obj.Status.LastHandledForceAt != tc.want {
			e.t.Errorf("requested at %s and forced at %s: handled is %q, want %q", tc.requested, tc.forced, obj.Status.LastHandledForceAt, tc.want)
		}
	}
	e.leave()
}

// 10: see also TestAdopt.
func takeovers(e *env) {
	const account = `{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":%q,"namespace":"flux-system","labels":{"stale":"x",` +
		`"kustomize.toolkit.fluxcd.io/name":"flux-system","kustomize.toolkit.fluxcd.io/namespace":"flux-system"},"annotations":{` +
		`"kubectl.kubernetes.io/last-applied-configuration":"{}","meta.helm.sh/release-name":"flux","meta.helm.sh/release-namespace":"flux-system"}}}`
	managers := []struct {
		name    string
		applies bool
	}{
		{"kubectl-client-side-apply", false}, {"kubectl", true}, {"before-first-apply", false},
		{"flux", true}, {"helm", false}, {"kustomize-controller", true}, {"somebody-else", false},
	}
	of := fluxv1.AllComponents() // an account for each manager
	for i, manager := range managers {
		body := fmt.Appendf(nil, account, of[i])
		ref := access.Ref{ID: access.ID{Kind: "ServiceAccount", Namespace: namespace, Name: of[i]}, Version: "v1"}
		var err error
		if manager.applies {
			_, err = e.own.Apply(e.ctx, ref, body, access.ApplyOptions{Manager: manager.name})
		} else {
			u := &unstructured.Unstructured{}
			must(e.t, u.UnmarshalJSON(body))
			_, err = e.own.Create(e.ctx, u, manager.name)
		}
		must(e.t, err)
	}
	e.create("distribution: {version: 2.x, registry: ghcr.io/fluxcd}\nwait: false\ncomponents: [" + strings.Join(of, ", ") + "]\n")
	e.ready()
	for i, manager := range managers {
		live := &corev1.ServiceAccount{}
		must(e.t, e.c.Get(e.ctx, types.NamespacedName{Namespace: namespace, Name: of[i]}, live))
		if _, stale := live.Labels["stale"]; stale != (manager.name == "somebody-else") {
			e.t.Errorf("after %s, the label that only it has set is there: %t", manager.name, stale)
		}
		for _, key := range []string{"kubectl.kubernetes.io/last-applied-configuration", "meta.helm.sh/release-name", "meta.helm.sh/release-namespace"} {
			if _, ok := live.Annotations[key]; ok {
				e.t.Errorf("after %s, the annotation %q is there", manager.name, key)
			}
		}
		for _, key := range []string{"kustomize.toolkit.fluxcd.io/name", "kustomize.toolkit.fluxcd.io/namespace"} {
			if _, ok := live.Labels[key]; ok {
				e.t.Errorf("after %s, the label %q is there", manager.name, key)
			}
		}
	}
	e.leave()
}

// 11: that what was stored is migrated in any case on a minor upgrade is shown by the tests of migrations.
func order(e *env) {
	var steps []string
	for _, s := range instance.Kind(instance.Deps{}).Steps {
		if slices.Contains([]string{"fetch", "build", "apply", "wait", "prune", "migrate", "complete"}, s.Name) {
			steps = append(steps, s.Name)
		}
	}
	if diff := cmp.Diff([]string{"fetch", "build", "apply", "wait", "prune", "migrate", "complete"}, steps); diff != "" {
		e.t.Errorf("steps, -want +got\n%s", diff)
	}
	e.create("distribution: {version: 2.x, registry: ghcr.io/fluxcd}\ncomponents: [source-controller, helm-controller]\nwait: false\n")
	e.ready()
	e.change(func(obj *fluxv1.FluxInstance) {
		wait := true
		obj.Spec.Wait, obj.Spec.Components = &wait, []string{"source-controller"}
	})
	e.run("waiting", func(obj *fluxv1.FluxInstance) bool {
		c := engine.Condition(obj, "Reconciling")
		return c != nil && strings.HasPrefix(c.Message, "Waiting for Deployment/flux-system/source-controller")
	})
	if d := e.deployment("helm-controller"); d.DeletionTimestamp != nil {
		e.t.Error("what is not wanted is pruned before what is wanted works")
	}
	e.play()
	e.ready()
	account := &corev1.ServiceAccount{}
	if e.exists(account, "helm-controller") {
		e.t.Error("what is not wanted is still there")
	}
	e.leave()
}

// 12
func marks(e *env) {
	e.create(everyKind)
	obj := e.ready()
	for _, entry := range obj.Status.Inventory.Entries {
		ref, err := access.ParseInventory(entry)
		must(e.t, err)
		live, err := e.own.GetMeta(e.ctx, ref)
		must(e.t, err)
		if live.Annotations["kustomize.toolkit.fluxcd.io/ssa"] != "Ignore" || live.Annotations["kustomize.toolkit.fluxcd.io/prune"] != "Disabled" {
			e.t.Errorf("%s has the annotations %v", ref, live.Annotations)
		}
		if own := live.Annotations["fluxcd.controlplane.io/prune"] == "disabled"; own != (ref.Kind == "Namespace") {
			e.t.Errorf("%s is kept by an uninstallation: %t", ref, own)
		}
		for key, want := range map[string]string{
			"app.kubernetes.io/managed-by": "flux-operator", "app.kubernetes.io/instance": namespace, "app.kubernetes.io/part-of": "flux",
			"app.kubernetes.io/version": "v2.9.5", "fluxcd.controlplane.io/name": "flux", "fluxcd.controlplane.io/namespace": namespace,
		} {
			if live.Labels[key] != want {
				e.t.Errorf("%s has the label %s: %q, want %q", ref, key, live.Labels[key], want)
			}
		}
	}
	e.leave()
}

// 13: that it goes like that is shown by TestLife.
func uninstallation(e *env) {
	var steps []string
	for _, s := range instance.Kind(instance.Deps{}).Delete {
		steps = append(steps, s.Name)
	}
	if diff := cmp.Diff([]string{"keep", "stop", "release", "remove", "forget"}, steps); diff != "" {
		e.t.Errorf("steps, -want +got\n%s", diff)
	}
	workload := &corev1.ConfigMap{ObjectMeta: named("workload")}
	must(e.t, e.c.Create(e.ctx, workload))
	e.create(plain)
	obj := e.ready()
	e.leave()
	for _, entry := range obj.Status.Inventory.Entries {
		ref, err := access.ParseInventory(entry)
		must(e.t, err)
		live, err := e.own.GetMeta(e.ctx, ref)
		if there := err == nil && live.DeletionTimestamp == nil; there != (ref.Kind == "Namespace") {
			e.t.Errorf("%s is there: %t", ref, there)
		}
	}
	must(e.t, e.c.Delete(e.ctx, workload))
}
