package build

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	"github.com/weir-dev/weir/api/meta"
)

type variable struct {
	name, value string
	secret      bool
}

func variablesOf(t testing.TB, list ...variable) *Variables {
	t.Helper()

	v := &Variables{}
	for _, e := range list {
		if err := v.Set(e.name, e.value, e.secret); err != nil {
			t.Fatal(err)
		}
	}

	return v
}

func TestSubstitution(t *testing.T) {
	data := func(lines string) string {
		return "apiVersion: v1\ndata:\n  " + strings.ReplaceAll(lines, "\n", "\n  ") + "\nkind: ConfigMap\nmetadata:\n  name: a\n"
	}

	marked := func(kind, value string) string {
		return strings.Replace(data("k: ${X}"), "metadata:\n", "metadata:\n  "+kind+":\n    "+kustomizev1.SubstituteMark+": "+value+"\n", 1)
	}

	cases := map[string]struct {
		reason    string
		in        string
		variables []variable
		always    bool
		spec      Spec
		want      string
		err       []string
		never     string
	}{
		"Value": {
			reason: "A variable is replaced everywhere, with its newlines removed; a bare dollar sign stays.",
			in:     data("k: a-${X}-b $X"), variables: []variable{{name: "X", value: "o\nn\n"}},
			want: data("k: a-on-b $X"),
		},
		"Typed": {
			reason: "A value becomes a number, unless it has quotes in it: those of the manifest are gone.",
			in:     data("n: \"${N}\"\nq: ${Q}"), variables: []variable{{name: "N", value: "9797"}, {name: "Q", value: `"9797"`}},
			want: data("\"n\": 9797\nq: \"9797\""),
		},
		"Empty": {
			reason: "A variable that is set to nothing is null.",
			in:     data("k: ${X}"), variables: []variable{{name: "X"}},
			want: data("k: null"),
		},
		"Operators": {
			reason:    "Defaults, cases, lengths and cuts work as documented.",
			in:        data("a: ${U:-d}\nb: ${U:=${X}}\nc: ${X^^}\nd: \"x${#X}\"\ne: ${X:1:2}\nf: ${X/bc/y}\ng: $${X}"),
			variables: []variable{{name: "X", value: "abcd"}},
			want:      data("a: d\nb: abcd\nc: ABCD\nd: x4\ne: bc\nf: ayd\ng: ${X}"),
		},
		"Name": {
			reason: "Names and keys are replaced too.",
			in:     strings.Replace(data("${X}: v"), "name: a", "name: ${X}", 1), variables: []variable{{name: "X", value: "n1"}},
			want: strings.Replace(data("n1: v"), "name: a", "name: n1", 1),
		},
		"NoVariables": {
			reason: "Without variables nothing is substituted.",
			in:     data("k: ${X}"), want: data("k: ${X}"),
		},
		"Always": {
			reason: "Unless it always is.",
			in:     data("k: ${X:-d}"), always: true, want: data("k: d"),
		},
		"DisabledByLabel": {
			reason: "A label keeps an object as it is.",
			in:     marked("labels", "disabled"), variables: []variable{{name: "X", value: "v"}},
			want: marked("labels", "disabled"),
		},
		"DisabledByAnnotation": {
			reason: "So does an annotation.",
			in:     marked("annotations", "disabled"), variables: []variable{{name: "X", value: "v"}},
			want: marked("annotations", "disabled"),
		},
		"DisabledIsCaseSensitive": {
			reason: "Only the exact value counts.",
			in:     marked("labels", "Disabled"), variables: []variable{{name: "X", value: "v"}},
			want: strings.Replace(marked("labels", "Disabled"), "${X}", "v", 1),
		},
		"CommonMetadata": {
			reason: "Common metadata is not substituted.",
			in:     data("k: ${X}"), variables: []variable{{name: "X", value: "v"}},
			spec: Spec{CommonMetadata: &meta.CommonMetadata{Labels: map[string]string{"l": "${X}"}}},
			want: strings.Replace(data("k: v"), "metadata:\n", "metadata:\n  labels:\n    l: ${X}\n", 1),
		},
		"Undefined": {
			reason: "An undefined variable is an error.",
			in:     data("k: ${Y}"), variables: []variable{{name: "X", value: "v"}},
			err: []string{`post build failed for 'ConfigMap.v1.[noGrp]/a': envsubst error: variable not set (strict mode): "Y"`},
		},
		"UndefinedTransformed": {
			reason: "Operators other than defaults do not excuse it.",
			in:     data("k: ${Y^^}"), always: true,
			err: []string{`variable not set (strict mode): "Y"`},
		},
		"NotYAML": {
			reason: "A value may break the YAML; the error says where.",
			in:     data("k: ${X}"), variables: []variable{{name: "X", value: "a: b: c"}},
			err: []string{"post build failed for 'ConfigMap.v1.[noGrp]/a': the result is not a YAML object: ", "line 3"},
		},
		"SecretNotYAML": {
			reason: "The error does not quote a secret.",
			in:     data("k: ${X}"), variables: []variable{{name: "X", value: "hunter: hunter2: hunter", secret: true}},
			err:   []string{"the result is not a YAML object: line 3"},
			never: "hunter",
		},
		"SecretNotObject": {
			reason: "Not when the object becomes something else either.",
			in:     data("k: ${X}"), variables: []variable{{name: "X", value: "[hunter2", secret: true}},
			err: []string{"the result is not a YAML object"}, never: "hunter",
		},
		"NameLost": {
			reason: "An object must have a name afterwards.",
			in:     strings.Replace(data("k: v"), "name: a", "name: ${X}", 1), variables: []variable{{name: "X"}},
			err: []string{"failed to decode Kubernetes apiVersion, kind and name from: "},
		},
		"TooMuch": {
			reason:    "Variables must not blow an object up.",
			in:        data("k: " + strings.Repeat("${X}", 20)),
			variables: []variable{{name: "X", value: strings.Repeat("x", 1<<20)}},
			err:       []string{"the variables add more than"},
		},
		"TooMuchReplaced": {
			reason:    "Nor may what a function puts in the place of a part of the value.",
			in:        data("k: ${X//x/" + strings.Repeat("y", 1000) + "}"),
			variables: []variable{{name: "X", value: strings.Repeat("x", 1<<20)}},
			err:       []string{"the variables add more than"},
		},
		"TooMuchNested": {
			reason:    "Functions in the arguments of functions multiply.",
			in:        data("k: ${X//x/${X//x/${X//x/xx}}}"),
			variables: []variable{{name: "X", value: strings.Repeat("x", 1000)}},
			err:       []string{"the variables add more than"},
		},
		"Replaced": {
			reason:    "What fits is replaced.",
			in:        data("k: ${X//x/${Y}}"),
			variables: []variable{{name: "X", value: strings.Repeat("x", 3)}, {name: "Y", value: "y-"}},
			want:      data("k: y-y-y-"),
		},
		"TooSlow": {
			reason:    "A pattern is not tried at a million places of a million prefixes.",
			in:        data("k: ${X##*y}"),
			variables: []variable{{name: "X", value: strings.Repeat("x", 1<<20)}},
			err:       []string{"too long to cut a pattern off"},
		},
		"TooDeep": {
			reason:    "The parser must not get to the end of its stack, which would end the process.",
			in:        data("k: '" + strings.Repeat("${X:=", 400_000) + "'"),
			variables: []variable{{name: "X", value: "v"}},
			err:       []string{"more than 50000 dollar signs"},
		},
		"TooMuchInAll": {
			reason:    "Many objects must not be blown up a bit each.",
			in:        manyConfigMaps(7, strings.Repeat("${X}", 10)),
			variables: []variable{{name: "X", value: strings.Repeat("x", 1<<20)}},
			err:       []string{"to all objects"},
		},
		"TooLarge": {
			reason:    "An object that fits into no cluster is not looked at.",
			in:        data("k: ${X}" + strings.Repeat("x", maxText)),
			variables: []variable{{name: "X", value: "v"}},
			err:       []string{"more than 4194304 bytes"},
		},
	}

	b := New(Options{})

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			set, err := b.Build(context.Background(), Request{
				Dir:  files{"a.yaml": tc.in}.write(t),
				Spec: tc.spec, Variables: variablesOf(t, tc.variables...), Always: tc.always,
			})

			if tc.err != nil {
				wantError(t, tc.reason, err, tc.err...)

				if tc.never != "" && strings.Contains(err.Error(), tc.never) {
					t.Errorf("%s\nBuild(): error %q has a secret", tc.reason, err)
				}

				return
			}

			if err != nil {
				t.Fatalf("%s\nBuild(): %v", tc.reason, err)
			}

			if diff := cmp.Diff(tc.want, set.stream(t)); diff != "" {
				t.Errorf("%s\nBuild(): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func manyConfigMaps(n int, value string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a%d\ndata:\n  k: %s\n---\n", i, value)
	}

	return b.String()
}

func TestVariableNames(t *testing.T) {
	for name, valid := range map[string]bool{
		"a": true, "_": true, "A_1": true, "": false, "1a": false, "a-b": false, "a.b": false, "ä": false, "a\n": false,
	} {
		err := (&Variables{}).Set(name, "", false)
		if valid != (err == nil) {
			t.Errorf("Set(%q): error %v, want valid %v", name, err, valid)
		}

		want := "'" + name + `' var name is invalid, must match '^[_[:alpha:]][_[:alpha:][:digit:]]*$'`
		if err != nil && err.Error() != want {
			t.Errorf("Set(%q): error %q, want %q", name, err, want)
		}
	}
}

func TestRedact(t *testing.T) {
	v := variablesOf(t,
		variable{"A", "s3cret", true}, variable{"B", "s3cret-longer", true}, variable{"C", "open", false},
		variable{"D", "x", true}, variable{"E", "was-secret", true}, variable{"E", "no-more", false})

	got := v.Redact("s3cret s3cret-longer open x no-more")
	if want := "***** ***** open x no-more"; got != want {
		t.Errorf("Redact(): %q, want %q", got, want)
	}

	odd := variablesOf(t, variable{"A", `a<b>"c\`, true})
	if got, want := odd.Redact(`{"data":"a\u003cb\u003e\"c\\-x"} 'a<b>"c\'`), `{"data":"*****-x"} '*****'`; got != want {
		t.Errorf("Redact(): %s, want %s", got, want) // as plans and API servers write it
	}

	var none *Variables
	if got := none.Redact("text"); got != "text" || none.Len() != 0 || none.Digest() != "" {
		t.Errorf("no variables: %q, %d, %q", got, none.Len(), none.Digest())
	}
}

func TestVariablesDigest(t *testing.T) {
	a := variablesOf(t, variable{"A", "1", false}, variable{"B", "2", false})
	same := variablesOf(t, variable{"B", "2", true}, variable{"A", "1", false})
	other := variablesOf(t, variable{"A", "12", false}, variable{"B", "", false})

	if a.Digest() != same.Digest() || a.Digest() == other.Digest() {
		t.Errorf("digests %s, %s, %s: want the first two equal", a.Digest(), same.Digest(), other.Digest())
	}
}

// TestLenient holds what becomes of variables that are not set where that is no error.
func TestLenient(t *testing.T) {
	b := New(Options{Lenient: true})
	in := "apiVersion: v1\ndata:\n  a: x${Y}y\n  b: ${Y:-d}\n  c: x${Y^^}\n  d: ${X}\nkind: ConfigMap\nmetadata:\n  name: a\n"

	set, err := b.Build(context.Background(), Request{
		Dir: files{"a.yaml": in}.write(t), Variables: variablesOf(t, variable{name: "X", value: "v"}),
	})
	if err != nil {
		t.Fatal(err)
	}

	want := "apiVersion: v1\ndata:\n  a: xy\n  b: d\n  c: x\n  d: v\nkind: ConfigMap\nmetadata:\n  name: a\n"
	if diff := cmp.Diff(want, set.stream(t)); diff != "" {
		t.Errorf("Build(): -want, +got:\n%s", diff)
	}
}
