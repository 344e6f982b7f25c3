package generator_test

import (
	"maps"
	"strings"
	"testing"

	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/api/sourceextensions/v1beta1"
)

func monorepo() map[string]string {
	return map[string]string{
		"apps/Auth/base/auth.yaml": "auth", "apps/Auth/envs/dev/dev.yaml": "auth dev", "apps/Auth/envs/prod/prod.yaml": "auth prod",
		"apps/pay/base/pay.yaml": "pay", "apps/pay/envs/dev/dev.yaml": "pay dev", "apps/pay/README.md": "read",
		"apps/file": "no directory", "docs/envs/dev/x": "x",
	}
}

// discovering makes one artifact for each environment of each application.
func discovering(obj *v1beta1.ArtifactGenerator) {
	obj.Spec.PathPattern = "@repo/apps/{app}/envs/{env}"
	obj.Spec.CommonMetadata = &meta.CommonMetadata{
		Labels: map[string]string{"team": "one", "id": "{app}.{env}"}, Annotations: map[string]string{"note": `{"app": "{app}"}`},
	}
	withArtifact("{app}-{env}", "@repo/apps/{app}/base/**", "@artifact/base/",
		"@repo/apps/{app}/envs/{env}/**", "@artifact/envs/{env}/")(obj)
}

func TestDiscovery(t *testing.T) {
	obj := generatorOf("gen", withRepo, discovering)
	w := newWorld(t, nil, obj)
	w.push(t, "repo", "main@sha1:1", monorepo())

	got := w.run(t, obj)
	expect(t, got.Object, meta.ReadyCondition, "True Succeeded: reconciliation succeeded, generated 3 artifact(s)")

	same(t, "auth-dev", map[string]string{"base/auth.yaml": "auth", "envs/dev/dev.yaml": "auth dev"}, w.files(t, "auth-dev"))
	same(t, "auth-prod", map[string]string{"base/auth.yaml": "auth", "envs/prod/prod.yaml": "auth prod"}, w.files(t, "auth-prod"))
	same(t, "pay-dev", map[string]string{"base/pay.yaml": "pay", "envs/dev/dev.yaml": "pay dev"}, w.files(t, "pay-dev"))

	same(t, "labels", map[string]string{
		"app": "auth", "env": "dev", "team": "one", "id": "auth.dev", "app.kubernetes.io/managed-by": "source-watcher",
		"source.extensions.fluxcd.io/generator": "uid-of-gen",
	}, w.artifact(t, "auth-dev").Labels)
	same(t, "annotations", map[string]string{"note": `{"app": "{app}"}`}, w.artifact(t, "auth-dev").Annotations)

	same(t, "events", []string{"trace NoDriftDetected: No drift detected, 3 artifact(s) up to date"}, told(w.run(t, obj).Events))

	// What is new comes, what is gone goes, and what is neither stays.
	before := w.artifact(t, "auth-dev")
	files := monorepo()
	delete(files, "apps/pay/envs/dev/dev.yaml")

	files["apps/shop/envs/dev/dev.yaml"], files["apps/shop/base/shop.yaml"] = "shop dev", "shop"
	w.push(t, "repo", "main@sha1:2", files)

	got = w.run(t, obj)
	expect(t, got.Object, meta.ReadyCondition, "True Succeeded: reconciliation succeeded, generated 3 artifact(s)")
	same(t, "shop-dev", map[string]string{"base/shop.yaml": "shop", "envs/dev/dev.yaml": "shop dev"}, w.files(t, "shop-dev"))
	same(t, "auth-dev", before, w.artifact(t, "auth-dev"))

	if w.artifact(t, "pay-dev") != nil {
		t.Error("pay-dev is still there")
	}
}

func TestDiscoveryOfNothing(t *testing.T) {
	obj := generatorOf("gen", withRepo, discovering)
	w := newWorld(t, nil, obj)
	w.push(t, "repo", "main@sha1:1", map[string]string{"x": "y"})
	expect(t, w.run(t, obj).Object, meta.ReadyCondition, "True Succeeded: reconciliation succeeded, generated 0 artifact(s)")
}

func TestDiscoveryOfOne(t *testing.T) {
	obj := generatorOf("gen", withRepo, withArtifact("docs", "@repo/docs/**", "@artifact/"))
	obj.Spec.PathPattern = "@repo/docs"
	w := newWorld(t, nil, obj)
	w.push(t, "repo", "main@sha1:1", monorepo())
	expect(t, w.run(t, obj).Object, meta.ReadyCondition, "True Succeeded: reconciliation succeeded, generated 1 artifact(s)")
}

// TestDiscoveryRefused shows that nothing is made, and nothing withdrawn, of what a pattern finds and cannot be named.
func TestDiscoveryRefused(t *testing.T) {
	cases := map[string]struct {
		reason string
		files  map[string]string
		change func(*v1beta1.ArtifactGenerator)
		want   string
	}{
		"Collision": {
			reason: "Two directories cannot have one name.",
			files:  map[string]string{"apps/auth/envs/dev/x": "x", "apps/auth/base/x": "x"},
			want:   `directories "apps/Auth/envs/dev" and "apps/auth/envs/dev" both resolve to artifact name "auth-dev"`,
		},
		"Hidden": {
			reason: "What is captured has to be a label.",
			files:  map[string]string{"apps/.hidden/envs/dev/x": "x"},
			want:   `captured value ".hidden" for variable "app" is not a valid Kubernetes label value: `,
		},
		"Long": {
			reason: "And no longer than one.",
			files:  map[string]string{"apps/" + strings.Repeat("a", 64) + "/envs/dev/x": "x"},
			want:   "is not a valid Kubernetes label value: ",
		},
		"Foreign": {
			reason: "Whatever the language.",
			files:  map[string]string{"apps/应用/envs/dev/x": "x"},
			want:   `captured value "应用" for variable "app" is not a valid Kubernetes label value: `,
		},
		"Name": {
			reason: "A name has to be one.",
			files:  map[string]string{"apps/a_b/envs/dev/x": "x"},
			want:   `has the name "a_b-dev", which is not a valid Kubernetes object name: `,
		},
		"Own": {
			reason: "A generator does not feed on what it makes.",
			change: withSource("self", "ExternalArtifact", "auth-dev"),
			want:   "source 'self' is the artifact 'auth-dev' that this generator makes",
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			obj := generatorOf("gen", withRepo, discovering)
			w := newWorld(t, nil, obj)
			w.push(t, "repo", "main@sha1:1", monorepo())
			w.run(t, obj)

			if tc.change != nil {
				w.spec(t, obj, tc.change)
				// It is an artifact of somebody else's until it is found out whose it will be.
				ea := w.artifact(t, "auth-dev")
				ea.Spec.SourceRef = nil
				check(t, w.c.Update(t.Context(), ea))
			}

			files := monorepo()
			maps.Copy(files, tc.files)

			w.push(t, "repo", "main@sha1:2", files)

			got := w.run(t, obj)
			stalled := ""
			for _, c := range got.Object.Status.Conditions {
				if c.Type == meta.StalledCondition {
					stalled = c.Reason + " " + c.Message
				}
			}

			if !strings.HasPrefix(stalled, "ValidationFailed ") || !strings.Contains(stalled, tc.want) {
				t.Errorf("%s stalled: %q", tc.reason, stalled)
			}

			if len(got.Object.Status.Inventory) != 3 || w.artifact(t, "pay-dev") == nil {
				t.Errorf("inventory %v", got.Object.Status.Inventory)
			}
		})
	}
}
