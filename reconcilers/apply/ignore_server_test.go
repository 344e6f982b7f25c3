package apply_test

import (
	"encoding/json"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/apply"
	"github.com/weir-dev/weir/reconcilers/health"
)

// applyAs applies a document as another manager, with force.
func (b *bench) applyAs(manager, doc string) {
	b.t.Helper()
	for _, u := range b.objects(doc) {
		body, err := json.Marshal(u.Object)
		if err != nil {
			b.t.Fatal(err)
		}
		if _, err := b.admin.Apply(b.ctx(), access.Of(u), body, access.ApplyOptions{Manager: manager, Force: true}); err != nil {
			b.t.Fatal(err)
		}
	}
}

// field returns a field of a live object as JSON, or nothing.
func (b *bench) field(ref access.Ref, path ...string) string {
	b.t.Helper()
	v, ok, err := unstructured.NestedFieldNoCopy(b.get(ref).Object, path...)
	if err != nil || !ok {
		return ""
	}
	raw, err := json.Marshal(v)
	if err != nil {
		b.t.Fatal(err)
	}
	return string(raw)
}

// owns tells whether the manager has the field with its server-side apply.
func (b *bench) owns(ref access.Ref, manager, field string) bool {
	b.t.Helper()
	for _, e := range b.get(ref).GetManagedFields() {
		if e.Manager == manager && strings.Contains(e.FieldsV1.GetRawString(), `"f:`+field+`"`) {
			return true
		}
	}
	return false
}

func replicas() []meta.IgnoreRule {
	return []meta.IgnoreRule{{Paths: []string{"/spec/replicas"}, Target: &meta.Selector{Kind: "Deployment"}}}
}

func TestIgnoredFields(t *testing.T) {
	const scaled = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: app, namespace: NS}
spec: {replicas: 5}
`
	more := strings.ReplaceAll(three, "app:1", "app:2")
	deployment := func(b *bench) access.Ref { return b.ref("Deployment", "app") }
	config := func(b *bench) access.Ref { return b.ref("ConfigMap", "config") }
	type step struct {
		set  string // applied after the change, once as it is and once more
		want []string
	}
	none := []string{}
	cases := map[string]struct {
		reason string
		rules  []meta.IgnoreRule
		change func(b *bench)
		drift  bool // the change wakes the owner
		step
		object func(b *bench) access.Ref
		path   []string
		value  string
		owned  bool // the field is still ours
	}{
		"scaled by another applier": {
			reason: "a field of another applier is released, and nothing is told",
			rules:  replicas(),
			change: func(b *bench) { b.applyAs("scaler", scaled) }, drift: true,
			step: step{three, none}, object: deployment, path: []string{"spec", "replicas"}, value: "5",
		},
		"scaled by an update": {
			reason: "so is one of a controller that updates",
			rules:  replicas(),
			change: func(b *bench) { b.edit(deployment(b), "scaler", `{"spec":{"replicas":5}}`) }, drift: true,
			step: step{three, none}, object: deployment, path: []string{"spec", "replicas"}, value: "5",
		},
		"scaled and another revision": {
			reason: "another revision does not touch it either",
			rules:  replicas(),
			change: func(b *bench) { b.applyAs("scaler", scaled) }, drift: true,
			step:   step{more, []string{"Deployment/NS/app configured"}},
			object: deployment, path: []string{"spec", "replicas"}, value: "5",
		},
		"scaled by kubectl": {
			reason: "kubectl keeps what is ignored, though its fields are taken over otherwise",
			rules:  replicas(),
			change: func(b *bench) { b.edit(deployment(b), "kubectl-edit", `{"spec":{"replicas":5}}`) }, drift: true,
			step: step{three, none}, object: deployment, path: []string{"spec", "replicas"}, value: "5",
		},
		"scaled and more by kubectl": {
			reason: "what else kubectl has is taken over, and the ignored value stays, as ours",
			rules:  replicas(),
			change: func(b *bench) {
				b.edit(deployment(b), "kubectl-edit", `{"spec":{"replicas":5,"minReadySeconds":3}}`)
			}, drift: true,
			step:   step{three, []string{"Deployment/NS/app configured"}},
			object: deployment, path: []string{"spec", "replicas"}, value: "5", owned: true,
		},
		"changed in the set only": {
			reason: "of a field that is ours alone, the value in the cluster is kept",
			rules:  replicas(),
			step:   step{strings.ReplaceAll(three, "replicas: 1", "replicas: 3"), none},
			object: deployment, path: []string{"spec", "replicas"}, value: "1", owned: true,
		},
		"another object": {
			reason: "a rule that selects other objects does nothing",
			rules:  []meta.IgnoreRule{{Paths: []string{"/spec/replicas"}, Target: &meta.Selector{Kind: "Deploy", Name: "ap"}}},
			change: func(b *bench) { b.edit(deployment(b), "scaler", `{"spec":{"replicas":5}}`) }, drift: true,
			step:   step{three, []string{"Deployment/NS/app configured"}},
			object: deployment, path: []string{"spec", "replicas"}, value: "1", owned: true,
		},
		"selected by expressions": {
			reason: "names and kinds are expressions, labels and annotations are selected",
			rules: []meta.IgnoreRule{{Paths: []string{"/spec/replicas"}, Target: &meta.Selector{
				Group: "apps", Version: "v.", Kind: "Deploy.*", Name: "a.p", LabelSelector: "kustomize.toolkit.fluxcd.io/name=app",
			}}},
			change: func(b *bench) { b.edit(deployment(b), "scaler", `{"spec":{"replicas":5}}`) }, drift: true,
			step: step{three, none}, object: deployment, path: []string{"spec", "replicas"}, value: "5",
		},
		"not only what is ignored": {
			reason: "other drift of the same object is put back",
			rules:  replicas(),
			change: func(b *bench) {
				b.edit(deployment(b), "scaler", `{"spec":{"replicas":5,"template":{"metadata":{"labels":{"app":"app"}},"spec":{"containers":[{"name":"app","image":"other"}]}}}}`)
			}, drift: true,
			step:   step{three, []string{"Deployment/NS/app configured"}},
			object: deployment, path: []string{"spec", "replicas"}, value: "5",
		},
		"in a list": {
			reason: "a pointer may lead through a list",
			rules:  []meta.IgnoreRule{{Paths: []string{"/spec/template/spec/containers/0/image"}}},
			change: func(b *bench) {
				b.applyAs("updater", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: app, namespace: NS}\n"+
					"spec: {selector: {matchLabels: {app: app}}, template: {spec: {containers: [{name: app, image: other}]}}}")
			}, drift: true,
			step: step{three, none}, object: deployment, path: []string{"spec", "template", "spec", "containers"},
			value: `[{"env":[{"name":"A\u003cB\u003e\u0026C","value":"x"}],"image":"other","imagePullPolicy":"IfNotPresent","name":"app","resources":{},` +
				`"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File"}]`,
			owned: true,
		},
		"a whole map": {
			reason: "a pointer to a map is for all in it, also for what is gone",
			rules:  []meta.IgnoreRule{{Paths: []string{"/data"}}},
			change: func(b *bench) { b.edit(config(b), "somebody", `{"data":{"key":null,"added":"x"}}`) }, drift: true,
			step: step{three, none}, object: config, path: []string{"data"}, value: `{"added":"x"}`,
		},
		"a whole object": {
			reason: "an empty pointer is for the whole object",
			rules:  []meta.IgnoreRule{{Paths: []string{""}, Target: &meta.Selector{Kind: "ConfigMap"}}},
			change: func(b *bench) { b.edit(config(b), "somebody", `{"data":{"key":"x"}}`) }, drift: true,
			step: step{strings.ReplaceAll(three, "key: value", "key: other"), none}, object: config, path: []string{"data", "key"}, value: `"x"`,
		},
		"a key with a slash": {
			reason: "pointers are escaped, and what does not exist is no error",
			rules:  []meta.IgnoreRule{{Paths: []string{"/metadata/annotations/example.com~1key", "/no/such/0/field"}}},
			change: func(b *bench) {
				b.edit(config(b), "somebody", `{"metadata":{"annotations":{"example.com/key":"x"}}}`)
			}, drift: true,
			step:   step{three, none},
			object: config, path: []string{"metadata", "annotations", "example.com/key"}, value: `"x"`,
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			annotated := func(set string) string {
				return strings.ReplaceAll(set, "metadata: {name: config,", "metadata: {annotations: {example.com/key: ours}, name: config,")
			}
			b.mustApply(annotated(three), apply.Options{Ignore: c.rules})
			same(t, "the fields are created as desired", []string{`1`, `"value"`},
				[]string{b.field(deployment(b), "spec", "replicas"), b.field(config(b), "data", "key")})
			if c.change != nil {
				c.change(b)
			}
			if c.drift {
				same(t, "the owner looks at it", health.Drifted, b.wake())
			}
			b.counter.Take()
			same(t, c.reason, c.want, b.anonymous(b.mustApply(annotated(c.set), apply.Options{Ignore: c.rules})))
			b.counter.Take()
			same(t, "again", none, b.mustApply(annotated(c.set), apply.Options{Ignore: c.rules}))
			b.requests("which costs nothing", map[string]int{})
			same(t, "the value", c.value, b.field(c.object(b), c.path...))
			same(t, "ours", c.owned, b.owns(c.object(b), "kustomize-controller", strings.Split(c.path[len(c.path)-1], ".")[0]))

			b.restart()
			same(t, "nothing changes after a restart", none, b.mustApply(annotated(c.set), apply.Options{Ignore: c.rules}))
			same(t, "the value", c.value, b.field(c.object(b), c.path...))
			same(t, "nobody was woken", 0, len(b.woken))
		})
	}
}

func TestIgnoredFieldIsEditedAgainAndAgain(t *testing.T) {
	b := newBench(t)
	o := apply.Options{Ignore: replicas(), Digest: "1"}
	b.mustApply(three, o)
	deployment := b.ref("Deployment", "app")
	b.edit(deployment, "scaler", `{"spec":{"replicas":2}}`)
	b.wake()
	b.counter.Take()
	same(t, "the first edit is looked at", []string{}, b.mustApply(three, o))
	b.requests("with a read, and an apply that changes nothing", map[string]int{"get": 1, "apply": 1})
	for range 6 {
		b.edit(deployment, "scaler", `{"spec":{"replicas":3}}`)
		b.edit(deployment, "scaler", `{"spec":{"replicas":2}}`)
	}
	b.edit(b.ref("ConfigMap", "config"), "somebody", `{"data":{"key":"edited"}}`)
	b.wake()
	r, err := b.apply(three, o)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "those after it are not", []string{"ConfigMap/NS/config configured"}, b.anonymous(lines(r.Changes)))
	same(t, "it is no fight", 0, len(r.Fights))

	same(t, "without the rule, the field is as desired", []string{"Deployment/NS/app configured"},
		b.anonymous(b.mustApply(three, apply.Options{Digest: "2"})))
	same(t, "the value", "1", b.field(deployment, "spec", "replicas"))
}

func TestIgnoredFieldOfWhatIsCreatedAnew(t *testing.T) {
	b := newBench(t)
	o := apply.Options{Ignore: replicas(), Force: true}
	b.mustApply(three, o)
	b.applyAs("scaler", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: app, namespace: NS}\nspec: {replicas: 5}")
	b.wake()
	other := strings.ReplaceAll(three, "app: app}", "app: other}")
	same(t, "only the refused object is created anew", true,
		strings.Contains(strings.Join(b.mustApply(other, o), "\n"), "Deployment/"+b.namespace+"/app created"))
	same(t, "as desired", "1", b.field(b.ref("Deployment", "app"), "spec", "replicas"))
	if err := b.admin.Delete(b.ctx(), b.ref("Deployment", "app"), access.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	b.wake()
	same(t, "what was deleted, too", []string{"Deployment/NS/app created"}, b.anonymous(b.mustApply(other, o)))
}

func TestIgnoreRulesThatCannotBeRead(t *testing.T) {
	cases := map[string]struct {
		rule meta.IgnoreRule
		want string
	}{
		"path":        {meta.IgnoreRule{Paths: []string{"spec/replicas"}}, `invalid ignore rule 1: path "spec/replicas" is not a JSON pointer: it does not begin with a slash`},
		"many":        {meta.IgnoreRule{Paths: make([]string, 1001)}, "the ignore rules have more than 1000 paths"},
		"kind":        {meta.IgnoreRule{Target: &meta.Selector{Kind: "("}}, `invalid ignore rule 1: target "(": error parsing regexp: missing closing ): ` + "`^(?:()$`"},
		"labels":      {meta.IgnoreRule{Target: &meta.Selector{LabelSelector: "!!"}}, `invalid ignore rule 1: label selector "!!": unable to parse requirement: found '!', expected: identifier`},
		"annotations": {meta.IgnoreRule{Target: &meta.Selector{AnnotationSelector: "!!"}}, `invalid ignore rule 1: annotation selector "!!": unable to parse requirement: found '!', expected: identifier`},
	}
	b := newBench(t)
	for name, c := range cases {
		_, err := b.apply(three, apply.Options{Ignore: []meta.IgnoreRule{c.rule}})
		got := ""
		if err != nil {
			got = err.Error()
		}
		same(t, name, c.want, got)
		if _, err := b.admin.Get(b.ctx(), b.ref("Service", "app")); !apierrors.IsNotFound(err) {
			t.Error("something was applied")
		}
	}
}
