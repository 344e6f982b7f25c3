package process

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/weir-dev/weir/test/e2e/platform"
	"github.com/weir-dev/weir/test/gitserver"
)

// What comes and goes: Kustomizations that define a kind and have an object of it, some that have an object of a kind that
// somebody else defines, and some for a cluster with a kubeconfig.
const (
	churnOwn     = 35
	churnForeign = 5
	churnRemote  = 10
)

// TestFaultChurn lets kinds and clusters come and go. When they are gone, so is everything that was held for them.
func TestFaultChurn(t *testing.T) {
	t.Parallel() // each has a manager of its own, and the API server is not disturbed

	s := newFaultStage(t)
	namespace := s.namespace(t, "churn")
	change, foreign := churnTree(t)
	repo, revision := s.repository(t, namespace, change)
	source := s.source(namespace, "churn", s.git.URL(repo))

	// One stays, so that what every Kustomization takes is there before.
	stays := s.delivery(namespace, "stays", "churn", "stays", map[string]any{"retryInterval": "1s"})
	s.apply(t, append(foreign, source, stays)...)
	s.await(t, "what stays is delivered", platform.Delivered(revision, [2]string{namespace, "stays"}))
	before := s.idle(t)

	var keys [][2]string

	deliveries := s.churn(t, namespace, "first")
	for _, o := range deliveries {
		keys = append(keys, [2]string{namespace, o.GetName()})
	}

	s.apply(t, deliveries...)
	s.await(t, "all is delivered", platform.Delivered(revision, keys...))

	first := s.idle(t)
	if grown := len(first.watches) - len(before.watches); grown < churnOwn+churnForeign+churnRemote {
		t.Errorf("only %d watches have come: what is counted is not what there is", grown)
	}

	// Other credentials make other clusters of the remote ones.
	s.churn(t, namespace, "second")
	s.poll(t, "rotated", func(context.Context) error { return rotated(s.gate.Watches(), "second", "first") })
	s.await(t, "all is delivered with new credentials", platform.Delivered(revision, keys...))

	// Kinds vanish while there are Kustomizations with objects of them.
	for _, o := range foreign {
		if err := s.client.Delete(deadline(t, patience), o); err != nil {
			t.Fatal(err)
		}
	}

	s.await(t, "the Kustomizations miss their kinds", func(now platform.Snapshot) error {
		for i := range churnForeign {
			o := now.Get(platform.Kustomization(), namespace, fmt.Sprintf("foreign-%d", i))
			if state, _, message := platform.Condition(o, "Ready"); state != "False" || !strings.Contains(message, "no matches for kind") {
				return fmt.Errorf("%s is Ready=%s: %s", platform.Name(o), state, message)
			}
		}

		return nil
	})

	for _, o := range deliveries {
		if err := s.client.Delete(deadline(t, patience), o); err != nil {
			t.Fatal(err)
		}
	}

	s.await(t, "all is gone", func(now platform.Snapshot) error {
		if n := len(now.List(platform.Kustomization(), namespace)); n != 1 {
			return fmt.Errorf("%d Kustomizations are there", n)
		}

		for _, o := range now.List(platform.Definition(), "") {
			if strings.HasSuffix(o.GetName(), "."+churnGroup) {
				return fmt.Errorf("%s is still there", platform.Name(o))
			}
		}

		for _, o := range now.List(platform.Core("ConfigMap"), namespace) {
			if strings.HasPrefix(o.GetName(), "remote-") {
				return fmt.Errorf("%s is still there", platform.Name(o))
			}
		}

		return nil
	})
	s.leaks(t, before)
}

// churn returns the Kustomizations that come and go, and sees to the kubeconfigs of those that have one.
func (s *faultStage) churn(t *testing.T, namespace, token string) []*unstructured.Unstructured {
	t.Helper()

	var deliveries []*unstructured.Unstructured

	for path, n := range map[string]int{"own": churnOwn, "foreign": churnForeign, "remote": churnRemote} {
		for i := range n {
			name, spec := fmt.Sprintf("%s-%d", path, i), map[string]any{"retryInterval": "1s", "wait": true}

			if path == "remote" {
				secret := platform.Object(platform.Core("Secret"), namespace, name)
				secret.SetLabels(map[string]string{"reconcile.fluxcd.io/watch": "Enabled"})
				secret.Object["stringData"] = map[string]any{"value": string(must(s.gate.Config(fmt.Sprintf("%s-%d", token, i)))(t))}
				s.apply(t, secret)

				spec["kubeConfig"] = map[string]any{"secretRef": map[string]any{"name": name}}
			}

			deliveries = append(deliveries, s.delivery(namespace, name, "churn", name, spec))
		}
	}

	return deliveries
}

// rotated is nil if watches are open for each remote cluster with the new token, and none with the old one.
func rotated(watches map[string]int, after, before string) error {
	found := map[string]bool{}

	for name := range watches {
		token, _, _ := strings.Cut(name, " ")
		if strings.HasPrefix(token, before+"-") {
			return errors.New("a watch has the old token: " + name)
		}

		if strings.HasPrefix(token, after+"-") {
			found[token] = true
		}
	}

	if len(found) != churnRemote {
		return fmt.Errorf("%d clusters are watched with the new token", len(found))
	}

	return nil
}

const churnGroup = "churn.example.com"

// churnTree returns what is delivered, and the definitions of the kinds that somebody else defines.
func churnTree(t *testing.T) (change gitserver.Change, foreign []*unstructured.Unstructured) {
	t.Helper()

	change.Files = map[string]string{"stays/stays.yaml": configMap("stays", 0)}

	for i := range churnOwn {
		change.Files[fmt.Sprintf("own-%d/kind.yaml", i)] = churnKind(fmt.Sprintf("Own%d", i))
		change.Files[fmt.Sprintf("own-%d/object.yaml", i)] = churnObject(fmt.Sprintf("Own%d", i))
	}

	for i := range churnForeign {
		kind := fmt.Sprintf("Foreign%d", i)
		change.Files[fmt.Sprintf("foreign-%d/object.yaml", i)] = churnObject(kind)

		foreign = append(foreign, must(platform.Decode([]byte(churnKind(kind))))(t)...)
	}

	for i := range churnRemote {
		change.Files[fmt.Sprintf("remote-%d/object.yaml", i)] = configMap(fmt.Sprintf("remote-%d", i), i)
	}

	return change, foreign
}

func churnKind(kind string) string {
	return fmt.Sprintf(`apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: %[1]ss.%[3]s
spec:
  group: %[3]s
  scope: Namespaced
  names:
    kind: %[2]s
    plural: %[1]ss
    singular: %[1]s
  versions:
    - name: v1
      served: true
      storage: true
      schema:
        openAPIV3Schema:
          type: object
          x-kubernetes-preserve-unknown-fields: true
`, strings.ToLower(kind), kind, churnGroup)
}

func churnObject(kind string) string {
	return fmt.Sprintf("apiVersion: %s/v1\nkind: %s\nmetadata:\n  name: only\n", churnGroup, kind)
}
