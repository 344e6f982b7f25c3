package process

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/config/crd"
	"github.com/weir-dev/weir/config/operator"
	"github.com/weir-dev/weir/reconcilers/distribution"
	"github.com/weir-dev/weir/test/cluster"
	"github.com/weir-dev/weir/test/e2e/platform"
	"github.com/weir-dev/weir/test/signing"
)

// life is that of an instance which follows a signed distribution. Its components pretend to run; this test's manager does what they and
// the operator would do.
type life struct {
	*faultStage

	cosign *signing.Cosign
	key    *signing.Key
	fleet  *armada
}

// TestUpgrade takes an instance through releases that are not as they should be, or whose installation is disturbed: those that nobody
// signed change nothing, and every other disturbance ends as if it had not been.
func TestUpgrade(t *testing.T) {
	t.Parallel() // it has a cluster of its own

	l := newLife(t)
	l.publish(t, "v2.9.5", l.sign)
	l.create(t)
	l.arrive(t, "v2.9.5")
	l.fleet.deliver(t, 0)
	l.revokes(t, "v2.9.5")

	l.refuses(t, "is not signed: a key of secret", func(*testing.T, string) {})
	l.refuses(t, "is not signed by a key of secret", l.transplant)

	l.killed(t, "has written down that it applies", l.phase(fluxv1.UpgradePhaseApplying), func() { l.publish(t, "v2.9.6", l.sign) })
	l.arrive(t, "v2.9.6")

	l.killed(t, "has changed the third Deployment", l.thirdDeployment(), func() { l.publish(t, "v2.9.7", l.sign) })
	l.arrive(t, "v2.9.7")

	l.killed(t, "has written down that it waits", l.phase(fluxv1.UpgradePhaseWaiting), func() { l.publish(t, "v2.9.8", l.sign) })
	l.arrive(t, "v2.9.8")

	l.killed(t, "has written down that it rolls back", l.phase(fluxv1.UpgradePhaseRollingBack), func() { l.publishBroken(t, "v2.9.9") })
	l.returns(t, "v2.9.9", "v2.9.8")

	l.restored(t)
}

func newLife(t *testing.T) *life {
	t.Helper()

	c := cluster.New(t, cluster.Options{Mode: cluster.ControlPlane, FakeNode: true})
	gate := must(platform.NewGate(c.Config(), t.TempDir()))(t)
	t.Cleanup(func() { _ = gate.Close() }) //nolint:errcheck // nobody comes any more

	l := &life{faultStage: &faultStage{cluster: c, gate: gate}}
	l.cosign = must(signing.NewCosign(deadline(t, patience), t.TempDir(), t.Output()))(t)
	l.key = must(l.cosign.Key(deadline(t, patience), "ours"))(t)

	image := l.image(t, "v2.9.5")
	l.stage = newStageBy(t, c, gate.Kubeconfig(), "--image="+image, "--min-retry-delay=100ms", "--max-retry-delay=2s")
	t.Cleanup(func() { l.view.Close() }) // that of the end

	// One process of all controllers needs the kinds that a component's own process finds when it comes.
	l.apply(t, must(platform.Definitions())(t)...)
	l.apply(t, must(platform.Decode(must(distribution.Install(operator.FS(), crd.FS(), image))(t)))(t)...)
	l.track(t, append(fleetKinds(), platform.FluxInstance())...)
	l.start(t)

	l.fleet = l.newFleet(t, "upgrade")

	return l
}

// image pushes one for the version, which nobody will ever run, has it signed, and returns its reference.
func (l *life) image(t *testing.T, version string) string {
	t.Helper()

	tag := must(name.NewTag(l.cluster.Registry() + "/weir:" + version))(t)
	file := must(cluster.Image(map[string]string{}, "/manager"))(t)
	config := must(file.ConfigFile())(t).Config
	config.Env = append(config.Env, "VERSION="+version)
	img := must(mutate.Config(file, config))(t)

	if err := remote.Write(tag, img, remote.WithContext(deadline(t, patience))); err != nil {
		t.Fatal(err)
	}

	digest := must(img.Digest())(t).String()
	l.sign(t, tag.Context().Name()+"@"+digest)

	return tag.Name() + "@" + digest
}

func (l *life) sign(t *testing.T, reference string) {
	t.Helper()

	if err := l.cosign.Sign(deadline(t, patience), reference, l.key, signing.Tag); err != nil {
		t.Fatal(err)
	}
}

// transplant gives an artifact the signature of something else.
func (l *life) transplant(t *testing.T, reference string) {
	t.Helper()

	from := must(name.NewDigest(must(remoteDigest(l.image(t, "other")))(t)))(t)
	to := must(name.NewDigest(reference))(t)
	signature := must(remote.Image(signatureOf(from), remote.WithContext(deadline(t, patience))))(t)

	if err := remote.Write(signatureOf(to), signature, remote.WithContext(deadline(t, patience))); err != nil {
		t.Fatal(err)
	}
}

func remoteDigest(reference string) (string, error) {
	repository, rest, _ := strings.Cut(reference, "@")

	tag, err := name.NewTag(repository)
	if err != nil {
		return "", err
	}

	return tag.Context().Name() + "@" + rest, nil
}

// signatureOf is where cosign looks for the signature of something.
func signatureOf(d name.Digest) name.Tag {
	return d.Context().Tag(strings.Replace(d.DigestStr(), ":", "-", 1) + ".sig")
}

func (l *life) artifact() string { return l.cluster.Registry() + "/manifests:latest" }

// publish puts a version of the distribution where the instance looks for it, and then has it signed, or not.
func (l *life) publish(t *testing.T, version string, sign func(t *testing.T, reference string)) {
	t.Helper()
	l.put(t, platform.Artifact{Version: version}, sign)
}

// publishBroken puts a version there whose helm-controller finds no node to run on.
func (l *life) publishBroken(t *testing.T, version string) {
	t.Helper()
	l.put(t, platform.Artifact{Version: version, Change: func(file, content string) string {
		if file == "helm-controller.yaml" {
			return strings.ReplaceAll(content, "kubernetes.io/os: linux", "kubernetes.io/os: plan9")
		}

		return content
	}}, l.sign)
}

// put signs what it publishes before the instance can find it: an artifact is found by its tag, and its signature by its digest.
func (l *life) put(t *testing.T, a platform.Artifact, sign func(t *testing.T, reference string)) {
	t.Helper()

	a.Image, a.Tag = l.image(t, a.Version), l.cluster.Registry()+"/manifests:next"
	reference := must(platform.Publish(deadline(t, patience), a))(t)
	sign(t, reference)

	img := must(remote.Image(must(name.NewDigest(reference))(t), remote.WithContext(deadline(t, patience))))(t)
	if err := remote.Write(must(name.NewTag(l.artifact()))(t), img, remote.WithContext(deadline(t, patience))); err != nil {
		t.Fatal(err)
	}
}

func (l *life) create(t *testing.T) {
	t.Helper()

	secret := platform.Object(platform.Core("Secret"), platform.Namespace, "keys")
	secret.Object["stringData"] = map[string]any{"ours.pub": string(l.key.Public)}

	o := platform.Object(platform.FluxInstance(), platform.Namespace, fluxv1.InstanceName)
	o.SetAnnotations(map[string]string{fluxv1.ReconcileArtifactEveryAnnotation: "1s"})
	o.Object["spec"] = map[string]any{
		"distribution": map[string]any{
			"version": "2.9.x", "registry": l.cluster.Registry(), "artifact": "oci://" + l.artifact(),
			"verify": map[string]any{"secretRef": map[string]any{"name": "keys"}},
		},
		"upgrade": map[string]any{"timeout": "15s"},
	}
	l.apply(t, secret, o)
}

func (l *life) instance(s platform.Snapshot) *unstructured.Unstructured {
	return s.Get(platform.FluxInstance(), platform.Namespace, fluxv1.InstanceName)
}

// at is a condition: the version was applied last.
func (l *life) at(version string) func(platform.Snapshot) error {
	return func(s platform.Snapshot) error {
		i := l.instance(s)
		if i == nil {
			return errors.New("there is no instance")
		}

		if at := platform.Text(i, "status", "lastAppliedRevision"); !strings.HasPrefix(at, version+"@") {
			return fmt.Errorf("the instance is at %q", at)
		}

		for _, component := range []string{"source-controller", "kustomize-controller", "helm-controller", "notification-controller"} {
			d := s.Get(platform.Deployment(), platform.Namespace, component)
			if err := platform.Current(d, component); err != nil {
				return err
			}

			if got := d.GetLabels()["app.kubernetes.io/version"]; got != version {
				return fmt.Errorf("%s is of %s", component, got)
			}
		}

		return nil
	}
}

// arrive waits until the instance is ready at the version.
func (l *life) arrive(t *testing.T, version string) {
	t.Helper()
	l.await(t, version+" is installed", l.at(version), func(s platform.Snapshot) error {
		return platform.Current(l.instance(s), "FluxInstance")
	})
}

// returns waits until the instance is back at the version before one that failed, and says so.
func (l *life) returns(t *testing.T, from, to string) {
	t.Helper()
	l.await(t, from+" is rolled back", l.at(to), func(s platform.Snapshot) error {
		state, reason, message := platform.Condition(l.instance(s), "Ready")
		if state != "False" || reason != fluxv1.UpgradeRolledBackReason || !strings.HasPrefix(message, "upgrade to "+from+"@") {
			return fmt.Errorf("Ready is %s %s: %s", state, reason, message)
		}

		return nil
	})
}

// refuses publishes a release whose signature is not what it should be: nothing changes in the cluster, and the instance says why.
func (l *life) refuses(t *testing.T, why string, sign func(t *testing.T, reference string)) {
	t.Helper()

	before := l.versions(t)

	l.publish(t, "v2.9.9", sign)
	l.await(t, "a release is refused that "+why, func(s platform.Snapshot) error {
		for _, kind := range []string{"Ready", fluxv1.DistributionVerifiedCondition} {
			state, reason, message := platform.Condition(l.instance(s), kind)
			if state != "False" || reason != fluxv1.VerificationErrorReason || !strings.Contains(message, why) {
				return fmt.Errorf("%s is %s %s: %s", kind, state, reason, message)
			}
		}

		return nil
	}, l.at("v2.9.5"))

	if diff := cmp.Diff(before, l.versions(t)); diff != "" {
		t.Errorf("what is deployed has changed: -before, +after:\n%s", diff)
	}
}

// versions are those of what the instance has deployed.
func (l *life) versions(t *testing.T) map[string]string {
	t.Helper()

	all := map[string]string{}

	for _, kind := range []struct{ apiVersion, kind string }{
		{"apps/v1", "Deployment"}, {"v1", "Service"}, {"v1", "ServiceAccount"}, {"networking.k8s.io/v1", "NetworkPolicy"},
		{"apiextensions.k8s.io/v1", "CustomResourceDefinition"}, {"rbac.authorization.k8s.io/v1", "ClusterRole"},
	} {
		namespace := platform.Namespace
		if strings.HasPrefix(kind.kind, "C") {
			namespace = ""
		}

		for _, o := range l.list(t, namespace, kind.apiVersion, kind.kind) {
			all[platform.Name(&o)] = fmt.Sprint(o.GetGeneration(), o.GetLabels())
		}
	}

	return all
}

// phase is true of the request that writes down that an upgrade is in the phase.
func (l *life) phase(phase string) func(platform.Request) bool {
	return func(r platform.Request) bool {
		return r.Verb == "patch" && strings.HasSuffix(r.Path, "/fluxinstances/flux/status") &&
			strings.Contains(string(r.Body), `"phase":"`+phase+`"`)
	}
}

// thirdDeployment is true of the request that changes the third Deployment.
func (l *life) thirdDeployment() func(platform.Request) bool {
	var changed atomic.Int64

	return func(r platform.Request) bool {
		return r.Verb == "apply" && strings.Contains(r.Path, "/namespaces/"+platform.Namespace+"/deployments/") && changed.Add(1) == 3
	}
}

// killed kills the manager when a request has got through that comes of what is done, and starts the next one.
func (l *life) killed(t *testing.T, when string, at func(platform.Request) bool, do func()) {
	t.Helper()

	trap := l.gate.Set(1, true, at)

	do()
	l.catch(t, trap)

	if err := l.manager.Kill(); err != nil {
		t.Fatal(err)
	}

	trap.Release()
	l.start(t)
	t.Logf("the operator was killed when it %s", when)
}

// restored takes the whole cluster back to before an upgrade that is under way, and before a commit that is delivered.
func (l *life) restored(t *testing.T) {
	t.Helper()

	backup := filepath.Join(t.TempDir(), "backup")
	if err := l.cluster.Backup(deadline(t, patience), backup); err != nil {
		t.Fatal(err)
	}

	l.fleet.push(t, 1)
	l.fleet.settle(t, "a commit is delivered after the backup")

	trap := l.gate.Set(1, true, l.thirdDeployment())
	l.publish(t, "v2.9.10", l.sign)
	l.catch(t, trap)

	if err := l.gate.Close(); err != nil {
		t.Fatal(err)
	}

	trap.Release()

	if err := l.cluster.Restore(deadline(t, patience), backup); err != nil {
		t.Fatal(err)
	}

	if err := l.gate.Open(); err != nil {
		t.Fatal(err)
	}

	l.restarts(t)
	l.look(t)

	if err := l.view.Track(deadline(t, patience), platform.FluxInstance()); err != nil {
		t.Fatal(err)
	}

	l.arrive(t, "v2.9.10")

	l.fleet.uids = nil // some are made again
	l.fleet.settle(t, "what was delivered after the backup is there again")
	l.fleet.drift(t)
	l.repairs(t, [2]string{platform.Namespace, "helm-controller"}, "a deleted component is back")
}
