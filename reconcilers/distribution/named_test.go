package distribution

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/api/meta"
)

// TestNamedPatches shows what JSON patches with names in their paths do to a Deployment, and what they are refused for.
func TestNamedPatches(t *testing.T) {
	const (
		pod     = "/spec/template/spec"
		manager = pod + "/containers/[name=manager]"
	)
	deployment := func(args, env []any) *unstructured.Unstructured {
		container := map[string]any{"name": "manager", "args": args}
		if env != nil {
			container["env"] = env
		}
		sidecar := map[string]any{"name": "sidecar", "args": []any{"run"}}
		return &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "apps/v1", "kind": "Deployment",
			"metadata": map[string]any{"name": "one", "namespace": "ns", "labels": map[string]any{"app": "one"}},
			"spec":     map[string]any{"template": map[string]any{"spec": map[string]any{"containers": []any{sidecar, container}}}},
		}}
	}
	args := []any{"--a=1", "--b", "--r=1", "--r=2"}
	tests := map[string]struct {
		reason string
		patch  string
		args   []any // of the manager, or as before
		env    []any
		err    string
	}{
		"ReplaceArgument": {
			reason: "An argument is found by its name, whatever its value.",
			patch:  `[{"op":"replace","path":"` + manager + `/args/[--a]","value":"--a=2"}]`,
			args:   []any{"--a=2", "--b", "--r=1", "--r=2"},
		},
		"ReplaceSwitch": {
			reason: "A switch is found too.",
			patch:  `[{"op":"replace","path":"` + manager + `/args/[--b]","value":"--b=false"}]`,
			args:   []any{"--a=1", "--b=false", "--r=1", "--r=2"},
		},
		"AddArgumentThatIsThere": {
			reason: "Adding what is there replaces it, as it does for fields: the patch may be applied to a manifest that has it already.",
			patch:  `[{"op":"add","path":"` + manager + `/args/[--a]","value":"--a=2"}]`,
			args:   []any{"--a=2", "--b", "--r=1", "--r=2"},
		},
		"AddNewArgument": {
			reason: "What is not there comes last.",
			patch:  `[{"op":"add","path":"` + manager + `/args/[--c]","value":"--c"}]`,
			args:   []any{"--a=1", "--b", "--r=1", "--r=2", "--c"},
		},
		"OneAfterTheOther": {
			reason: "Each operation sees what those before it did.",
			patch: `- {op: remove, path: "` + manager + `/args/[--a]"}
- {op: replace, path: "` + manager + `/args/[--b]", value: --b=true}
- {op: add, path: "` + pod + `/containers/1/args/-", value: --last}`,
			args: []any{"--b=true", "--r=1", "--r=2", "--last"},
		},
		"Environment": {
			reason: "Objects are found by any of their fields.",
			patch:  `[{"op":"add","path":"` + manager + `/env/[name=A]","value":{"name":"A","value":"2"}},{"op":"replace","path":"` + manager + `/env/[value=2]/value","value":"3"}]`,
			env:    []any{map[string]any{"name": "A", "value": "3"}},
		},
		"From": {
			reason: "The place to move from may have a name too.",
			patch:  `[{"op":"move","from":"` + manager + `/args/[--a]","path":"` + manager + `/args/-"}]`,
			args:   []any{"--b", "--r=1", "--r=2", "--a=1"},
		},
		"NoSuchElement": {
			reason: "A patch that would change nothing is a mistake.",
			patch:  `[{"op":"replace","path":"` + pod + `/containers/[name=proxy]/image","value":"x"}]`,
			err:    `apply spec.kustomize.patches[0]: Deployment "one": replace "/spec/template/spec/containers/[name=proxy]/image": there is no element "[name=proxy]"`,
		},
		"AddBelowNoSuchElement": {
			reason: "Only the last part of a path is added.",
			patch:  `[{"op":"add","path":"` + pod + `/containers/[name=proxy]/image","value":"x"}]`,
			err:    `apply spec.kustomize.patches[0]: Deployment "one": add "/spec/template/spec/containers/[name=proxy]/image": there is no element "[name=proxy]"`,
		},
		"Ambiguous": {
			reason: "Which one is meant is not guessed.",
			patch:  `[{"op":"remove","path":"` + manager + `/args/[--r]"}]`,
			err:    `apply spec.kustomize.patches[0]: Deployment "one": remove "/spec/template/spec/containers/[name=manager]/args/[--r]": "[--r]" is the name of 2 elements`,
		},
		"NoName": {
			reason: "What is in brackets has one of two forms.",
			patch:  `[{"op":"remove","path":"` + pod + `/containers/[manager]/args"}]`,
			err:    `apply spec.kustomize.patches[0]: Deployment "one": remove "/spec/template/spec/containers/[manager]/args": "manager" is neither key=value nor --argument`,
		},
		"TestFails": {
			reason: "An operation that fails is told with its object.",
			patch:  `[{"op":"test","path":"` + manager + `/args/[--a]","value":"--a=9"}]`,
			err:    `apply spec.kustomize.patches[0]: Deployment "one": test "/spec/template/spec/containers/[name=manager]/args/[--a]": testing value /spec/template/spec/containers/1/args/0 failed: test failed`,
		},
		"NoList": {
			reason: "A name of what is no list names nothing.",
			patch:  `[{"op":"replace","path":"/metadata/labels/[app=one]","value":"x"}]`,
			err:    `apply spec.kustomize.patches[0]: Deployment "one": replace "/metadata/labels/[app=one]": there is no list in which to find "[app=one]"`,
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			var env []any
			if tc.env != nil {
				env = []any{map[string]any{"name": "A", "value": "1"}}
			}
			got, err := patch([]*unstructured.Unstructured{deployment(args, env)}, &fluxv1.Kustomize{Patches: []meta.Patch{
				{Patch: tc.patch, Target: &meta.Selector{Group: "apps", Kind: "Deploy.*", LabelSelector: "app=one"}},
			}})
			if tc.err != "" {
				if diff := cmp.Diff(tc.err, fmt.Sprint(err)); diff != "" {
					t.Errorf("%s\n(-want +got):\n%s", tc.reason, diff)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want := args
			if tc.args != nil {
				want = tc.args
			}
			if diff := cmp.Diff([]*unstructured.Unstructured{deployment(want, tc.env)}, got); diff != "" {
				t.Errorf("%s\n(-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

// TestNamedPatchTargets shows which objects a patch with names changes: those that it would change without.
func TestNamedPatchTargets(t *testing.T) {
	object := func(name string) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "v1", "kind": "Service", "metadata": map[string]any{"name": name, "namespace": "ns"},
			"spec": map[string]any{"ports": []any{map[string]any{"name": "http", "port": int64(80)}}},
		}}
	}
	const change = `[{"op":"replace","path":"/spec/ports/[name=http]/port","value":81}]`
	tests := map[string]struct {
		reason string
		target *meta.Selector
		want   []string
		err    string
	}{
		"Name":      {"A name is a whole one.", &meta.Selector{Name: "a"}, []string{"a"}, ""},
		"Pattern":   {"A name is a regular expression.", &meta.Selector{Name: "a.*"}, []string{"a", "aa"}, ""},
		"Namespace": {"All conditions have to hold.", &meta.Selector{Kind: "Service", Namespace: "other"}, nil, ""},
		"All":       {"An empty target is everything.", &meta.Selector{}, []string{"a", "aa", "b"}, ""},
		"None":      {"The library wants one too.", nil, nil, "apply spec.kustomize.patches[0]: a JSON patch needs a target"},
		"Malformed": {"What cannot be selected is told.", &meta.Selector{LabelSelector: "=="}, nil,
			"apply spec.kustomize.patches[0]: target: found '==', expected: !, identifier, or 'end of string'"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			before := []*unstructured.Unstructured{object("a"), object("aa"), object("b")}
			got, err := patch(before, &fluxv1.Kustomize{Patches: []meta.Patch{{Patch: change, Target: tc.target}}})
			if tc.err != "" {
				if diff := cmp.Diff(tc.err, fmt.Sprint(err)); diff != "" {
					t.Errorf("%s\n(-want +got):\n%s", tc.reason, diff)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var changed []string
			for _, o := range got {
				if !cmp.Equal(o, object(o.GetName())) {
					changed = append(changed, o.GetName())
				}
			}
			if diff := cmp.Diff(tc.want, changed); diff != "" {
				t.Errorf("%s\n(-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}
