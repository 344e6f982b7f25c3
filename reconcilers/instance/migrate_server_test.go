package instance_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/test/registry"
)

// buckets is the definition whose versions change from release to release.
const buckets = "buckets.source.toolkit.fluxcd.io"

// shop publishes releases that nobody signs.
type shop struct {
	t *testing.T
	s *registry.Server
}

func newShop(t *testing.T) *shop {
	t.Helper()
	s, err := registry.Serve(t.Context(), registry.Options{})
	must(t, err)
	t.Cleanup(s.Close)
	return &shop{t: t, s: s}
}

// publish puts a release under the tag latest, with these versions of the definition: "v1*" is the storage version.
func (p *shop) publish(version string, versions ...string) {
	p.t.Helper()
	files := upstreamFiles(p.t, version)
	file := "flux/" + version + "/source-controller.yaml"
	docs := strings.Split(files[file], "---\n")
	for i, doc := range docs {
		if strings.Contains(doc, "\n  name: "+buckets+"\n") {
			docs[i] = p.versioned(doc, versions)
		}
	}
	files[file] = strings.Join(docs, "---\n")
	img, err := registry.Flux(files, nil)
	must(p.t, err)
	_, err = p.s.Push(p.t.Context(), "org/dist", "latest", img)
	must(p.t, err)
}

// versioned gives a definition other versions, with the schema of its last one.
func (p *shop) versioned(doc string, versions []string) string {
	p.t.Helper()
	d := &apiextensionsv1.CustomResourceDefinition{}
	must(p.t, yaml.Unmarshal([]byte(doc), d))
	model := d.Spec.Versions[len(d.Spec.Versions)-1]
	d.Spec.Versions = nil
	for _, name := range versions {
		v := *model.DeepCopy()
		v.Name, v.Storage, v.Served = strings.TrimSuffix(name, "*"), strings.HasSuffix(name, "*"), true
		v.Deprecated, v.DeprecationWarning = false, nil
		d.Spec.Versions = append(d.Spec.Versions, v)
	}
	content, err := yaml.Marshal(d)
	must(p.t, err)
	return string(content)
}

func (p *shop) spec(more string) string {
	return `
distribution: {version: 2.x, registry: ` + p.s.Addr + `, variant: upstream-alpine, artifact: "oci://` + p.s.Addr + `/org/dist:latest"}
components: [source-controller]
wait: false
` + more
}

// bucket applies one as the manager, in the version.
func (e *env) bucket(manager, version, name, endpoint string) error {
	ref := access.Ref{ID: access.ID{Group: "source.toolkit.fluxcd.io", Kind: "Bucket", Namespace: "default", Name: name}, Version: version}
	body := fmt.Sprintf(`{"apiVersion":"source.toolkit.fluxcd.io/%s","kind":"Bucket","metadata":{"name":%q,"namespace":"default"},`+
		`"spec":{"interval":"1m","bucketName":"b","endpoint":%q}}`, version, name, endpoint)
	_, err := e.own.Apply(e.ctx, ref, []byte(body), access.ApplyOptions{Manager: manager, Force: true})
	return err
}

// stored are the versions that the definition says to be stored.
func (e *env) stored() []string {
	e.t.Helper()
	d := &apiextensionsv1.CustomResourceDefinition{}
	must(e.t, e.c.Get(e.ctx, types.NamespacedName{Name: buckets}, d))
	return d.Status.StoredVersions
}

// versions are those of the definition.
func (e *env) versions() []string {
	e.t.Helper()
	d := &apiextensionsv1.CustomResourceDefinition{}
	must(e.t, e.c.Get(e.ctx, types.NamespacedName{Name: buckets}, d))
	var names []string
	for _, v := range d.Spec.Versions {
		names = append(names, v.Name)
	}
	return names
}

// at runs until the instance is ready at the version.
func (e *env) at(version string) *fluxv1.FluxInstance {
	e.t.Helper()
	return e.run("ready at "+version, func(obj *fluxv1.FluxInstance) bool {
		return isTrue(obj, "Ready") && strings.HasPrefix(obj.Status.LastAppliedRevision, version+"@")
	})
}

// TestStoredVersions takes the objects of users through releases that first store them in a new version and then drop the old one.
func TestStoredVersions(t *testing.T) {
	p, e := newShop(t), start(t)
	p.publish("v2.9.5", "v1beta3*", "v1")
	e.create(p.spec(""))
	e.at("v2.9.5")
	must(t, e.bucket("fleet", "v1beta3", "theirs", "one.example.com"))

	// The definition cannot be replaced by one that never stored what this one does.
	p.publish("v2.9.6", "v1*")
	e.clock.advance(artifactInterval)
	obj := e.run("refused", func(obj *fluxv1.FluxInstance) bool { return isTrue(obj, "Stalled") })
	const refusal = `the objects of "buckets.source.toolkit.fluxcd.io" are stored in version v1beta3, which the new definition, with v1, ` +
		`does not have: go by way of a release that has both`
	expect(t, obj, "Ready", metav1.ConditionFalse, meta.ReconciliationFailedReason, refusal)
	expect(t, obj, fluxv1.UpgradedCondition, metav1.ConditionFalse, fluxv1.UpgradeFailedReason, refusal)
	if diff := cmp.Diff([]string{"v1beta3", "v1"}, e.versions()); diff != "" || !strings.HasPrefix(obj.Status.LastAppliedRevision, "v2.9.5@") {
		t.Errorf("what is refused is applied: %s (-want +got):\n%s", obj.Status.LastAppliedRevision, diff)
	}

	// One by way of which they go.
	p.publish("v2.9.7", "v1beta3", "v1*")
	e.told("")
	e.clock.advance(artifactInterval)
	e.at("v2.9.7")
	if diff := cmp.Diff([]string{"v1"}, e.stored()); diff != "" {
		t.Errorf("stored versions (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"Migrated All 1 objects of buckets.source.toolkit.fluxcd.io are stored in version v1"}, e.told("Migrated ")); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}

	// Then the old version goes, and whoever applied in it goes on.
	p.publish("v2.9.8", "v1*")
	e.clock.advance(artifactInterval)
	e.at("v2.9.8")
	if diff := cmp.Diff([]string{"v1"}, e.versions()); diff != "" {
		t.Errorf("versions (-want +got):\n%s", diff)
	}
	e.eventually("the manager of the object applies", func() error { return e.bucket("fleet", "v1", "theirs", "two.example.com") })

	// The release before stored what is stored now; the first one did not.
	p.publish("v2.9.9", "v1beta3*")
	e.clock.advance(artifactInterval)
	obj = e.run("refused", func(obj *fluxv1.FluxInstance) bool { return isTrue(obj, "Stalled") })
	expect(t, obj, "Ready", metav1.ConditionFalse, meta.ReconciliationFailedReason,
		`are stored in version v1, which the new definition, with v1beta3, does not have`)
	e.leave()
}

// TestMigrationFails has a policy keep an object from being migrated: the upgrade is good, says what is left to do, and the next one waits for
// it.
func TestMigrationFails(t *testing.T) {
	p, e := newShop(t), start(t)
	p.publish("v2.9.5", "v1beta3*", "v1")
	e.create(p.spec(""))
	e.at("v2.9.5")
	must(t, e.bucket("fleet", "v1beta3", "bad", "one.example.com"))
	must(t, e.bucket("fleet", "v1beta3", "good", "one.example.com"))
	lift := e.deny("source.toolkit.fluxcd.io", "buckets", "bad", func() error { return e.bucket("fleet", "v1beta3", "bad", "two.example.com") })

	p.publish("v2.9.6", "v1beta3", "v1*")
	e.told("")
	e.clock.advance(artifactInterval)
	obj := e.at("v2.9.6")
	const failure = `migrate: 1 object of "buckets.source.toolkit.fluxcd.io" could not be migrated: Bucket/default/bad: `
	expect(t, obj, fluxv1.MigrationFailedCondition, metav1.ConditionTrue, fluxv1.MigrationFailedReason, failure)
	expect(t, obj, fluxv1.UpgradedCondition, metav1.ConditionTrue, fluxv1.UpgradeSucceededReason, failure)
	if told := e.told("MigrationFailed "); len(told) != 1 || !strings.Contains(told[0], "not this one") {
		t.Errorf("events %q", told)
	}
	e.once()
	if after := e.once(); after <= 0 || after > 6*time.Minute || len(e.told("MigrationFailed ")) > 0 {
		t.Errorf("it is tried again in %s, and told of again with each run", after)
	}

	p.publish("v2.9.7", "v1*")
	e.clock.advance(artifactInterval)
	e.restart()
	obj = e.run("waiting for the migration", func(obj *fluxv1.FluxInstance) bool { return !isTrue(obj, "Ready") })
	expect(t, obj, "Ready", metav1.ConditionFalse, meta.ReconciliationFailedReason, "reconciliation failed: "+failure)
	if diff := cmp.Diff([]string{"v1beta3", "v1"}, e.versions()); diff != "" {
		t.Errorf("versions (-want +got):\n%s", diff)
	}

	lift()
	obj = e.at("v2.9.7")
	if diff := cmp.Diff([]string{"v1"}, e.versions()); diff != "" || isTrue(obj, fluxv1.MigrationFailedCondition) {
		t.Errorf("status %+v, versions (-want +got):\n%s", obj.Status.Conditions, diff)
	}
	e.leave()
}

// TestMigrationHeld tries a migration that failed again while the next release waits for its time.
func TestMigrationHeld(t *testing.T) {
	p, e := newShop(t), start(t)
	p.publish("v2.9.5", "v1beta3*", "v1")
	e.create(p.spec("upgrade: {windows: [{schedule: '0 0 29 2 *', duration: 1m}]}\n"))
	e.at("v2.9.5")
	must(t, e.bucket("fleet", "v1beta3", "bad", "one.example.com"))
	lift := e.deny("source.toolkit.fluxcd.io", "buckets", "bad", func() error { return e.bucket("fleet", "v1beta3", "bad", "two.example.com") })
	p.publish("v2.9.6", "v1beta3", "v1*")
	e.clock.advance(artifactInterval)
	e.change(func(obj *fluxv1.FluxInstance) {
		metav1.SetMetaDataAnnotation(&obj.ObjectMeta, meta.ReconcileRequestAnnotation, "now")
		metav1.SetMetaDataAnnotation(&obj.ObjectMeta, meta.ForceRequestAnnotation, "now")
	})
	if obj := e.at("v2.9.6"); !isTrue(obj, fluxv1.MigrationFailedCondition) {
		t.Fatalf("conditions %+v", obj.Status.Conditions)
	}

	p.publish("v2.9.7", "v1*")
	e.clock.advance(artifactInterval)
	obj := e.run("waiting for its time", func(obj *fluxv1.FluxInstance) bool {
		c := engine.Condition(obj, fluxv1.UpgradedCondition)
		return c != nil && c.Reason == fluxv1.UpgradeWindowReason
	})
	if !isTrue(obj, fluxv1.MigrationFailedCondition) {
		t.Errorf("conditions %+v", obj.Status.Conditions)
	}
	lift()
	e.clock.advance(6 * time.Minute)
	obj = e.run("migrated", func(obj *fluxv1.FluxInstance) bool { return !isTrue(obj, fluxv1.MigrationFailedCondition) })
	if diff := cmp.Diff([]string{"v1"}, e.stored()); diff != "" || !strings.HasPrefix(obj.Status.LastAppliedRevision, "v2.9.6@") {
		t.Errorf("at %s, stored versions (-want +got):\n%s", obj.Status.LastAppliedRevision, diff)
	}

	// One that cannot be applied anyway does not have to wait to be refused.
	p.publish("v2.9.8", "v1beta3*")
	e.clock.advance(artifactInterval)
	obj = e.run("refused", func(obj *fluxv1.FluxInstance) bool { return isTrue(obj, "Stalled") })
	expect(t, obj, "Ready", metav1.ConditionFalse, meta.ReconciliationFailedReason, "which the new definition, with v1beta3, does not have")
	e.leave()
}

// TestMigrationInShares migrates more than one run does: between the runs, what is deployed is looked after.
func TestMigrationInShares(t *testing.T) {
	const many = 600
	p, e := newShop(t), start(t)
	e.share = 1 // and the rest of its page
	e.restart()
	p.publish("v2.9.5", "v1beta3*", "v1")
	e.create(p.spec(""))
	e.at("v2.9.5")
	var wg sync.WaitGroup
	for worker := range 6 {
		wg.Go(func() {
			for i := range many / 6 {
				if err := e.bucket("fleet", "v1beta3", fmt.Sprintf("b%d-%d", worker, i), "one.example.com"); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	shared := func(obj *fluxv1.FluxInstance) bool {
		c := engine.Condition(obj, meta.ReconcilingCondition)
		return c != nil && c.Message == "Migrating the objects of "+buckets+": 500 so far"
	}
	repaired := func(why string, then func(*fluxv1.FluxInstance) bool) {
		t.Helper()
		e.calm()
		must(t, e.c.Delete(e.ctx, &corev1.Service{ObjectMeta: named("source-controller")}))
		e.awaken("a Service is gone")
		e.run(why, func(obj *fluxv1.FluxInstance) bool {
			return e.exists(&corev1.Service{}, "source-controller") && then(obj)
		})
	}

	// After the upgrade.
	p.publish("v2.9.6", "v1beta3", "v1*")
	e.clock.advance(artifactInterval)
	e.told("")
	e.run("under way", shared)
	if diff := cmp.Diff([]string{"v1beta3", "v1"}, e.stored()); diff != "" {
		t.Errorf("stored versions (-want +got):\n%s", diff)
	}
	repaired("repaired and migrated", func(*fluxv1.FluxInstance) bool { return len(e.stored()) == 1 })
	e.at("v2.9.6")
	told := e.told("Migrated ")
	if want := "Migrated All 600 objects of " + buckets + " are stored in version v1"; len(told) != 1 || told[0] != want {
		t.Errorf("told was %q, want %q", told, want)
	}

	// Before the upgrade, for the definition that comes needs it.
	e.change(func(obj *fluxv1.FluxInstance) { obj.Spec.MigrateResources = new(false) })
	p.publish("v2.9.8", "v1beta3", "v1", "v2*")
	e.clock.advance(artifactInterval)
	e.at("v2.9.8")
	e.change(func(obj *fluxv1.FluxInstance) { obj.Spec.MigrateResources = nil })
	p.publish("v2.9.9", "v2*")
	e.restart()
	e.run("under way", shared)
	repaired("repaired and upgraded", func(obj *fluxv1.FluxInstance) bool {
		return strings.HasPrefix(obj.Status.LastAppliedRevision, "v2.9.9@") && len(e.versions()) == 1
	})
	e.leave()
}

// TestMigrateNothing lets the user keep what is stored as it is. A release that could not read it is refused.
func TestMigrateNothing(t *testing.T) {
	p, e := newShop(t), start(t)
	p.publish("v2.9.5", "v1beta3*", "v1")
	e.create(p.spec("migrateResources: false\n"))
	e.at("v2.9.5")
	must(t, e.bucket("fleet", "v1beta3", "theirs", "one.example.com"))
	p.publish("v2.9.6", "v1beta3", "v1*")
	e.clock.advance(artifactInterval)
	e.at("v2.9.6")
	if diff := cmp.Diff([]string{"v1beta3", "v1"}, e.stored()); diff != "" {
		t.Errorf("stored versions (-want +got):\n%s", diff)
	}
	p.publish("v2.9.7", "v1*")
	e.clock.advance(artifactInterval)
	obj := e.run("refused", func(obj *fluxv1.FluxInstance) bool { return isTrue(obj, "Stalled") })
	expect(t, obj, "Ready", metav1.ConditionFalse, meta.ReconciliationFailedReason,
		`objects of "buckets.source.toolkit.fluxcd.io" may be stored in versions v1beta3, v1, not all of which the new definition has, and spec.migrateResources is false`)

	e.change(func(obj *fluxv1.FluxInstance) { obj.Spec.MigrateResources = nil })
	e.at("v2.9.7")
	e.leave()
}

// TestForcedMigration repairs what was left behind by somebody who did not migrate it, when it is asked for.
func TestForcedMigration(t *testing.T) {
	p, e := newShop(t), start(t)
	p.publish("v2.9.5", "v1beta3", "v1*")
	e.create(p.spec("migrateResources: false\n"))
	e.at("v2.9.5")
	must(t, e.bucket("fleet", "v1beta3", "theirs", "one.example.com"))
	p.publish("v2.9.6", "v1*")
	e.clock.advance(artifactInterval)
	e.at("v2.9.6")
	e.eventually("the version is gone", func() error {
		if err := e.bucket("fleet", "v1", "theirs", "two.example.com"); err == nil || !strings.Contains(err.Error(), "invalid group/version") {
			return fmt.Errorf("the manager applies: %w", err)
		}
		return nil
	})
	e.change(func(obj *fluxv1.FluxInstance) { obj.Spec.MigrateResources = nil })
	e.ready()
	e.change(func(obj *fluxv1.FluxInstance) {
		metav1.SetMetaDataAnnotation(&obj.ObjectMeta, meta.ReconcileRequestAnnotation, "now")
		metav1.SetMetaDataAnnotation(&obj.ObjectMeta, meta.ForceRequestAnnotation, "now")
	})
	e.run("forced", func(obj *fluxv1.FluxInstance) bool { return obj.Status.LastHandledForceAt == "now" })
	must(t, e.bucket("fleet", "v1", "theirs", "two.example.com"))
	e.leave()
}

// TestNewerDefinition fails with a release that has stored objects in a version that the one before does not have: the definition stays newer
// when that comes back, and when it is what is asked for, whatever is to be pruned.
func TestNewerDefinition(t *testing.T) {
	p, e := newShop(t), start(t)
	k := e.kubelet()
	p.publish("v2.9.5", "v1*")
	e.create(strings.Replace(p.spec("prune: {definitions: true}\n"), "wait: false\n", "", 1))
	e.at("v2.9.5")
	must(t, e.bucket("fleet", "v1", "theirs", "one.example.com"))
	k.set("v2.9.6", crashing)
	p.publish("v2.9.6", "v1", "v2*")
	e.clock.advance(artifactInterval)
	obj := e.hurry("rolled back", rolledBack)
	newer := func(why string, obj *fluxv1.FluxInstance) {
		t.Helper()
		if diff := cmp.Diff([]string{"v1", "v2"}, e.versions()); diff != "" || !has(obj, "_"+buckets+"_apiextensions.k8s.io_CustomResourceDefinition") {
			t.Errorf("%s: versions (-want +got):\n%s\ninventory %+v", why, diff, obj.Status.Inventory)
		}
		image := e.deployment("source-controller").Spec.Template.Spec.Containers[0].Image
		if d := e.definition(buckets); d.DeletionTimestamp != nil || !strings.Contains(image, ":v2.9.5") {
			t.Errorf("%s: %s runs, the definition is deleted at %v", why, image, d.DeletionTimestamp)
		}
	}
	newer("rolled back", obj)

	e.change(func(obj *fluxv1.FluxInstance) { obj.Spec.Distribution.Version = "2.9.5" })
	p.publish("v2.9.5", "v1*")
	e.clock.advance(artifactInterval)
	newer("asked for", e.ready())
	for range 2 {
		e.restart()
		e.patch(e.deployment("source-controller"), `{"spec":{"replicas":0}}`)
		obj = e.run("repaired", func(obj *fluxv1.FluxInstance) bool {
			return isTrue(obj, "Ready") && *e.deployment("source-controller").Spec.Replicas == 1
		})
		newer("repaired", obj)
	}
	must(t, e.bucket("fleet", "v1", "theirs", "two.example.com"))

	// The next one has both, and the definition is its own again.
	e.change(func(obj *fluxv1.FluxInstance) { obj.Spec.Distribution.Version = "2.x" })
	p.publish("v2.9.7", "v2*")
	e.clock.advance(artifactInterval)
	e.at("v2.9.7")
	if diff := cmp.Diff([]string{"v2"}, e.versions()); diff != "" {
		t.Errorf("versions (-want +got):\n%s", diff)
	}
	e.leave()
}

// deny refuses updates of objects of the name, from when on the attempt fails, and returns what lifts that.
func (e *env) deny(group, resource, name string, attempt func() error) (lift func()) {
	e.t.Helper()
	id := "deny-" + resource
	policy := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy", "metadata": map[string]any{"name": id},
		"spec": map[string]any{
			"matchConstraints": map[string]any{"resourceRules": []any{map[string]any{
				"apiGroups": []any{group}, "apiVersions": []any{"*"}, "operations": []any{"UPDATE"}, "resources": []any{resource},
			}}},
			"validations": []any{map[string]any{"expression": fmt.Sprintf("object.metadata.name != %q", name), "message": "not this one"}},
		},
	}}
	binding := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding", "metadata": map[string]any{"name": id},
		"spec": map[string]any{"policyName": id, "validationActions": []any{"Deny"}},
	}}
	for _, obj := range []client.Object{policy, binding} {
		must(e.t, e.c.Create(e.ctx, obj))
		e.t.Cleanup(func() { _ = e.c.Delete(context.Background(), obj) })
	}
	e.eventually("the policy takes effect", func() error {
		if attempt() == nil {
			return errors.New("it admits")
		}
		return nil
	})
	return func() {
		e.t.Helper()
		for _, obj := range []client.Object{binding, policy} {
			must(e.t, e.c.Delete(e.ctx, obj))
		}
		e.eventually("the policy is lifted", attempt)
	}
}
