package platform

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/weir-dev/weir/test/cluster"
)

var shared cluster.Shared

func TestMain(m *testing.M) { os.Exit(shared.Main(m)) }

const namespaceAndDefinition = `
apiVersion: v1
kind: Namespace
metadata:
  name: view
---
# nothing here
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: one
  namespace: view
data:
  state: applied
`

func TestView(t *testing.T) {
	config := shared.Start(t).Config()

	client, err := NewClient(config)
	if err != nil {
		t.Fatal(err)
	}

	view, err := NewView(config)
	if err != nil {
		t.Fatal(err)
	}
	defer view.Close()

	objects, err := Decode([]byte(namespaceAndDefinition))
	if err != nil {
		t.Fatal(err)
	}

	if err := client.Apply(t.Context(), objects...); err != nil {
		t.Fatal(err)
	}

	definitions, err := Definitions()
	if err != nil {
		t.Fatal(err)
	}

	// The kind is awaited before it is there.
	tracked := make(chan error)
	go func() { tracked <- view.Track(t.Context(), Core("ConfigMap"), Kustomization()) }()

	if err := client.Apply(t.Context(), definitions...); err != nil {
		t.Fatal(err)
	}

	if err := <-tracked; err != nil {
		t.Fatal(err)
	}

	edited, err := client.Edit(t.Context(), Core("ConfigMap"), "view", "one", `{"data":{"state":"edited"}}`)
	if err != nil {
		t.Fatal(err)
	}

	want := func(state string) func(Snapshot) error {
		return func(s Snapshot) error {
			if is := Text(s.Get(Core("ConfigMap"), "view", "one"), "data", "state"); is != state {
				return errors.New("state is " + is)
			}

			return nil
		}
	}
	if err := view.Until(t.Context(), want(Text(edited, "data", "state"))); err != nil {
		t.Error(err)
	}

	ended, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("too late"))

	if err := view.Until(ended, want("another")); err == nil || err.Error() != "too late: still: state is edited" {
		t.Errorf("a wait in vain ended with %v", err)
	}

	giveUp := func(Snapshot) error { return Stop(errors.New("never")) }
	if err := view.Until(t.Context(), giveUp); err == nil || err.Error() != "never" {
		t.Errorf("a wait for the impossible ended with %v", err)
	}

	var b strings.Builder

	client.Diagnose(t.Context(), &b)

	if strings.Contains(b.String(), "incomplete") {
		t.Errorf("diagnosis:\n%s", b.String())
	}
}

func TestCurrent(t *testing.T) {
	object := func(generation, observed int64, ready string) *unstructured.Unstructured {
		o := Object(Kustomization(), "apps", "web")
		o.SetGeneration(generation)
		o.Object["status"] = map[string]any{
			"observedGeneration": observed,
			"conditions": []any{map[string]any{
				"type": "Ready", "status": ready, "reason": "BuildFailed", "message": "no such file",
			}},
		}

		return o
	}

	for name, tc := range map[string]struct {
		reason string
		object *unstructured.Unstructured
		want   string
	}{
		"New":      {"nobody has looked at it", Object(Kustomization(), "apps", "web"), "Kustomization/apps/web has no condition yet"},
		"Missing":  {"it was never applied", nil, "that is not there"},
		"Ready":    {"it is as it should be", object(2, 2, "True"), ""},
		"Failed":   {"the condition says why", object(2, 2, "False"), "Kustomization/apps/web is InProgress: Ready=False BuildFailed: no such file"},
		"Outdated": {"the status is of an older spec", object(2, 1, "True"), "Kustomization/apps/web is InProgress: Ready=True BuildFailed: no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			got := ""
			if err := Current(tc.object, "that"); err != nil {
				got = err.Error()
			}

			if got != tc.want {
				t.Errorf("%s: got %q, want %q", tc.reason, got, tc.want)
			}
		})
	}
}
