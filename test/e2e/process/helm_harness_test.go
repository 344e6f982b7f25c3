package process

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	helmv2 "github.com/weir-dev/weir/api/helm/v2"
	"github.com/weir-dev/weir/test/cluster"
	"github.com/weir-dev/weir/test/e2e/platform"
	"github.com/weir-dev/weir/test/helmrepo"
	"github.com/weir-dev/weir/test/registry"
)

// pretended has a node that is only pretended: pods become Ready, and those of hooks end as their chart says.
var pretended = cluster.Shared{Options: cluster.Options{Mode: cluster.ControlPlane, FakeNode: true}}

// helmRelease is the kind of releases of charts.
func helmRelease() schema.GroupVersionKind {
	return helmv2.GroupVersion.WithKind(helmv2.HelmReleaseKind)
}

// helmStage is a manager that releases charts from a registry.
type helmStage struct {
	*stage

	registry *registry.Server
}

func newHelmStage(t *testing.T, args ...string) *helmStage {
	t.Helper()

	c := pretended.Start(t)

	return newHelmStageBy(t, c, c.Kubeconfig(), args...)
}

func newHelmStageBy(t *testing.T, c *cluster.Cluster, kubeconfig string, args ...string) *helmStage {
	t.Helper()

	s := &helmStage{stage: newStageBy(t, c, kubeconfig, delivering(t, append([]string{
		"--controllers=source-controller,helm-controller", "--min-retry-delay=100ms", "--max-retry-delay=2s",
	}, args...)...)...)}
	s.registry = must(registry.Serve(t.Context(), registry.Options{}))(t)
	t.Cleanup(s.registry.Close)
	s.raise(t)
	s.track(t, helmRelease(), kind("OCIRepository"), kind("HelmChart"))

	return s
}

// push publishes the files as a chart.
func (s *helmStage) push(t *testing.T, name, version string, files map[string]string) {
	t.Helper()

	pkg := must(helmrepo.Pack(must(helmrepo.Load(files))(t)))(t)
	must(s.registry.Push(deadline(t, patience), "charts/"+name, version, must(registry.Chart(pkg, nil))(t)))(t)
}

// chart returns an OCIRepository of a chart.
func (s *helmStage) chart(namespace, name, version string) *unstructured.Unstructured {
	return s.object(kind("OCIRepository"), namespace, name, map[string]any{
		"url": "oci://" + s.registry.Addr + "/charts/" + name, "insecure": true, "ref": map[string]any{"tag": version},
		"layerSelector": map[string]any{"mediaType": string(registry.HelmContent), "operation": "copy"},
	})
}

// release returns a HelmRelease of an OCIRepository, with what more its spec has.
func (s *helmStage) release(namespace, name, chart string, more map[string]any) *unstructured.Unstructured {
	spec := map[string]any{
		"interval": "1h", "timeout": "1m", "chartRef": map[string]any{"kind": "OCIRepository", "name": chart},
	}
	maps.Copy(spec, more)

	return s.object(helmRelease(), namespace, name, spec)
}

// edit changes an object by hand.
func (s *helmStage) edit(t *testing.T, kind schema.GroupVersionKind, namespace, name, patch string) {
	t.Helper()
	must(s.client.Edit(deadline(t, patience), kind, namespace, name, patch))(t)
}

// tag makes an OCIRepository have another version.
func (s *helmStage) tag(t *testing.T, namespace, name, version string) {
	t.Helper()
	s.edit(t, kind("OCIRepository"), namespace, name, fmt.Sprintf(`{"spec":{"ref":{"tag":%q}}}`, version))
}

// state says how a HelmRelease is, in words: what was observed, Ready, and whether there is more to come.
func releaseState(o *unstructured.Unstructured) (words string, over bool) {
	if o == nil {
		return "absent", true
	}

	state, reason, message := platform.Condition(o, "Ready")
	reconciling, _, _ := platform.Condition(o, "Reconciling")
	stalled, why, _ := platform.Condition(o, "Stalled")
	words = fmt.Sprintf("%s %s", state, reason)

	if stalled == "True" {
		words += ", stalled " + why
	}

	observed := platform.Number(o, "status", "observedGeneration")
	if observed != o.GetGeneration() || reconciling == "True" || state == "Unknown" || state == "" {
		return fmt.Sprintf("%s, not over: generation %d of %d, Reconciling %q: %s", words, observed, o.GetGeneration(), reconciling, message), false
	}

	return words, true
}

// told is what the actions of a release said.
func told(o *unstructured.Unstructured) string {
	var all strings.Builder

	if o != nil {
		for _, kind := range []string{"Released", "TestSuccess", "Remediated", "Stalled"} {
			if state, reason, message := platform.Condition(o, kind); state != "" {
				fmt.Fprintf(&all, "\n  %s %s %s: %s", kind, state, reason, message)
			}
		}

		fmt.Fprintf(&all, "\n  history %q", history(o))
	}

	return all.String()
}

// became is a condition: the HelmRelease has come to an end of the words, with the parts in the message of Ready.
func became(namespace, name, words string, parts ...string) func(platform.Snapshot) error {
	return func(now platform.Snapshot) error {
		o := now.Get(helmRelease(), namespace, name)
		got, over := releaseState(o)

		if o == nil && words == "absent" {
			return nil
		}

		if o == nil || !over || got != words {
			return fmt.Errorf("%s is %s, not %s%s", name, got, words, told(o))
		}

		_, _, message := platform.Condition(o, "Ready")
		for _, part := range parts {
			if !strings.Contains(message, part) {
				return fmt.Errorf("%s says %q, not %q", name, message, part)
			}
		}

		return nil
	}
}

// valueOf is a condition: the ConfigMap has the value.
func valueOf(namespace, name, key, want string) func(platform.Snapshot) error {
	return func(now platform.Snapshot) error {
		o := now.Get(platform.Core("ConfigMap"), namespace, name)
		if o == nil && want == "absent" {
			return nil
		}

		if o == nil {
			return fmt.Errorf("ConfigMap %s is not there", name)
		}

		if got := platform.Text(o, "data", key); got != want {
			return fmt.Errorf("ConfigMap %s has %q, not %q", name, got, want)
		}

		return nil
	}
}

// history returns the statuses in the history of a HelmRelease, the newest first, with their revisions.
func history(o *unstructured.Unstructured) []string {
	entries, _, _ := unstructured.NestedSlice(o.Object, "status", "history") //nolint:errcheck // then there is none
	list := make([]string, 0, len(entries))

	for _, e := range entries {
		if fields, ok := e.(map[string]any); ok {
			list = append(list, fmt.Sprintf("v%v %v", fields["version"], fields["status"]))
		}
	}

	return list
}

// answered is a condition: the HelmRelease has seen the request.
func answered(namespace, name, token string) func(platform.Snapshot) error {
	return func(now platform.Snapshot) error {
		o := now.Get(helmRelease(), namespace, name)
		if o == nil {
			return errors.New("the HelmRelease is not there")
		}

		if at := platform.Text(o, "status", "lastHandledReconcileAt"); at != token {
			return fmt.Errorf("%s has handled %q, not %q", name, at, token)
		}

		return nil
	}
}

// expect compares.
func expect[T any](t *testing.T, what string, want, got T) {
	t.Helper()

	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s: -want, +got:\n%s", what, diff)
	}
}

func keyOf(o *unstructured.Unstructured) types.NamespacedName {
	return types.NamespacedName{Namespace: o.GetNamespace(), Name: o.GetName()}
}
