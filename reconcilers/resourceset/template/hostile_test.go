package template_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	v1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/reconcilers/resourceset/template"
)

// templated is a ResourceSet of one input and a resourcesTemplate.
func templated(text string) *v1.ResourceSet {
	rset := &v1.ResourceSet{}
	rset.Name, rset.Namespace = "set", "ns"
	rset.Spec.Inputs = []v1.ResourceSetInput{{
		"secret": {Raw: []byte(`"hunter2"`)},
		"list":   {Raw: []byte(`["hunter2"]`)},
		"number": {Raw: []byte(`7`)},
	}}
	rset.Spec.ResourcesTemplate = text

	return rset
}

func TestHostileTemplates(t *testing.T) {
	t.Parallel()

	const grow = `<< $s := "0123456789" >><< range until 60 >><< $s = print $s $s >><< end >>`

	cases := map[string]struct{ reason, template, want string }{
		"Output": {
			"a short loop prints a lot",
			`<< $s := repeat 4000000 "x" >><< range until 100 >><< $s >><< end >>`, "the template takes too many steps",
		},
		"Recursion": {
			"the library allows a depth that the stack does not",
			`<< define "a" >><< template "a" >><< end >><< template "a" >>`, "templates call templates more than 100 deep",
		},
		"Doubling":     {"a value grows with each round", grow, "the template takes too many steps"},
		"Repeat":       {"one call makes much of little", `<< repeat 1000000000 "x" >>`, "a value is too large"},
		"RepeatLess":   {"the library panics", `<< repeat -1 "x" >>`, "it cannot be called with such arguments"},
		"Until":        {"one call makes a long list", `<< until 1000000000 >>`, "a value is too large"},
		"UntilStep":    {"the sum overflows", `<< untilStep 0 9223372036854775807 4611686018427387904 >>`, "a value is too large"},
		"Seq":          {"one call makes a long text", `<< seq 0 2 1000000000 >>`, "a value is too large"},
		"Indent":       {"one call makes a long text", `<< indent 1000000000 "x" >>`, "a value is too large"},
		"Replace":      {"one call makes a long text", `<< replace "" (repeat 4000 "x") (repeat 4000 "x") >>`, "a value is too large"},
		"RegexReplace": {"one call makes a long text", `<< regexReplaceAll "" (repeat 4000 "x") (repeat 4000 "x") >>`, "a value is too large"},
		"RegexExpand": {
			"a match is put in many times",
			`<< regexReplaceAll ".*" (repeat 40000 "x") (repeat 400 "${0}") >>`, "a value is too large",
		},
		"Regex": {
			"a small expression has a large program",
			`<< regexMatch (repeat 100 "(x{1000})?") (repeat 400000 "x") >>`, "the template takes too many steps",
		},
		"Printf":      {"a verb pads", `<< printf (repeat 100 "%1000000d") 1 >>`, "a value is too large"},
		"PrintfStar":  {"an argument pads", `<< printf "%*d%*d%*d%*d%*d" 1000000 1 1000000 1 1000000 1 1000000 1 1000000 1 >>`, "a value is too large"},
		"PrintfIndex": {"a verb prints an argument again", `<< printf (repeat 4000 "%[1]s") (repeat 4000 "x") >>`, "a value is too large"},
		"Join":        {"a separator comes often", `<< join (repeat 4000 "x") (until 4000) >>`, "a value is too large"},
		"Uniq":        {"each element is compared with all", `<< len (uniq (until 10000)) >>`, "the template takes too many steps"},
		"Cycle": {
			"a map in itself never comes to an end",
			`<< $d := dict >><< $e := dict "d" (list $d) >><< $_ := set $d "e" $e >><< $d >>`, "a map cannot be put into itself",
		},
		"Billion": {
			"a small map stands for a huge text",
			`<< $d := dict >><< range until 60 >><< $d = dict "a" $d "b" $d >><< end >><< $d >>`, "a value is too large",
		},
		"BillionJSON": {
			"a small map stands for a huge text",
			`<< $d := dict >><< range until 60 >><< $d = dict "a" $d "b" $d >><< end >><< toJson $d >>`, "a value is too large",
		},
		"BillionKey": {
			"a key is printed",
			`<< $d := dict >><< range until 60 >><< $d = dict "a" $d "b" $d >><< end >><< $_ := dict $d 1 >>`, "a value is too large",
		},
		"BillionCompared": {
			"the library prints what it cannot compare",
			`<< $d := dict >><< range until 60 >><< $d = dict "a" $d "b" $d >><< end >><< eq $d $d >>`,
			"values of type map[string]interface {} cannot be compared",
		},
		"Method": {
			"methods are not counted",
			`<< $s := repeat 1000 "x" >><< (toDate "2006" "2026").Format $s >>`, "line 1: a value is too large",
		},
		"MethodPiped": {
			"nor if the argument comes from before",
			`<< $d := dict "at" (toDate "2006" "2026") >><< with $d >><< if repeat 1000 "x" | .at.Format >><< end >><< end >>`,
			"a value is too large",
		},
		"MethodLiteral": {
			"nor if it is written there",
			`<< $d := toDate "2006" "2026" >><< range 1 >><< $x := $d.Format "` + strings.Repeat("x", 300) + `" >><< end >>`,
			"a value is too large",
		},
		"MethodInArgument": {
			"nor if it is deep in there",
			`<< $d := toDate "2006" "2026" >><< define "a" >><< end >><< template "a" (print (print ($d.Format (repeat 300 "x")))) >>`,
			"a value is too large",
		},
		"Trim": {
			"each character is looked for in a set",
			`<< trimAll (repeat 100000 "äö") (repeat 100000 "ä") >>`, "the template takes too many steps",
		},
		"Deep": {
			"who prints it calls itself for each level",
			`<< $d := dict >><< range until 2000 >><< $d = dict "a" $d >><< end >><< $d >>`, "a value is nested too deep",
		},
		"Nested": {
			"who executes it calls itself for each level",
			strings.Repeat("<< if true >>", 600) + strings.Repeat("<< end >>", 600), "the blocks are nested more than 500 deep",
		},
		"Blocks": {
			"who parses it calls itself for each level",
			strings.Repeat("<<if 1>>", 100_000), "the template has more than 10000 blocks",
		},
		"Long":       {"more than an object may have", strings.Repeat("x", 3<<20), "the template has 3145728 bytes, more than the limit"},
		"Env":        {"the environment is not there", `<< env "HOME" >>`, `function "env" not defined`},
		"Network":    {"nor is the network", `<< getHostByName "localhost" >>`, `function "getHostByName" not defined`},
		"Now":        {"nor is the clock", `<< now >>`, `function "now" not defined`},
		"Aliases":    {"a small document stands for a huge one", bomb(), "the YAML aliases expand to more than"},
		"AliasLoop":  {"an alias never comes to an end", "a: &a [*a]\nb: *a", "a YAML alias refers to itself"},
		"ManyItems":  {"objects are counted", `<< range until 101 >>` + object + "---\n<< end >>", "there are more objects than is allowed"},
		"ManyInList": {"items are, too", "kind: List\nitems:\n<< range until 101 >>- {apiVersion: v1, kind: A, metadata: {name: a}}\n<< end >>", "there are more objects than is allowed"},

		"ValueInRange":   {"the library quotes the value", `<< range inputs.secret >><< end >>`, "it cannot be evaluated with such a value"},
		"ValueInEq":      {"the library quotes the value", `<< $l := inputs.list >><< eq $l inputs.list >>`, "values of type []interface {} cannot be compared"},
		"ValueInDate":    {"the error of the function quotes it", `<< mustToDate "2006" inputs.secret >>`, "it cannot be called with such arguments"},
		"ValueInPanic":   {"the panic of the function quotes it", `<< regexFind (print inputs.secret "(") "" >>`, "it is no regular expression"},
		"ValueInLiteral": {"the context quotes a literal", `<< mustFromJson "hunter2" >>`, "line 1: mustFromJson: it cannot be called"},
		"ValueInYAML":    {"the YAML library quotes it", "a: *<< inputs.secret >>\nb: &x y", "parse YAML: yaml: unknown anchor"},
		"ValueInField":   {"types are no values", `<< inputs.secret.part >>`, "can't evaluate field part in type interface {}"},
		"Fail":           {"what the template says itself is shown", `<< fail "say hello" >>`, "fail: say hello"},
		"Divide":         {"the runtime panics", `<< div 1 0 >>`, "it cannot be called with such arguments"},
		"NoClock":        {"there is none in these tests", `<< ago 1 >>`, "there is no clock"},

		"LargeDocument": {"it fits into no cluster", "a: |\n  " + strings.Repeat("x", 1_900_000) + `<< repeat 1300000 "x" >>`, "a value is too large"},

		"NoObject":      {"a text is no object", `text`, "document 1 of resourcesTemplate with input [0]: it is no object"},
		"NoKind":        {"an object has a kind", `apiVersion: v1`, "it has no kind"},
		"NoName":        {"and a name", "apiVersion: v1\nkind: A", "it has no metadata.name"},
		"KindIsNumber":  {"a kind is a text", "apiVersion: v1\nkind: 7", "its kind is no text"},
		"Labels":        {"labels are texts", "apiVersion: v1\nkind: A\nmetadata: {name: a, labels: {a: 1}}", "its metadata.labels are no map of texts"},
		"Separator":     {"nothing follows a separator", object + "--- a: b\n", "document 2: something follows after ---"},
		"ItemOfList":    {"a list holds objects", "kind: List\napiVersion: v1\nitems: [1]", "item 0 of the list is no object"},
		"Third":         {"documents are counted", object + "---\n" + object + "---\nkind: A", "document 3 of resourcesTemplate"},
		"BrokenYAML":    {"the line is told", "a: b\n c: d", "document 1 of resourcesTemplate with input [0]: yaml: line 2: mapping values are not allowed in this context"},
		"BrokenActions": {"the line is told", "a: b\n<< if >>", "parse the template: line 2: missing value for if"},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			// Fewer steps and objects than usual, for the detector of races makes each of them slow.
			set, err := render(t.Context(), templated(tc.template), nil, template.Options{MaxSteps: 100_000, MaxObjects: 100})

			if _, ok := errors.AsType[*template.Error](err); !ok {
				t.Fatalf("%s: got %v, %v", tc.reason, set, err)
			}

			if !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s: got %q, want %q", tc.reason, err, tc.want)
			}

			if strings.Contains(err.Error(), "hunter2") || len(err.Error()) > 300 {
				t.Errorf("%s: the error tells a secret, or is long: %q", tc.reason, err)
			}
		})
	}
}

const object = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"

// bomb is a document of a few lines that stands for billions of values.
func bomb() string {
	var b strings.Builder

	b.WriteString("a0: &a0 [" + strings.Repeat("x, ", 10) + "]\n")

	for i := range 9 {
		line := strings.ReplaceAll("aN: &aN [*aM, *aM, *aM, *aM, *aM, *aM, *aM, *aM, *aM, *aM]\n", "M", string(rune('0'+i)))
		b.WriteString(strings.ReplaceAll(line, "N", string(rune('1'+i))))
	}

	return b.String()
}

func TestEndlessTemplates(t *testing.T) {
	t.Parallel()

	cases := map[string]struct{ reason, template string }{
		"EndlessLoop": {
			"a loop without a body calls nothing",
			`<< range 9223372036854775807 >><< end >>`,
		},
		"LoopOfAssignments": {
			"a loop whose body calls nothing",
			`<< $x := 1 >><< range 9223372036854775807 >><< $x = 2 >><< end >>`,
		},
		"LoopsInLoops": {
			"each loop is short",
			`<< range until 10000 >><< range until 10000 >><< range until 10000 >><< end >><< end >><< end >>`,
		},
		"Tree": {
			"each call makes two calls",
			`<< define "a" >><< if gt (len .) 0 >><< template "a" (rest .) >><< template "a" (rest .) >><< end >><< end >>` +
				`<< template "a" (until 60) >>`,
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			_, err := render(t.Context(), templated(tc.template), nil, template.Options{MaxSteps: 5_000})
			if err == nil || !strings.HasSuffix(err.Error(), "the template takes too many steps") {
				t.Errorf("%s: got %v", tc.reason, err)
			}
		})
	}
}

func TestLimitsOfAll(t *testing.T) {
	t.Parallel()

	many := func(text string, n int) *v1.ResourceSet {
		rset := templated(text)
		for len(rset.Spec.Inputs) < n {
			rset.Spec.Inputs = append(rset.Spec.Inputs, v1.ResourceSetInput{})
		}

		return rset
	}

	cases := map[string]struct {
		reason  string
		rset    *v1.ResourceSet
		options template.Options
		want    string
	}{
		"Bytes": {
			"what all inputs print is added up",
			many("# 0123456789\n", 100), template.Options{MaxBytes: 1000},
			"resourcesTemplate with input [76]: the templates print more than is allowed for one ResourceSet",
		},
		"Steps": {
			"so is what all take",
			many(`<< range until 90 >><< end >>`, 100), template.Options{MaxSteps: 150},
			"resourcesTemplate with input [59]: line 1: the template takes too many steps",
		},
		"Values": {
			"so are values: each of these objects has five",
			many(object, 100), template.Options{MaxValues: 52},
			"document 1 of resourcesTemplate with input [10]: the objects have more values than is allowed for one ResourceSet",
		},
		"Objects": {
			"so are objects",
			many(object, 100), template.Options{MaxObjects: 50},
			"document 1 of resourcesTemplate with input [50]: there are more objects than is allowed for one ResourceSet",
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			_, err := render(t.Context(), tc.rset, nil, tc.options)
			if err == nil {
				t.Fatal(tc.reason)
			}

			if diff := cmp.Diff(tc.want, err.Error()); diff != "" {
				t.Errorf("%s: -want +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestContextEndsLoops(t *testing.T) {
	t.Parallel()

	ctx, cancel := context.WithCancel(t.Context())
	cancel()

	for _, text := range []string{`<< range 9223372036854775807 >><< end >>`, object} {
		if _, err := render(ctx, templated(text), nil, template.Options{}); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	}
}

// TestInputsStayApart holds that a template cannot change the inputs of the next one, nor add documents to an item.
func TestInputsStayApart(t *testing.T) {
	t.Parallel()

	rset := templated(`<< $_ := set inputs "secret" "changed" >>`)
	rset.Spec.Inputs[0]["injected"] = &apiextensionsv1.JSON{Raw: []byte(`"a\n---\nkind: ClusterRole"`)}

	inputs, err := template.Combine(rset, nil)
	if err != nil {
		t.Fatal(err)
	}

	if _, err := template.Render(t.Context(), rset, inputs, template.Options{}); err != nil {
		t.Fatal(err)
	}

	if got := inputs[0]["secret"]; got != "hunter2" {
		t.Errorf("the input was changed to %v", got)
	}

	rset.Spec.ResourcesTemplate = ""
	rset.Spec.Resources = []*apiextensionsv1.JSON{
		{Raw: []byte(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"<< inputs.injected >>"}}`)},
	}

	_, err = template.Render(t.Context(), rset, inputs, template.Options{})
	if err == nil || err.Error() != "resources[0] with input [0]: it renders to more than one document" {
		t.Errorf("got %v", err)
	}
}

// TestHeavy holds that only what takes much is asked about, once, and ends if it is refused.
func TestHeavy(t *testing.T) {
	t.Parallel()

	const object = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"

	refused := errors.New("refused")

	for name, tc := range map[string]struct {
		reason, template string
		asked            int
	}{
		"Light":  {"most are", object, 0},
		"Bytes":  {"what is printed is read", object + `# << repeat 3000000 "x" >>`, 1},
		"Values": {"short values take much memory", object + `data: [<< range until 150000 >>{},<< end >>]`, 1},
	} {
		for verdict, want := range map[string]error{"go on": nil, "refuse": refused} {
			asked := 0
			_, err := template.Render(t.Context(), templated(tc.template), []template.Input{{}, {}}, template.Options{Heavy: func() error {
				asked++

				return want
			}})

			if tc.asked == 0 {
				want = nil
			}

			if asked != tc.asked || !errors.Is(err, want) {
				t.Errorf("%s: %s: %s: asked %d times, got %v", name, tc.reason, verdict, asked, err)
			}
		}
	}
}

// TestHeavySteps holds that templates count that do much and print nothing.
func TestHeavySteps(t *testing.T) {
	t.Parallel()

	asked := 0
	_, err := template.Render(t.Context(), templated(`<< range until 1000 >><< range until 500 >><< end >><< end >>`), []template.Input{{}, {}, {}}, template.Options{
		Heavy: func() error { asked++; return nil },
	})

	if asked != 1 || err != nil {
		t.Errorf("asked %d times, got %v", asked, err)
	}
}
