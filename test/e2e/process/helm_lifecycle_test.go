package process

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/test/e2e/platform"
	"github.com/weir-dev/weir/test/helmrepo"
)

// story is a HelmRelease named app in a namespace of its own.
type story struct {
	*helmStage

	namespace string
}

// TestHelm releases charts and does to them what people do. Each story has a namespace of its own; all share a manager.
func TestHelm(t *testing.T) {
	t.Parallel()

	s := newHelmStage(t)

	for name, tell := range map[string]func(*testing.T, *story){
		"lifecycle": lifecycle, "remediation": remediation, "retry": retryOnFailure,
		"workload": workload, "definitions": definitions, "family": family, "bulk": bulk, "excess": excess,
		"helm3": taken("helm3"), "helm4": taken("helm4"), "flux": fluxReleases,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tell(t, &story{helmStage: s, namespace: s.namespace(t, "helm-"+name)})
		})
	}
}

// values changes the values of the HelmRelease.
func (s *story) values(t *testing.T, values string) {
	t.Helper()
	s.edit(t, helmRelease(), s.namespace, "app", `{"spec":{"values":`+values+`}}`)
}

// ask asks for a reconcile, with more annotations that get the same token, and waits for the answer.
func (s *story) ask(t *testing.T, more ...string) {
	t.Helper()

	token := time.Now().Format(time.RFC3339Nano)
	annotations := map[string]string{}

	for _, name := range append(more, meta.ReconcileRequestAnnotation) {
		annotations[name] = token
	}

	patch := must(json.Marshal(map[string]any{"metadata": map[string]any{"annotations": annotations}}))(t)
	s.edit(t, helmRelease(), s.namespace, "app", string(patch))
	s.await(t, "the request is answered", answered(s.namespace, "app", token))
}

// newest is a condition: the history of the HelmRelease begins so.
func (s *story) newest(want ...string) func(platform.Snapshot) error {
	return func(now platform.Snapshot) error {
		o := now.Get(helmRelease(), s.namespace, "app")
		if o == nil {
			return errors.New("the HelmRelease is not there")
		}

		if got := history(o); len(got) < len(want) || !slices.Equal(got[:len(want)], want) {
			return fmt.Errorf("the history is %q, not %q", got, want)
		}

		return nil
	}
}

func (s *story) became(words string, parts ...string) func(platform.Snapshot) error {
	return became(s.namespace, "app", words, parts...)
}

func (s *story) value(want string) func(platform.Snapshot) error {
	return valueOf(s.namespace, "app", "value", want)
}

// records returns the Secrets that Helm's releases are in, by name, with their status.
func (s *story) records(t *testing.T) map[string]string {
	t.Helper()

	found := map[string]string{}

	for _, o := range s.list(t, s.namespace, "v1", "Secret") {
		if l := o.GetLabels(); l["owner"] == "helm" {
			found[strings.TrimPrefix(o.GetName(), "sh.helm.release.v1.")] = l["status"]
		}
	}

	return found
}

// gone deletes the HelmRelease and waits until nothing of it is left.
func (s *story) gone(t *testing.T) {
	t.Helper()

	if err := s.client.Delete(deadline(t, patience), platform.Object(helmRelease(), s.namespace, "app")); err != nil {
		t.Fatal(err)
	}

	s.await(t, "everything is gone", s.became("absent"), s.value("absent"))
	expect(t, "records", map[string]string{}, s.records(t))
}

// Values of the chart with hooks.
const (
	failingPre  = `{"value":"bad","hooks":{"pre":"Failed"}}`
	failingPost = `{"value":"bad","hooks":{"pre":"Succeeded","post":"Failed"}}`
	failingTest = `{"value":"untested","hooks":{"pre":"Succeeded","post":"Succeeded"},"tests":{"first":"Failed"}}`
	good2       = `{"value":"good","hooks":{"pre":"Succeeded","post":"Succeeded"},"tests":{"first":"Succeeded"}}`
)

// lifecycle goes from an install to an uninstall.
func lifecycle(t *testing.T, s *story) {
	s.push(t, "lifecycle", "1.0.0", helmrepo.WithHooks("lifecycle", "1.0.0"))
	s.push(t, "lifecycle", "1.1.0", helmrepo.WithHooks("lifecycle", "1.1.0"))
	s.apply(t, s.chart(s.namespace, "lifecycle", "1.0.0"), s.release(s.namespace, "app", "lifecycle", map[string]any{
		"test": map[string]any{"enable": true}, "driftDetection": map[string]any{"mode": "enabled"},
		"upgrade": map[string]any{"remediation": map[string]any{"retries": int64(0), "remediateLastFailure": true}},
	}))

	const tested = "True TestSucceeded"

	s.await(t, "installed and tested", s.became(tested, "app.v1 with chart lifecycle@1.0.0+", "2 test hooks completed successfully"),
		s.value("none"), s.newest("v1 deployed"))

	s.values(t, `{"value":"two"}`)
	s.await(t, "upgraded with values", s.became(tested), s.value("two"), s.newest("v2 deployed", "v1 superseded"))

	s.tag(t, s.namespace, "lifecycle", "1.1.0")
	s.await(t, "upgraded with another chart", s.became(tested, "app.v3 with chart lifecycle@1.1.0+"), s.value("two"), s.newest("v3 deployed"))

	s.values(t, failingPost)
	s.await(t, "rolled back", s.became("False RollbackSucceeded, stalled RetriesExceeded", "Helm rollback to previous release "+
		s.namespace+"/app.v3 with chart lifecycle@1.1.0+"), s.value("two"), s.newest("v5 deployed", "v4 failed", "v3 superseded"))

	s.values(t, good2)
	s.await(t, "mended", s.became(tested), s.value("good"), s.newest("v6 deployed"))

	s.drift(t)
	s.await(t, "nothing was released for that", s.became(tested), s.newest("v6 deployed"))

	s.ask(t)
	s.await(t, "nothing is released when somebody only asks", s.became(tested), s.newest("v6 deployed"))
	s.ask(t, meta.ForceRequestAnnotation)
	s.await(t, "released by force", s.became(tested), s.newest("v7 deployed"))

	s.values(t, failingTest)
	s.await(t, "rolled back after a test", s.became("False RollbackSucceeded, stalled RetriesExceeded"), s.value("good"),
		s.newest("v9 deployed", "v8 superseded"))
	s.ask(t)
	s.await(t, "nothing more is tried", s.became("False RollbackSucceeded, stalled RetriesExceeded"), s.newest("v9 deployed"))
	s.ask(t, meta.ResetRequestAnnotation)
	s.await(t, "tried once more after a reset", s.became("False RollbackSucceeded, stalled RetriesExceeded"), s.value("good"),
		s.newest("v11 deployed"))

	s.edit(t, helmRelease(), s.namespace, "app", `{"spec":{"suspend":true,"values":{"value":"awake","tests":{"first":"Succeeded"}}}}`)
	s.ask(t)
	s.await(t, "nothing happens to what is suspended", s.value("good"), s.newest("v11 deployed"))
	s.edit(t, helmRelease(), s.namespace, "app", `{"spec":{"suspend":false}}`)
	s.await(t, "it goes on", s.became(tested), s.value("awake"), s.newest("v12 deployed"))

	for name, status := range s.records(t) {
		if strings.HasPrefix(status, "pending") {
			t.Errorf("%s is %s", name, status)
		}
	}

	s.gone(t)

	jobs := map[string]bool{}
	for _, o := range s.list(t, s.namespace, "batch/v1", "Job") {
		jobs[o.GetName()] = true
	}

	expect(t, "the hook before the uninstall ran", true, jobs["app-delete"])
}

// drift changes the ConfigMap by hand, and deletes it: it comes back as it was.
func (s *story) drift(t *testing.T) {
	t.Helper()

	drifted := must(s.client.Edit(deadline(t, patience), platform.Core("ConfigMap"), s.namespace, "app", `{"data":{"value":"drifted"}}`))(t)
	s.await(t, "drift is corrected", s.value("good"), s.after(t, drifted))

	corrected := platform.Object(platform.Core("ConfigMap"), s.namespace, "app")
	if err := s.client.Get(deadline(t, patience), keyOf(corrected), corrected); err != nil {
		t.Fatal(err)
	}

	if corrected.GetUID() != drifted.GetUID() {
		t.Error("what had drifted was created anew")
	}

	if err := s.client.Delete(deadline(t, patience), corrected.DeepCopy()); err != nil {
		t.Fatal(err)
	}

	s.await(t, "what was deleted is back", s.value("good"), s.after(t, corrected))
}

// after is a condition: the view has seen something of an object that came later than this.
func (s *story) after(t *testing.T, o *unstructured.Unstructured) func(platform.Snapshot) error {
	t.Helper()

	version := must(strconv.ParseUint(o.GetResourceVersion(), 10, 64))(t)

	return func(now platform.Snapshot) error {
		seen := now.Get(o.GroupVersionKind(), o.GetNamespace(), o.GetName())
		if seen == nil {
			return errors.New("it is not there")
		}

		if v, err := strconv.ParseUint(seen.GetResourceVersion(), 10, 64); err != nil || v <= version {
			return fmt.Errorf("it has not changed since %d", version)
		}

		return nil
	}
}

// remediation uninstalls what could not be installed, gives up, and begins anew with another chart.
func remediation(t *testing.T, s *story) {
	s.push(t, "remediation", "1.0.0", helmrepo.WithHooks("remediation", "1.0.0"))
	s.apply(t, s.chart(s.namespace, "remediation", "1.0.0"), s.release(s.namespace, "app", "remediation", map[string]any{
		"values":  map[string]any{"hooks": map[string]any{"post": "Failed"}},
		"install": map[string]any{"remediation": map[string]any{"retries": int64(1), "remediateLastFailure": true}},
		"upgrade": map[string]any{"remediation": map[string]any{"strategy": "uninstall", "retries": int64(0), "remediateLastFailure": true}},
	}))
	s.await(t, "uninstalled twice", s.became("False UninstallSucceeded, stalled RetriesExceeded",
		"Helm uninstall remediation for release "+s.namespace+"/app.v1 with chart remediation@1.0.0+"), s.value("absent"))
	expect(t, "records", map[string]string{}, s.records(t))

	if n := platform.Number(s.view.Now().Get(helmRelease(), s.namespace, "app"), "status", "installFailures"); n != 2 {
		t.Errorf("it was tried %d times, want 2", n)
	}

	mended := helmrepo.WithHooks("remediation", "1.0.1")
	mended["templates/post.yaml"] = ""
	s.push(t, "remediation", "1.0.1", mended)
	s.tag(t, s.namespace, "remediation", "1.0.1")
	s.await(t, "another chart is installed", s.became("True InstallSucceeded"), s.value("none"), s.newest("v1 deployed"))

	// After an upgrade that was uninstalled, it is installed again.
	s.values(t, failingPre)
	s.await(t, "installing fails", s.became("False UninstallSucceeded, stalled RetriesExceeded"), s.value("absent"))
	s.values(t, good2)
	s.await(t, "mended", s.became("True InstallSucceeded"), s.value("good"))
	s.gone(t)
}

// retryOnFailure leaves alone what has failed, and tries again.
func retryOnFailure(t *testing.T, s *story) {
	retry := map[string]any{"strategy": map[string]any{"name": "RetryOnFailure", "retryInterval": "1s"}}

	s.push(t, "retry", "1.0.0", helmrepo.WithHooks("retry", "1.0.0"))
	s.apply(t, s.chart(s.namespace, "retry", "1.0.0"), s.release(s.namespace, "app", "retry", map[string]any{
		"values": map[string]any{"hooks": map[string]any{"pre": "Failed"}}, "install": retry, "upgrade": retry,
	}))
	s.await(t, "tried three times", func(now platform.Snapshot) error {
		if o := now.Get(helmRelease(), s.namespace, "app"); o == nil || len(history(o)) < 3 {
			return errors.New("it was not")
		}

		return nil
	})
	s.values(t, good2)
	s.await(t, "mended", s.became("True UpgradeSucceeded"), s.value("good"))
	s.gone(t)
}
