package e2e

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/test/e2e/platform"
)

// armadaSize is how many Kustomizations deliver while an instance is upgraded.
const armadaSize = 200

// upgrade is an instance that follows a distribution artifact, and an armada that it delivers all the while.
type upgrade struct {
	*run

	fleet    *armada
	releases map[string]platform.Release // by tag
	url      string                      // of the artifact, without scheme
}

// TestUpgrade brings instances from one release to the next while they deliver, in both topologies: a good one; one whose components
// cannot start, from which they come back by themselves; and the one that mends it.
func TestUpgrade(t *testing.T) {
	s := newStage(t)

	for _, topology := range []string{fluxv1.TopologyDistributed, fluxv1.TopologyUnified} {
		ok := t.Run(topology, func(t *testing.T) {
			u := newUpgrade(t, s, topology)

			u.publish(t, "v2.9.5", "a", nil)
			u.create(t)
			u.view = s.view(t)
			u.awaitRelease(t, "v2.9.5", "a")
			u.fleet.launch(t, u.view)

			u.toNext(t)

			if topology == fluxv1.TopologyDistributed { // once is enough: a container that keeps ending takes its time
				u.toBroken(t)
				u.toMended(t)
			}

			u.withdraw(t)
			u.fleet.scuttle(t)
		})
		if !ok {
			return // what is left would make the other fail too
		}
	}
}

func newUpgrade(t *testing.T, s *stage, topology string) *upgrade {
	t.Helper()

	u := &upgrade{
		run: &run{stage: s, topology: topology}, fleet: newArmada(t, s, armadaSize), releases: map[string]platform.Release{},
		url: s.cluster.Registry() + "/manifests-" + strings.ToLower(topology) + ":latest",
	}
	for _, tag := range []string{"a", "b"} {
		u.releases[tag] = must(platform.Push(deadline(t, patience), s.manager, s.cluster.Registry(), tag, t.Output()))(t)
	}

	return u
}

// publish puts a version of the distribution, which runs the image with the tag, where the instance looks for it.
func (u *upgrade) publish(t *testing.T, version, tag string, change func(file, content string) string) {
	t.Helper()

	reference := must(platform.Publish(deadline(t, patience), platform.Artifact{
		Tag: u.url, Version: version, Image: u.releases[tag].Image, Change: change,
	}))(t)
	t.Logf("%s of image %s is %s", version, tag, reference)
}

// create makes the instance. The pods of the cluster find its registry at another address than this process.
func (u *upgrade) create(t *testing.T) {
	t.Helper()

	_, port, _ := strings.Cut(u.cluster.Registry(), ":")
	_, repository, _ := strings.Cut(u.url, "/")
	o := platform.Object(platform.FluxInstance(), platform.Namespace, fluxv1.InstanceName)
	o.SetAnnotations(map[string]string{fluxv1.ReconcileArtifactEveryAnnotation: "3s"})
	o.Object["spec"] = map[string]any{
		"distribution": map[string]any{
			"version": "2.9.x", "registry": u.cluster.Registry(), "insecure": true,
			"artifact": "oci://" + u.cluster.HostIP() + ":" + port + "/" + repository,
		},
		"topology": u.topology,
		"upgrade":  map[string]any{"timeout": "2m"},
	}

	if err := u.client.Apply(deadline(t, patience), o); err != nil {
		t.Fatal(err)
	}
}

// awaitRelease waits until the version runs from the image with the tag, the operator last, and nothing else does.
func (u *upgrade) awaitRelease(t *testing.T, version, tag string) {
	t.Helper()

	u.release = u.releases[tag]
	u.await(t, version+" of image "+tag+" runs", u.view, u.ready(version), platform.Running(components(u.topology)...), u.onlyOurPods, u.ourOperator)
}

// ourOperator is a condition: the operator runs our image.
func (u *upgrade) ourOperator(s platform.Snapshot) error {
	d := s.Get(platform.Deployment(), platform.Namespace, "flux-operator")
	if err := platform.Current(d, "flux-operator"); err != nil {
		return err
	}

	for _, p := range s.List(platform.Core("Pod"), platform.Namespace) {
		if p.GetLabels()["app.kubernetes.io/name"] == "flux-operator" && image(p) != u.release.Image {
			return fmt.Errorf("%s runs %s", platform.Name(p), image(p))
		}
	}

	return nil
}

// ready is a condition: the instance is ready at the version.
func (u *upgrade) ready(version string) func(platform.Snapshot) error {
	return func(s platform.Snapshot) error {
		i := u.instance(s)
		if err := platform.Current(i, "FluxInstance"); err != nil {
			return err
		}

		if at := platform.Text(i, "status", "lastAppliedRevision"); !strings.HasPrefix(at, version+"@") {
			return fmt.Errorf("the instance is at %q", at)
		}

		return nil
	}
}

func (u *upgrade) instance(s platform.Snapshot) *unstructured.Unstructured {
	return s.Get(platform.FluxInstance(), platform.Namespace, fluxv1.InstanceName)
}

// onlyOurPods is a condition: the components run from our image, and no pod of them runs from another one.
func (u *upgrade) onlyOurPods(s platform.Snapshot) error {
	for _, key := range components(u.topology) {
		for _, p := range s.List(platform.Core("Pod"), key[0]) {
			if p.GetLabels()["app"] == key[1] && image(p) != u.release.Image {
				return fmt.Errorf("%s runs %s", platform.Name(p), image(p))
			}
		}
	}

	return u.ourPods(s)
}

// toNext upgrades in the middle of deliveries. Nothing is lost, and what was committed meanwhile arrives.
func (u *upgrade) toNext(t *testing.T) {
	t.Helper()

	u.fleet.pause(t, "before the upgrade", u.fleet.sail(t))

	during := u.fleet.sail(t)
	u.publish(t, "v2.9.6", "b", nil)

	if u.topology == fluxv1.TopologyUnified {
		u.losesOperator(t, "v2.9.6")
	}

	u.awaitRelease(t, "v2.9.6", "b")
	u.fleet.arrive(t)
	u.fleet.pause(t, "during the upgrade", during)
}

// losesOperator deletes the pod of the operator in the middle of an upgrade, without letting it end.
func (u *upgrade) losesOperator(t *testing.T, version string) {
	t.Helper()

	u.await(t, "the upgrade is under way", u.view, func(s platform.Snapshot) error {
		i := u.instance(s)
		phase, to := platform.Text(i, "status", "upgrade", "phase"), platform.Text(i, "status", "upgrade", "to")

		if !strings.HasPrefix(to, version+"@") || phase != fluxv1.UpgradePhaseApplying && phase != fluxv1.UpgradePhaseWaiting {
			return fmt.Errorf("the upgrade to %q is in the phase %q", to, phase)
		}

		return nil
	})

	for _, p := range u.view.Now().List(platform.Core("Pod"), platform.Namespace) {
		if p.GetLabels()["app.kubernetes.io/name"] != "flux-operator" {
			continue
		}

		pod := platform.Object(platform.Core("Pod"), platform.Namespace, p.GetName())
		if err := u.client.Delete(deadline(t, patience), pod, client.GracePeriodSeconds(0)); err != nil {
			t.Fatal(err)
		}
	}
}

// toBroken offers a release whose kustomize-controller does not know one of its flags. It is not kept, `kubectl get` says why, and it is
// not tried again.
func (u *upgrade) toBroken(t *testing.T) {
	t.Helper()

	during := u.fleet.sail(t)
	u.publish(t, "v2.9.7", "a", func(file, content string) string {
		if file == "kustomize-controller.yaml" || file == "weir.yaml" {
			return strings.Replace(content, "            - --log-level=info\n", "            - --log-level=info\n            - --no-such-flag\n", 1)
		}

		return content
	})
	u.await(t, "the broken release is rolled back", u.view, u.rolledBack)
	u.await(t, "what ran before runs again", u.view, platform.Running(components(u.topology)...), u.onlyOurPods, u.ourOperator)
	u.fleet.arrive(t)
	u.fleet.pause(t, "during the upgrade that failed", during)

	columns := must(u.client.Columns(deadline(t, patience), platform.FluxInstance(), platform.Namespace, fluxv1.InstanceName))(t)
	t.Logf("kubectl get fluxinstance: %q", columns)

	const crash = `container "manager" keeps ending, last with exit code 1`
	if columns["Ready"] != "False" || !strings.HasPrefix(columns["Status"], "upgrade to v2.9.7@") || !strings.Contains(columns["Status"], crash) ||
		!strings.Contains(columns["Status"], "; rolled back to v2.9.6@") {
		t.Errorf("kubectl get fluxinstance says %q", columns)
	}

	// Somebody would have to try again, and many looks at the artifact have passed when all is delivered once more.
	generation := u.generations(t)

	u.fleet.sail(t)
	u.fleet.arrive(t)

	if again := u.generations(t); again != generation {
		t.Errorf("the Deployments have changed: %s, after %s", again, generation)
	}
}

// rolledBack is a condition: the last upgrade failed, and the one before runs.
func (u *upgrade) rolledBack(s platform.Snapshot) error {
	i := u.instance(s)
	if phase := platform.Text(i, "status", "upgrade", "phase"); phase != fluxv1.UpgradePhaseRolledBack {
		return fmt.Errorf("the upgrade is in the phase %q", phase)
	}

	if at := platform.Text(i, "status", "lastAppliedRevision"); !strings.HasPrefix(at, "v2.9.6@") {
		return fmt.Errorf("the instance is at %q", at)
	}

	if state, reason, _ := platform.Condition(i, "Ready"); state != "False" || reason != fluxv1.UpgradeRolledBackReason {
		return errors.New("Ready is " + state + " " + reason)
	}

	return nil
}

// generations tells the Deployments of the components apart by how often they were changed.
func (u *upgrade) generations(t *testing.T) string {
	t.Helper()

	all := ""

	for _, key := range components(u.topology) {
		d := u.view.Now().Get(platform.Deployment(), key[0], key[1])
		all += fmt.Sprintf("%s %d, ", key[1], d.GetGeneration())
	}

	return all
}

// toMended publishes what mends the broken release: that is news, and installed.
func (u *upgrade) toMended(t *testing.T) {
	t.Helper()

	u.publish(t, "v2.9.8", "a", nil)
	u.awaitRelease(t, "v2.9.8", "a")
	u.fleet.sail(t)
	u.fleet.arrive(t)
}
