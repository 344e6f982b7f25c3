package kustomize_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/build"
	"github.com/weir-dev/weir/reconcilers/kustomize"
)

// TestContractOperators holds what each operator of a variable gives.
func TestContractOperators(t *testing.T) {
	variables := map[string]string{
		"v": "Hello.tar.gz", "path": "a/b/c", "low": "abc", "up": "ABC", "empty": "", "lines": "one\ntwo\n", "quote": `"`, "n": "9797",
		"_A1": "named", "nested": "$${low}",
	}

	cases := map[string]struct{ text, want string }{
		"Plain":              {"${v}", "Hello.tar.gz"},
		"Name":               {"${_A1}", "named"},
		"InText":             {"<${low}-${up}>", "<abc-ABC>"},
		"Dollar":             {"$low", "$low"},
		"Escaped":            {"$${low}", "${low}"},
		"ValueIsNoTemplate":  {"${nested}", "$${low}"},
		"Newlines":           {"${lines}", "onetwo"},
		"Quoted":             {"${quote}${n}${quote}", "9797"},
		"DefaultUnused":      {"${low:-d}", "abc"},
		"DefaultOfUnset":     {"${x:-d}", "d"},
		"AssignOfUnset":      {"${x:=d}", "d"},
		"AssignOfUnset2":     {"${x=d}", "d"},
		"DefaultOfEmpty":     {"${empty:-d}", "d"},
		"Nested":             {"${x:=${low}}", "abc"},
		"NestedTwice":        {"${x:-${y:-${up}}}", "ABC"},
		"Length":             {"n${#low}", "n3"},
		"UpperFirst":         {"${low^}", "Abc"},
		"Upper":              {"${low^^}", "ABC"},
		"LowerFirst":         {"${up,}", "aBC"},
		"Lower":              {"${up,,}", "abc"},
		"From":               {"${low:1}", "bc"},
		"FromTo":             {"${v:0:5}", "Hello"},
		"ShortestPrefix":     {"${path#*/}", "b/c"},
		"LongestPrefix":      {"${path##*/}", "c"},
		"ShortestSuffix":     {"${v%.*}", "Hello.tar"},
		"LongestSuffix":      {"${v%%.*}", "Hello"},
		"Replace":            {"${v/l/L}", "HeLlo.tar.gz"},
		"ReplaceAll":         {"${v//l/L}", "HeLLo.tar.gz"},
		"ReplacePrefix":      {"${v/#He/Je}", "Jello.tar.gz"},
		"ReplaceSuffix":      {"${v/%gz/xz}", "Hello.tar.xz"},
		"ReplaceSlash":       {`${path//\//-}`, "a-b-c"},
		"EmptyIsDefined":     {"<${empty}>", "<>"},
		"InKeysAndElsewhere": {"${low}: ${up}", "abc: ABC"},
	}

	e := newEnv(t)

	var manifest strings.Builder

	manifest.WriteString("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: NS}\ndata:\n")

	for name, tc := range cases {
		manifest.WriteString("  " + name + ": |-\n    " + tc.text + "\n")
	}

	e.publish("repo", "main@sha1:1", map[string]string{"a.yaml": manifest.String()})
	e.kustomization("app", func(s *kustomizev1.KustomizationSpec) { s.PostBuild = &kustomizev1.PostBuild{Substitute: variables} })

	if obj, _ := e.once("app"); says(obj, meta.ReadyCondition) != "True ReconciliationSucceeded: Applied revision: main@sha1:1" {
		t.Fatal(says(obj, meta.ReadyCondition))
	}

	got := e.data("a")
	for name, tc := range cases {
		if got[name] != tc.want {
			t.Errorf("%s: %s gives %q, want %q", name, tc.text, got[name], tc.want)
		}
	}
}

// TestContractSubstitute holds whose variables count, what is exempt, and what is refused.
func TestContractSubstitute(t *testing.T) {
	marked := func(where, value string) string {
		return strings.Replace(configMap("a", "${X}"), "metadata:\n", "metadata:\n  "+where+": {kustomize.toolkit.fluxcd.io/substitute: "+value+"}\n", 1)
	}
	from := func(refs ...kustomizev1.SubstituteReference) *kustomizev1.PostBuild {
		return &kustomizev1.PostBuild{SubstituteFrom: refs}
	}
	set := func(name, value string) *kustomizev1.PostBuild {
		return &kustomizev1.PostBuild{Substitute: map[string]string{name: value}}
	}

	const failed = "False BuildFailed: post build failed for 'ConfigMap.v1.[noGrp]/a': envsubst error: "

	cases := map[string]struct {
		reason  string
		file    string
		post    *kustomizev1.PostBuild
		lenient bool
		want    string // of the key
		ready   string // of a failure
	}{
		"Order": {
			reason: "The last reference wins, and those of the spec win over all.",
			file:   configMap("a", "${ONE} ${TWO} ${THREE}"),
			post: &kustomizev1.PostBuild{
				Substitute:     map[string]string{"THREE": "spec"},
				SubstituteFrom: []kustomizev1.SubstituteReference{{Kind: "ConfigMap", Name: "vars"}, {Kind: "Secret", Name: "vars"}},
			},
			want: "config secret spec",
		},
		"Without": {"Without variables nothing is substituted.", configMap("a", "${X}"), &kustomizev1.PostBuild{}, false, "${X}", ""},
		"OptionalOnly": {
			"Nor with a reference to nothing.", configMap("a", "${X}"),
			from(kustomizev1.SubstituteReference{Kind: "Secret", Name: "none", Optional: true}), false, "${X}", "",
		},
		"Always": {
			"Unless the strategy says so.", configMap("a", "${X:-d}"),
			&kustomizev1.PostBuild{SubstituteStrategy: kustomizev1.SubstituteAlways}, false, "d", "",
		},
		"Label":      {"A label keeps an object as it is.", marked("labels", "disabled"), set("X", "v"), false, "${X}", ""},
		"Annotation": {"So does an annotation.", marked("annotations", "disabled"), set("X", "v"), false, "${X}", ""},
		"Case":       {"But not in another case.", marked("labels", "Disabled"), set("X", "v"), false, "v", ""},
		"Strict": {
			"A variable that is not set is an error.", configMap("a", "${Y}"), set("X", "v"), false, "",
			failed + `variable not set (strict mode): "Y"`,
		},
		"StrictUpper": {
			"Also behind an operator.", configMap("a", "${Y^^}"), set("X", "v"), false, "",
			failed + `variable not set (strict mode): "Y"`,
		},
		"NoOperator": {
			"What looks like an operator and is none is an error.", configMap("a", "${X+y}"), set("X", "v"), false, "",
			failed + "missing closing brace",
		},
		"Lenient":      {"Where it is none, it is empty.", configMap("a", "<${Y}>"), set("X", "v"), true, "<>", ""},
		"LenientUpper": {"Also behind an operator.", configMap("a", "<${Y^^}>"), set("X", "v"), true, "<>", ""},
		"NoConfigMap": {
			"A reference that is not optional has to be there.", configMap("a", "1"),
			from(kustomizev1.SubstituteReference{Kind: "ConfigMap", Name: "none"}), false, "",
			`False BuildFailed: substitute from 'ConfigMap/none' error: configmaps "none" not found`,
		},
		"NoSecret": {
			"So has a Secret.", configMap("a", "1"), from(kustomizev1.SubstituteReference{Kind: "Secret", Name: "none"}), false, "",
			`False BuildFailed: substitute from 'Secret/none' error: secrets "none" not found`,
		},
		"BadName": {
			"A name has to be one.", configMap("a", "1"), set("a-b", "v"), false, "",
			`False BuildFailed: 'a-b' var name is invalid, must match '^[_[:alpha:]][_[:alpha:][:digit:]]*$'`,
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t, func(d *kustomize.Deps) { d.Builder = build.New(build.Options{Lenient: tc.lenient}) })
			at := metav1.ObjectMeta{Namespace: e.namespace, Name: "vars"}
			e.create(&corev1.ConfigMap{ObjectMeta: at, Data: map[string]string{"ONE": "config", "TWO": "config", "THREE": "config"}})
			e.create(&corev1.Secret{ObjectMeta: at, StringData: map[string]string{"TWO": "secret", "THREE": "secret"}})
			e.publish("repo", "main@sha1:1", map[string]string{"a.yaml": tc.file})
			e.kustomization("app", func(s *kustomizev1.KustomizationSpec) { s.PostBuild = tc.post })

			if tc.ready == "" {
				tc.ready = "True ReconciliationSucceeded: Applied revision: main@sha1:1"
			}

			obj, _ := e.once("app")
			if diff := cmp.Diff([]string{tc.ready, tc.want}, []string{says(obj, meta.ReadyCondition), e.data("a")["key"]}); diff != "" {
				t.Errorf("%s\n-want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestContractTyped holds that a value takes the type that it looks like, unless it has quotes of its own.
func TestContractTyped(t *testing.T) {
	e := newEnv(t)
	e.publish("repo", "main@sha1:1", map[string]string{
		"web.yaml": strings.Replace(deployment("web", "a:1"), "replicas: 1", "replicas: ${REPLICAS}\n  paused: ${PAUSED}", 1),
		"a.yaml":   configMap("a", "${QUOTED}"),
	})
	e.kustomization("app", func(s *kustomizev1.KustomizationSpec) {
		s.PostBuild = &kustomizev1.PostBuild{Substitute: map[string]string{"REPLICAS": "3", "PAUSED": "true", "QUOTED": `"9797"`}}
	})
	e.ready("app")

	for at, want := range map[string]string{
		"Deployment/web spec|replicas": "3", "Deployment/web spec|paused": "true", "ConfigMap/a data|key": "9797",
	} {
		if got := e.read(at); got != want {
			t.Errorf("%s is %q, want %q", at, got, want)
		}
	}
}
