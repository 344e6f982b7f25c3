package instance_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/config/crd"
	manifests "github.com/weir-dev/weir/config/distribution"
	operatormanifests "github.com/weir-dev/weir/config/operator"
	"github.com/weir-dev/weir/reconcilers/distribution"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/operator"
	"github.com/weir-dev/weir/test/registry"
)

// weir publishes an image of Weir, signed, and an artifact with it as the versions, and returns the reference of the image.
func (p *publisher) weir(tag string, versions ...string) string {
	p.t.Helper()
	img, err := mutate.AppendLayers(empty.Image, static.NewLayer([]byte(tag), types.OCILayer))
	must(p.t, err)
	image := p.s.Addr + "/weir:" + tag + "@" + p.push("weir", tag, img, true)
	content := map[string]string{}
	definitions, err := slim()
	must(p.t, err)
	for _, version := range versions {
		files, err := distribution.Files(distribution.Sources{
			Manifests: manifests.FS(), Definitions: definitions, Operator: operatormanifests.FS(), Version: version, Image: image,
		})
		must(p.t, err)
		for file, c := range files {
			content[file] = string(c)
		}
	}
	artifact, err := registry.Flux(content, map[string]string{"image": image})
	must(p.t, err)
	p.push("org/weir", "latest", artifact, true)
	return image
}

// fate is what becomes of the operator's pods that run an image.
type fate int

const (
	works fate = iota
	crashes
	hangs
)

// upgrades is an operator with a Deployment of its own, in a cluster whose kubelets are played.
type upgrades struct {
	*env
	p *publisher

	mu    sync.Mutex
	fates map[string]fate // by image
}

// kubelets play those of the cluster until the test ends: all pods work, but for some of the operator's.
func (u *upgrades) kubelets() {
	u.t.Helper()
	watch, err := u.c.Watch(u.ctx, &corev1.PodList{}, client.InNamespace(namespace))
	must(u.t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for event := range watch.ResultChan() {
			if pod, ok := event.Object.(*corev1.Pod); ok && pod.DeletionTimestamp == nil && pod.Status.Phase != corev1.PodRunning {
				u.tend(pod)
			}
		}
	}()
	u.t.Cleanup(func() { watch.Stop(); <-done })
}

func (u *upgrades) tend(pod *corev1.Pod) {
	u.mu.Lock()
	what := u.fates[pod.Spec.Containers[0].Image]
	u.mu.Unlock()
	before := pod.DeepCopy()
	switch {
	case what == works || pod.Labels["app.kubernetes.io/name"] != "flux-operator":
		pod.Status.Phase = corev1.PodRunning
		pod.Status.Conditions = []corev1.PodCondition{{ // long enough for minReadySeconds
			Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(time.Now().Add(-time.Hour)),
		}}
	case what == crashes:
		pod.Status.Phase = corev1.PodRunning
		ended := corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 2, Reason: "Error"}}
		pod.Status.ContainerStatuses = []corev1.ContainerStatus{{
			Name: "manager", RestartCount: 3, LastTerminationState: ended,
			State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}},
		}}
	default:
		return
	}
	_ = u.c.Status().Patch(u.ctx, pod, client.MergeFrom(before)) // gone, or the next event tries again
}

func (u *upgrades) fate(image string, f fate) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.fates[image] = f
}

// install creates what the manifest of the operator has, without the definitions, and starts the process in its pod.
func (u *upgrades) install(image string) {
	u.t.Helper()
	content, err := distribution.Install(operatormanifests.FS(), crd.FS(), image)
	must(u.t, err)
	for doc := range strings.SplitSeq(string(content), "---\n") {
		d := &appsv1.Deployment{}
		if strings.Contains(doc, "kind: Deployment\n") {
			must(u.t, yaml.Unmarshal([]byte(doc), d))
			must(u.t, u.c.Create(u.ctx, d))
			u.t.Cleanup(func() {
				_ = u.c.Delete(context.Background(), d, client.PropagationPolicy(metav1.DeletePropagationBackground))
			})
		}
	}
	account := &corev1.ServiceAccount{ObjectMeta: named("flux-operator")}
	if err := u.c.Create(u.ctx, account); !apierrors.IsAlreadyExists(err) {
		must(u.t, err)
	}
	u.become(image)
}

// become starts the process anew, in the pod with the image.
func (u *upgrades) become(image string) {
	u.t.Helper()
	u.image = image
	u.operator = operator.New(operator.Options{Client: u.own, Namespace: namespace, Pod: u.pod(image).Name, Image: image})
	u.restart()
}

// pod waits for the operator's pod with the image.
func (u *upgrades) pod(image string) (found *corev1.Pod) {
	u.t.Helper()
	u.eventually("there is a pod of "+image, func() error {
		pods := &corev1.PodList{}
		must(u.t, u.c.List(u.ctx, pods, client.InNamespace(namespace), client.MatchingLabels{"app.kubernetes.io/name": "flux-operator"}))
		for i := range pods.Items {
			if pods.Items[i].Spec.Containers[0].Image == image && pods.Items[i].DeletionTimestamp == nil {
				found = &pods.Items[i]
				return nil
			}
		}
		return apierrors.NewNotFound(corev1.Resource("pods"), image)
	})
	return found
}

// runs checks what the Deployment is to run.
func (u *upgrades) runs(why, image string) {
	u.t.Helper()
	c := u.deployment("flux-operator").Spec.Template.Spec.Containers[0]
	if c.Image != image || c.Args[0] != "--image="+image {
		u.t.Errorf("%s: the operator is to run %q, and to deploy %q, want %q", why, c.Image, c.Args[0], image)
	}
}

// publish publishes a version, and lets the operator look for it.
func (u *upgrades) publish(tag string, versions ...string) string {
	u.t.Helper()
	image := u.p.weir(tag, versions...)
	u.clock.advance(artifactInterval)
	return image
}

func (u *upgrades) until(reason string) *fluxv1.FluxInstance {
	u.t.Helper()
	return u.run(reason, func(obj *fluxv1.FluxInstance) bool {
		c := engine.Condition(obj, fluxv1.OperatorUpToDateCondition)
		return c != nil && c.Reason == reason
	})
}

// TestSelfUpgrade takes an operator through the releases that it follows.
func TestSelfUpgrade(t *testing.T) {
	u := &upgrades{env: start(t), p: newPublisher(t), fates: map[string]fate{}}
	u.kubelets()
	must(t, u.c.Create(u.ctx, &corev1.Secret{ObjectMeta: named("cosign-self"), Data: map[string][]byte{"cosign.pub": u.p.key.Public}}))
	first := u.p.weir("v1", "v2.9.5")
	u.install(first)
	u.create(`
distribution:
  version: 2.x
  registry: ` + u.p.s.Addr + `
  artifact: oci://` + u.p.s.Addr + `/org/weir:latest
  verify: {secretRef: {name: cosign-self}}
`)
	obj := u.ready()
	expect(t, obj, "OperatorUpToDate", metav1.ConditionTrue, "OperatorUpToDate", "The operator runs "+first)
	if diff := cmp.Diff(&fluxv1.OperatorStatus{Image: first, ManagedBy: "Weir"}, obj.Status.Operator); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
	if told := u.told("Operator"); told != nil {
		t.Errorf("nothing happened, and told was %q", told)
	}

	second := u.upgrade(first)
	third := u.crash(second)
	u.hang(second, third)
	u.managed(second)
	u.outdated(second)
	u.outside()

	u.operator = nil
	u.restart()
	u.leave()
}

// upgrade: the components first, then the operator, whatever becomes of the processes meanwhile; the new one has nothing left to do.
func (u *upgrades) upgrade(from string) string {
	if u.defined() {
		u.t.Fatal("the definition that the new operator needs is there before")
	}
	to := u.publish("v2", "v2.9.6")
	u.fate(to, hangs)
	obj := u.until("OperatorUpgrading")
	u.runs("an upgrade", to)
	if !strings.HasPrefix(obj.Status.LastAppliedRevision, "v2.9.6@") {
		u.t.Errorf("the operator goes before the components: %s", obj.Status.LastAppliedRevision)
	}
	expect(u.t, obj, "Ready", metav1.ConditionUnknown, "Progressing", "Reconciliation in progress")
	if s := obj.Status.Operator; s.Image != from || s.Available != to || s.StartedAt == nil {
		u.t.Errorf("status of an upgrade: %+v", s)
	}
	if !u.defined() {
		u.t.Error("the new operator comes without the definitions that it needs")
	}
	started := obj.Status.Operator.StartedAt

	// The old operator is killed: it begins where it was.
	u.become(from)
	u.clock.advance(time.Minute)
	u.once()
	if s := u.instance().Status.Operator; s.StartedAt == nil || !s.StartedAt.Equal(started) || s.Available != to {
		u.t.Errorf("after a restart: %+v", s)
	}
	u.told("")

	// The new one comes up, and takes the lease.
	u.fate(to, works)
	u.tend(u.pod(to))
	before := u.generations()
	u.become(to)
	done := u.ready()
	expect(u.t, done, "OperatorUpToDate", metav1.ConditionTrue, "OperatorUpToDate", "The operator runs "+to)
	if diff := cmp.Diff(&fluxv1.OperatorStatus{Image: to, ManagedBy: "Weir"}, done.Status.Operator); diff != "" {
		u.t.Errorf("status (-want +got):\n%s", diff)
	}
	if done.Status.LastAppliedRevision != obj.Status.LastAppliedRevision {
		u.t.Errorf("the new operator makes %s of what was %s", done.Status.LastAppliedRevision, obj.Status.LastAppliedRevision)
	}
	if diff := cmp.Diff(before, u.generations()); diff != "" {
		u.t.Errorf("the new operator changes the components:\n%s", diff)
	}
	if diff := cmp.Diff([]string{"OperatorUpToDate The operator runs " + to}, u.told("")); diff != "" {
		u.t.Errorf("told (-want +got):\n%s", diff)
	}
	return to
}

// defined tells whether there is the definition of FluxReport, which an operator brings for the one that follows.
func (u *upgrades) defined() bool {
	return u.exists(&apiextensionsv1.CustomResourceDefinition{}, "fluxreports.fluxcd.controlplane.io")
}

// generations are those of the components' Deployments.
func (u *upgrades) generations() map[string]int64 {
	u.t.Helper()
	list := &appsv1.DeploymentList{}
	must(u.t, u.c.List(u.ctx, list, client.InNamespace(namespace), client.MatchingLabels{"app.kubernetes.io/part-of": "flux"}))
	all := map[string]int64{}
	for _, d := range list.Items {
		all[d.Name] = d.Generation
	}
	return all
}

// crash: an operator that ends again and again is taken back by the old one, and not tried again.
func (u *upgrades) crash(from string) string {
	to := u.p.s.Addr + "/weir:v3@" // known by its tag until it is published
	image := u.p.weir("v3", "v2.9.7")
	if !strings.HasPrefix(image, to) {
		u.t.Fatal(image)
	}
	u.fate(image, crashes)
	u.clock.advance(artifactInterval)
	u.until("OperatorUpgradeFailed")
	obj := u.ready()
	u.runs("after a crash", from)
	c := engine.Condition(obj, "OperatorUpToDate")
	if c.Status != metav1.ConditionFalse || !strings.HasPrefix(c.Message, "Upgrade of the operator to "+image+" failed: Deployment/flux-system/flux-operator: pod ") ||
		!strings.HasSuffix(c.Message, "keeps ending, last with exit code 2 (Error); "+from+" goes on") {
		u.t.Errorf("OperatorUpToDate is %+v", c)
	}
	if s := obj.Status.Operator; s.Image != from || s.Failed != image || s.Available != image || s.StartedAt != nil {
		u.t.Errorf("status of a failure: %+v", s)
	}
	if !strings.HasPrefix(obj.Status.LastAppliedRevision, "v2.9.7@") {
		u.t.Errorf("the components went back too: %s", obj.Status.LastAppliedRevision)
	}
	if told := u.told("OperatorUpgradeFailed "); len(told) != 1 {
		u.t.Errorf("told was %q", told)
	}
	u.become(from)
	u.ready()
	u.runs("the same image again", from)
	if told := u.told("Operator"); told != nil {
		u.t.Errorf("told again was %q", told)
	}
	return image
}

// hang: a request tries it again. An operator that does not come up in time is taken back as well; with spec.upgrade.rollback false, it is
// left for people to look at.
func (u *upgrades) hang(from, to string) {
	u.fate(to, hangs)
	u.change(func(obj *fluxv1.FluxInstance) {
		obj.Annotations = map[string]string{meta.ReconcileRequestAnnotation: "again"}
	})
	u.until("OperatorUpgrading")
	u.runs("a request", to)
	u.clock.advance(3 * time.Minute)
	u.until("OperatorUpgrading")

	// What was begun is brought to its end by an operator that was killed, and no longer trusts the release.
	secret := &corev1.Secret{ObjectMeta: named("cosign-self")}
	must(u.t, u.c.Delete(u.ctx, secret))
	u.become(from)
	u.once()
	u.clock.advance(3 * time.Minute) // of the time before it believes half of what is given
	u.until("OperatorUpgradeFailed")
	obj := u.run("refused", func(obj *fluxv1.FluxInstance) bool {
		c := engine.Condition(obj, "Ready")
		return c != nil && c.Reason == fluxv1.VerificationErrorReason
	})
	u.runs("after the time was up", from)
	secret = &corev1.Secret{ObjectMeta: named("cosign-self"), Data: map[string][]byte{"cosign.pub": u.p.key.Public}}
	must(u.t, u.c.Create(u.ctx, secret))
	u.ready()
	u.runs("trusted again", from)
	for _, part := range []string{
		"Upgrade of the operator to " + to + " failed: it did not come up within 5m0s: Deployment/flux-system/flux-operator: pod ",
		" is not scheduled: no nodes available to schedule pods; " + from + " goes on",
	} {
		expect(u.t, obj, "OperatorUpToDate", metav1.ConditionFalse, "OperatorUpgradeFailed", part)
	}

	no := false
	u.change(func(obj *fluxv1.FluxInstance) { obj.Spec.Upgrade = &fluxv1.Upgrade{Rollback: &no} })
	u.until("OperatorUpgrading")
	u.clock.advance(6 * time.Minute)
	u.until("OperatorUpgradeFailed")
	obj = u.ready()
	u.runs("without rollback", to)
	expect(u.t, obj, "OperatorUpToDate", metav1.ConditionFalse, "OperatorUpgradeFailed",
		"; not put back: spec.upgrade.rollback is false")
	u.change(func(obj *fluxv1.FluxInstance) { obj.Spec.Upgrade = nil })
	u.until("OperatorUpgrading")
	u.clock.advance(6 * time.Minute)
	u.until("OperatorUpgradeFailed")
	u.ready()
	u.runs("with rollback", from)
	u.told("")
}

// outdated: a version that this operator cannot run is told of, and so is what to do.
func (u *upgrades) outdated(from string) {
	if image := u.publish("v2", "v2.9.10", "v2.10.0"); image != from {
		u.t.Fatalf("the same image is now %q, was %q", image, from)
	}
	u.until("OperatorOutdated")
	obj := u.ready()
	expect(u.t, obj, "OperatorUpToDate", metav1.ConditionFalse, "OperatorOutdated",
		"/org/weir:latest holds Flux v2.10.0, which this operator cannot run: install the operator of that version")
	if !strings.HasPrefix(obj.Status.LastAppliedRevision, "v2.9.10@") {
		u.t.Errorf("what this operator can run was not applied: %s", obj.Status.LastAppliedRevision)
	}
	u.once()
	var told []string
	for _, e := range u.told("O") {
		told = append(told, strings.Fields(e)[0])
	}
	if diff := cmp.Diff([]string{"OperatorOutdated", "OutdatedVersion"}, told); diff != "" {
		u.t.Errorf("told (-want +got):\n%s", diff)
	}
}

// managed: what is somebody else's is left alone, and told of once.
func (u *upgrades) managed(from string) {
	label := func(key, value string) {
		u.patch(&appsv1.Deployment{ObjectMeta: named("flux-operator")}, `{"metadata":{"labels":{"`+key+`":`+value+`}}}`)
	}
	for _, tc := range []struct{ tag, key, value, by string }{
		{"v4", "app.kubernetes.io/managed-by", "Helm", "Helm"},
		{"v5", "olm.owner", "flux-operator.v1", "OLM"},
	} {
		label(tc.key, `"`+tc.value+`"`)
		image := u.publish(tc.tag, "v2.9.8")
		u.run("upgraded", func(obj *fluxv1.FluxInstance) bool {
			return isTrue(obj, "Ready") && obj.Status.Operator.Available == image
		})
		u.once()
		obj := u.ready()
		u.runs(tc.by, from)
		expect(u.t, obj, "OperatorUpToDate", metav1.ConditionFalse, "OperatorUpgradeAvailable",
			"The operator image "+image+" is available, Deployment/flux-system/flux-operator is managed by "+tc.by)
		if diff := cmp.Diff(&fluxv1.OperatorStatus{Image: from, Available: image, ManagedBy: tc.by}, obj.Status.Operator); diff != "" {
			u.t.Errorf("%s: status (-want +got):\n%s", tc.by, diff)
		}
		if told := u.told("Operator"); len(told) != 1 {
			u.t.Errorf("%s: told was %q", tc.by, told)
		}
		label(tc.key, "null")
		u.change(func(obj *fluxv1.FluxInstance) { obj.Spec.Upgrade = &fluxv1.Upgrade{Operator: fluxv1.OperatorReports} })
		obj = u.ready()
		u.runs("only told of", from)
		expect(u.t, obj, "OperatorUpToDate", metav1.ConditionFalse, "OperatorUpgradeAvailable",
			"The operator image "+image+" is available, spec.upgrade.operator is Report")
		u.told("")
	}
}

// outside: a process that no Deployment runs says so once.
func (u *upgrades) outside() {
	u.operator = operator.New(operator.Options{Client: u.own, Namespace: namespace, Pod: "laptop", Image: u.image})
	u.restart()
	u.ready()
	u.once()
	obj := u.ready()
	expect(u.t, obj, "OperatorUpToDate", metav1.ConditionUnknown, "OperatorNotDeployed",
		"The operator does not follow releases, for it sees no Deployment that runs it: there is no Pod/flux-system/laptop")
	if told := u.told("Operator"); len(told) != 1 {
		u.t.Errorf("told was %q", told)
	}
	if obj.Status.Operator != nil {
		u.t.Errorf("status of no operator: %+v", obj.Status.Operator)
	}
}
