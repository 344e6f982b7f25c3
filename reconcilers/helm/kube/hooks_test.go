package kube_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/release"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/helm/kube"
	"github.com/weir-dev/weir/test/cluster"
)

// hook returns a hook of a kind. Only those with the label are seen by the watch that all releases share.
func hook(kind, name, events, policies, labels string) string {
	pod := "{restartPolicy: Never, nodeSelector: {no: node}, containers: [{name: hook, image: hook}]}"
	spec := pod
	version := "v1"
	if kind == "Job" {
		version, spec = "batch/v1", "{backoffLimit: 0, ttlSecondsAfterFinished: 0, template: {spec: "+pod+"}}"
	}
	return fmt.Sprintf("{apiVersion: %s, kind: %s, metadata: {name: %s, annotations: {helm.sh/hook: %q, helm.sh/hook-delete-policy: %q}%s, spec: %s}",
		version, kind, name, events, policies, labels, spec)
}

// pod returns a pod that has begun after a time, by its name or that of its Job, or nil.
func (b *bench) pod(kind, name string, not types.UID) *unstructured.Unstructured {
	b.t.Helper()
	q := access.Query{Namespace: b.namespace, Fields: "metadata.name=" + name}
	if kind == "Job" {
		q = access.Query{Namespace: b.namespace, Labels: "job-name=" + name}
	}
	pods, err := b.admin.List(b.ctx(), schema.GroupKind{Kind: "Pod"}, q)
	if err != nil {
		b.t.Fatal(err)
	}
	for i := range pods {
		if pods[i].GetUID() != not && pods[i].GetDeletionTimestamp() == nil {
			return &pods[i]
		}
	}
	return nil
}

// finish ends the pod of a hook, as its node would, and returns which it was.
func (b *bench) finish(kind, name string, phase corev1.PodPhase, not types.UID) types.UID {
	b.t.Helper()
	var pod *unstructured.Unstructured
	b.eventually("the pod of the hook", func() bool { pod = b.pod(kind, name, not); return pod != nil })
	b.patch(access.Of(pod), "status", fmt.Sprintf(`{"status":{"phase":%q,"conditions":[]}}`, phase))
	return pod.GetUID()
}

// TestHooks runs hooks that succeed and hooks that fail, twice, with the policies that delete them.
func TestHooks(t *testing.T) {
	const labelled = ", L}"
	cases := map[string]struct {
		reason string
		kind   string
		labels string
		ssa    bool
	}{
		"Job, labelled":  {reason: "one that vanishes when it is done", kind: "Job", labels: labelled, ssa: true},
		"Job, bare":      {reason: "one that is watched by its name", kind: "Job", labels: "}", ssa: true},
		"Job, by client": {reason: "one that is created", kind: "Job", labels: labelled},
		"Pod, bare":      {reason: "it has to complete, not to be ready", kind: "Pod", labels: "}", ssa: true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			o := b.options(c.ssa)
			templates := map[string]string{
				"hook":   hook(c.kind, "hook", "pre-install,pre-upgrade", "before-hook-creation", c.labels),
				"config": config("config", "one"),
			}
			g := b.start(kube.New(b.ctx(), o), charted(t, templates), patience)
			first := b.finish(c.kind, "hook", corev1.PodSucceeded, "")
			if err := b.end(g); err != nil {
				t.Fatalf("%s: %v", c.reason, err)
			}
			same(t, "the release after its hook", "one", b.data("config")["key"])

			templates["config"] = config("config", "two")
			client := kube.New(b.ctx(), o)
			up := action.NewUpgrade(b.configuration(client))
			up.Namespace, up.Timeout = b.namespace, patience
			done := make(chan error, 1)
			go func() { _, err := up.Run("app", charted(t, templates), nil); done <- err }()
			b.finish(c.kind, "hook", corev1.PodFailed, first)
			err := <-done
			failsWith(t, c.reason, err, "pre-upgrade hooks failed", "resource "+c.kind+"/"+b.namespace+"/hook not ready. status: Failed")
			same(t, "a failed hook stops the release", "one", b.data("config")["key"])
			same(t, "it is on record", map[int]release.Status{1: release.StatusDeployed, 2: release.StatusFailed}, b.status())
		})
	}
}

// TestTests runs the tests of a release, and holds what a wait for a single pod says.
func TestTests(t *testing.T) {
	b := newBench(t)
	o := b.options(true)
	templates := map[string]string{"test": hook("Pod", "check", "test", "hook-succeeded", ", L}"), "config": config("config", "one")}
	if _, err := b.install(kube.New(b.ctx(), o), charted(t, templates)); err != nil {
		t.Fatal(err)
	}
	client := kube.New(b.ctx(), o)
	tests := action.NewReleaseTesting(b.configuration(client))
	tests.Namespace, tests.Timeout = b.namespace, patience
	done := make(chan error, 1)
	go func() { _, err := tests.Run("app"); done <- err }()
	b.finish("Pod", "check", corev1.PodSucceeded, "")
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	same(t, "deleted after it has succeeded", false, b.exists(b.ref("Pod", "check")))

	type outcome struct {
		Phase corev1.PodPhase
		Late  bool
	}
	want := map[string]outcome{"good": {Phase: corev1.PodSucceeded}, "bad": {Phase: corev1.PodFailed}, "slow": {corev1.PodUnknown, true}}
	got := map[string]outcome{}
	for name, phase := range map[string]corev1.PodPhase{"good": corev1.PodSucceeded, "bad": corev1.PodFailed, "slow": ""} {
		b.create(`{apiVersion: v1, kind: Pod, metadata: {name: ` + name + `, namespace: NS}, spec: {nodeSelector: {no: node}, containers: [{name: a, image: a}]}}`)
		timeout := time.Second
		if phase != "" {
			b.finish("Pod", name, phase, "")
			timeout = patience
		}
		phase, err := client.WaitAndGetCompletedPodPhase(name, timeout)
		got[name] = outcome{phase, err != nil}
	}
	same(t, "phases", want, got)
}

// TestLogs runs a hook that fails on a real node, and shows what it has written last.
func TestLogs(t *testing.T) {
	if err := cluster.NodeSupport(); err != nil {
		t.Skip(err)
	}
	on := cluster.New(t, cluster.Options{Mode: cluster.Node, Log: t.Output()})
	b := newBenchOn(t, on)
	image := b.image(on)
	job := fmt.Sprintf(`{apiVersion: batch/v1, kind: Job, metadata: {name: hook, annotations: {helm.sh/hook: pre-install, helm.sh/hook-delete-policy: hook-failed,
		helm.sh/hook-output-log-policy: hook-failed}},
		spec: {backoffLimit: 0, template: {spec: {restartPolicy: Never, containers: [{name: hook, image: %q, args: [nonsense]}]}}}}`, image)
	client := kube.New(b.ctx(), b.options(true))
	cfg := b.configuration(client)
	var output bytes.Buffer
	cfg.HookOutputFunc = func(_, _, _ string) io.Writer { return &output }
	in := action.NewInstall(cfg)
	in.ReleaseName, in.Namespace, in.Timeout = "app", b.namespace, patience
	_, err := in.Run(charted(t, map[string]string{"job": strings.ReplaceAll(job, "\n", "")}), nil)
	failsWith(t, "the program fails", err, "failed pre-install", "status: Failed")
	same(t, "deleted, for it has failed", false, b.exists(b.ref("Job", "hook")))

	logs := client.HookLogs()
	if len(logs) != 1 {
		t.Fatalf("want the log of one container, got %+v", logs)
	}
	same(t, "whose", kube.HookLog{Hook: b.ref("Job", "hook").ID, Container: "hook"}, kube.HookLog{Hook: logs[0].Hook, Container: logs[0].Container})
	if got := strings.Join(logs[0].Lines, "\n"); !strings.Contains(got, `unknown command "nonsense"`) {
		t.Errorf("what it wrote last: got %q", got)
	}
	if !strings.Contains(output.String(), `unknown command "nonsense"`) {
		t.Errorf("what Helm was told that it wrote: got %q", &output)
	}
}

// image puts a program into the cluster's registry that complains about its arguments, and ends.
func (b *bench) image(on *cluster.Cluster) string {
	b.t.Helper()
	dir, err := cluster.Binaries(b.ctx(), "", nil)
	if err != nil {
		b.t.Fatal(err)
	}
	img, err := cluster.Image(map[string]string{"/kubectl": filepath.Join(dir, "kubectl")}, "/kubectl")
	if err != nil {
		b.t.Fatal(err)
	}
	ref, err := on.Push(b.ctx(), img, "hook:v1")
	if err != nil {
		b.t.Fatal(err)
	}
	return ref
}

// TestBuild reads manifests as Helm gives them.
func TestBuild(t *testing.T) {
	b := newBench(t)
	cases := map[string]struct {
		reason   string
		manifest string
		old      bool // what was applied before
		want     []string
		err      string
	}{
		"namespaces": {
			reason:   "of a kind that has none, one is taken away",
			manifest: "---\n# nothing\n---\n{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}\n---\n{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: other}}\n---\n{apiVersion: v1, kind: Namespace, metadata: {name: a, namespace: b}}",
			want:     []string{"ConfigMap NS/a", "ConfigMap other/a", "Namespace /a"},
		},
		"list": {
			reason:   "a list is its items",
			manifest: "{apiVersion: v1, kind: List, items: [{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}, {apiVersion: v1, kind: Secret, metadata: {name: a}}]}",
			want:     []string{"ConfigMap NS/a", "Secret NS/a"},
		},
		"no kind": {
			reason:   "the error names the object, and quotes nothing of it",
			manifest: "{apiVersion: v1, metadata: {name: a}, data: {password: hidden}}",
			err:      `document 1 of the manifest, "a", has no apiVersion or no kind`,
		},
		"no kind in a list": {reason: "nor here", manifest: "{apiVersion: v1, kind: List, items: [{apiVersion: v1}]}", err: "item 1 of a list has no apiVersion or no kind"},
		"not served":        {reason: "it cannot be written", manifest: "{apiVersion: a.example/v1, kind: A, metadata: {name: a}}", err: `no matches for kind "A" in version "a.example/v1"`},
		"not served any more": {
			reason: "it is gone, which is no error", old: true,
			manifest: "{apiVersion: a.example/v1, kind: A, metadata: {name: a}}", want: []string{"A NS/a"},
		},
		"another version": {
			reason: "it is the same object", old: true,
			manifest: "{apiVersion: policy/v1beta1, kind: PodDisruptionBudget, metadata: {name: a}}", want: []string{"PodDisruptionBudget NS/a"},
		},
	}
	client := kube.New(b.ctx(), b.options(true))
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			list, err := client.Build(strings.NewReader(c.manifest), !c.old)
			if c.err != "" {
				failsWith(t, c.reason, err, c.err)
				if strings.Contains(err.Error(), "hidden") {
					t.Errorf("it quotes the object: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, info := range list {
				got = append(got, strings.ReplaceAll(info.Mapping.GroupVersionKind.Kind+" "+info.Namespace+"/"+info.Name, b.namespace, "NS"))
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", c.reason, diff)
			}
		})
	}
	list, err := client.Build(strings.NewReader("{apiVersion: policy/v1beta1, kind: PodDisruptionBudget, metadata: {name: a}}"), false)
	if err != nil {
		t.Fatal(err)
	}
	o := b.options(false)
	_, err = kube.New(b.ctx(), o).Update(nil, list, false)
	failsWith(t, "but nothing is written in a version that is not served", err, `no matches for kind "PodDisruptionBudget" in version "policy/v1beta1"`)
	_, errs := client.Delete(list)
	failsWith(t, "and what the version lacks is deleted as what it is", errors.Join(append(errs, errors.New("none"))...), "none")
}
