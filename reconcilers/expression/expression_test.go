package expression_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"k8s.io/apimachinery/pkg/util/json"

	"github.com/weir-dev/weir/reconcilers/expression"
)

const object = `{
	"apiVersion": "example.org/v1", "kind": "Thing", "metadata": {"name": "x", "generation": 2, "labels": {"a-b": "c"}},
	"spec": {"replicas": 3, "encoded": "aGVsbG8="},
	"status": {"ready": 3, "ratio": 0.5, "when": "2026-01-01T10:00:00Z",
		"conditions": [{"type": "Ready", "status": "True"}, {"type": "Synced", "status": "False"}]},
	"data": {"key": "value"}
}`

func compiler(t *testing.T) *expression.Compiler {
	t.Helper()

	c, err := expression.New()
	if err != nil {
		t.Fatal(err)
	}

	return c
}

func decode(t *testing.T, text string) map[string]any {
	t.Helper()

	var m map[string]any
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		t.Fatal(err)
	}

	return m
}

func TestHolds(t *testing.T) {
	type want struct {
		holds bool
		err   string
	}

	cases := map[string]struct {
		reason string
		text   string
		want   want
	}{
		"Field":       {"Fields are read by name.", "status.ready == spec.replicas", want{holds: true}},
		"OtherFields": {"Not only status has fields.", "data.key == 'value' && kind == 'Thing' && apiVersion.startsWith('example.org/')", want{holds: true}},
		"Conditions": {"The usual look at conditions.",
			"status.conditions.filter(e, e.type == 'Ready').all(e, e.status == 'True')", want{holds: true}},
		"Not": {"What is not, is not.", "status.conditions.exists(e, e.type == 'Synced' && e.status == 'True')", want{}},
		"Has": {"A field can be asked for.", "has(status.nothing)", want{}},
		"Missing": {"A field that is missing is neither yes nor no.", "status.nothing == 1",
			want{err: "evaluate the expression: no such key: nothing"}},
		"NoVariable": {"Nor is a part that the object lacks.", "nothing.at.all", want{err: "no such attribute"}},
		"Numbers":    {"Numbers compare across types.", "status.ratio < 1 && spec.replicas > 2.5 && metadata.generation == 2u", want{holds: true}},
		"Optional":   {"Optional fields have syntax.", "status.?nothing.orValue('x') == 'x' && optional.of(1).hasValue()", want{holds: true}},
		"OptMap":     {"And a macro.", "status.?ready.optMap(r, r + 1).orValue(0) == 4", want{holds: true}},
		"UTC":        {"Times are in UTC.", "timestamp(status.when).getHours() == 10", want{holds: true}},
		"Strings": {"The functions for texts.",
			"'a,b'.split(',').join('-').replace('-', '+').upperAscii() == 'A+B' && ' x '.trim() == 'x' && 'abc'.indexOf('c') == 2" +
				" && 'abc'.lastIndexOf('a') == 0 && 'abc'.charAt(1) == 'b' && 'abc'.substring(1) == 'bc' && 'abc'.reverse() == 'cba'" +
				" && '%s-%d'.format([dyn('a'), dyn(1)]) == 'a-1' && strings.quote('a') == '\"a\"' && 'ABC'.lowerAscii() == 'abc'" +
				" && ['a', 'b'].join() == 'ab' && 'a-a-a'.replace('a', 'b', 2) == 'b-b-a' && 'a,b,c'.split(',', 2).size() == 2" +
				" && 'abab'.indexOf('b', 2) == 3 && 'abab'.lastIndexOf('b', 2) == 1 && 'abcd'.substring(1, 3) == 'bc'", want{holds: true}},
		"Sets": {"The functions for sets.",
			"sets.contains([1, 2], [1]) && sets.equivalent([1, 1], [1]) && !sets.intersects([1], [2])", want{holds: true}},
		"Encoders": {"The functions for encodings.",
			"string(base64.decode(spec.encoded)) == 'hello' && base64.encode(b'hello') == 'aGVsbG8='", want{holds: true}},
		"Matches": {"Regular expressions, in both forms.", "metadata.name.matches('^[a-z]$') && matches('a', 'a|b')", want{holds: true}},
		"In":      {"Members of lists and maps.", "'a-b' in metadata.labels && 3 in [1, 2, 3]", want{holds: true}},
		"NoBool":  {"Only yes and no are answers.", "status.ready", want{err: "the expression is of type int, want bool"}},
	}
	c := compiler(t)

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			p, err := c.Object(tc.text)
			if err != nil {
				t.Fatal(err)
			}

			got, err := p.Holds(t.Context(), decode(t, object))
			if got != tc.want.holds || (err == nil) != (tc.want.err == "") || err != nil && !strings.Contains(err.Error(), tc.want.err) {
				t.Errorf("%s: Holds returns %t, %v; want %+v", tc.reason, got, err, tc.want)
			}
		})
	}
}

func TestRefuse(t *testing.T) {
	cases := map[string]struct {
		reason string
		text   string
		with   []string
		want   string
	}{
		"Empty":       {"Nothing says nothing.", " ", nil, "the expression is empty"},
		"Syntax":      {"Syntax errors are told.", "a &&", nil, "parse the expression"},
		"Function":    {"Unknown functions are found before anything is evaluated.", "nothing(status)", nil, "undeclared reference to 'nothing'"},
		"Type":        {"So are answers that are no bools.", "'text'", nil, "the expression is of type string, want bool"},
		"Lists":       {"Lists have one type of elements.", "status in [1, 'a']", nil, "expected type 'int' but found 'string'"},
		"Variable":    {"Where the variables are known, no others are.", "self.a == other.b", []string{"self", "dep"}, "undeclared reference to 'other'"},
		"Long":        {"Texts are bounded.", strings.Repeat("true && ", 10_000) + "true", nil, "size exceeds limit"},
		"Deep":        {"So is their nesting.", strings.Repeat("(", 200) + "true" + strings.Repeat(")", 200), nil, "recursion limit exceeded"},
		"Large":       {"What macros make of a text is bounded, too.", "[" + strings.Repeat("a.map(x, x),", 1000) + "a] == a", nil, "nodes, more than"},
		"Doubling":    {"And what makes them longer while they are read.", "x" + strings.Repeat(".optMap(a, a)", 40) + ".hasValue()", nil, "more than 8 times"},
		"HiddenNames": {"Names of the library's own are not to be used.", "@budget == 1", nil, "Syntax error"},
		"Quoted":      {"Not with quotes either.", "`@budget` == 1", nil, "parse the expression"},
	}
	c := compiler(t)

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			compile := c.Object
			if tc.with != nil {
				compile = func(text string) (*expression.Program, error) { return c.With(text, tc.with...) }
			}

			if _, err := compile(tc.text); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s: the error is %v, want one that says %q", tc.reason, err, tc.want)
			}
		})
	}
}

// TestHostile shows that an evaluation ends, whatever it is asked: each of these would take hours, or all memory.
func TestHostile(t *testing.T) {
	doubled := func(what string, times int) string { // lists that hold themselves twice
		return "[" + what + "]" + strings.Repeat(".map(x, [x, x])", times)
	}
	added := func(what string, times int) string {
		return "[" + what + "]" + strings.Repeat(".map(x, x + x)", times)
	}
	few := "'" + strings.Repeat("a", 50) + "'.split('')"
	cases := map[string]struct{ reason, text string }{
		"Loops":      {"Loops in loops.", "many.all(a, many.all(b, many.all(c, a + b + c >= 0)))"},
		"DoubleText": {"A text that grows.", added("'abc'", 60) + "[0] == ''"},
		"DoubleList": {"A list that grows.", "1 in " + added("[0]", 60) + "[0]"},
		"SameTwice":  {"A list that holds another one twice, compared.", doubled("0", 60) + " == " + doubled("0", 60)},
		"MapTwice":   {"A map that holds another one twice.", "[0]" + strings.Repeat(".map(x, {'a': x, 'b': x})", 60) + " == []"},
		"Replace":    {"A text in each gap of another.", "long.replace('', long) == ''"},
		"Join":       {"A text between all elements.", "many.map(x, '').join(long) == ''"},
		"Format":     {"A text again and again.", "'%s%s%s%s'.format([long, half, long, half]).size() + '%.999999999f'.format([1.0]).size() == 0"},
		"IndexOf":    {"A text in a text that nearly has it everywhere.", "long.indexOf(half + 'b') == 0"},
		"LastIndex":  {"And from the end.", "long.lastIndexOf('b' + half) == 0"},
		"Contains":   {"Each element in each.", "sets.contains(many, many)"},
		"Equivalent": {"The same the other way.", "sets.equivalent(many, many)"},
		"Pattern":    {"A large regular expression.", "'a'.matches(long)"},
		"Patterns":   {"Many that are not small.", "many.all(x, !'a'.matches('(((x{10}){10}){10}){1}' + string(x)))"},
		"Split":      {"All characters, for all elements.", "many.all(x, long.split('').size() > x)"},
		"Upper":      {"A long text for all elements.", "many.all(x, long.upperAscii() != 'a')"},
		"Equal":      {"A large value for all elements.", "many.all(x, many == many)"},
		"EqualDeep":  {"A deep value for all elements.", "many.all(x, nested == nested)"},
		"In":         {"A large list for all elements.", "many.all(x, x in many)"},
		"Collect":    {"A large value at every step.", "many.map(x, [many, many, many]).size() == 0"},
		"Quote":      {"More than one way to write a text.", "many.all(x, strings.quote(long) != '')"},
		"Base64":     {"And another.", "many.all(x, base64.encode(bytes(long)) != '')"},
		"Size":       {"A text that is counted, a few times.", few + ".all(x, size(long) > 0)"},
		"Number":     {"A text that is read as a number, a few times.", few + ".all(x, double(long) > 0.0 || true)"},
		"Zone":       {"And as a time zone.", few + ".all(x, timestamp('2020-01-01T00:00:00Z').getHours(long) > 0 || true)"},
		"Zones":      {"Time zones are read from files.", "many.filter(x, x < 1000).all(x, timestamp('2020-01-01T00:00:00Z').getHours('Europe/Oslo') > 0)"},
		"EqualSmall": {"A large value and a small one.", few + ".all(x, keyed != {'a': 1})"},
		"Convert":    {"Bytes and texts.", "many.all(x, string(bytes(long)) != '')"},
	}
	c := compiler(t)

	many := make([]any, 20_000)
	for i := range many {
		many[i] = int64(i)
	}

	keyed := map[string]any{}
	for i := range many {
		keyed[fmt.Sprint(i)] = true
	}

	values := map[string]any{
		"many": many, "keyed": keyed, "nested": map[string]any{"a": map[string]any{"b": many}},
		"long": strings.Repeat("a", 1<<20), "half": strings.Repeat("a", 1<<19),
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			p, err := c.Object(tc.text)
			if err != nil {
				t.Fatal(err)
			}

			if holds, err := p.Holds(t.Context(), values); err == nil {
				t.Errorf("%s: Holds returns %t", tc.reason, holds)
			} else {
				t.Log(err)
			}
		})
	}
}

func TestCancel(t *testing.T) {
	p, err := compiler(t).Object("many.all(x, x >= 0)")
	if err != nil {
		t.Fatal(err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()

	many := make([]any, 10_000)
	for i := range many {
		many[i] = int64(i)
	}

	if _, err := p.Holds(ctx, map[string]any{"many": many}); err == nil {
		t.Error("an evaluation goes on when its context has ended")
	}
}

// TestCompilerKeeps shows that a text is compiled once, and that what is kept is bounded. Run it with -race.
func TestCompilerKeeps(t *testing.T) {
	c := compiler(t)

	first, err := c.Object("status.ready")
	if err != nil {
		t.Fatal(err)
	}

	if again, _ := c.Object("status.ready"); again != first {
		t.Error("the same text is compiled twice")
	}

	if _, err := c.With("status.ready", "self"); err == nil {
		t.Error("a text with other variables is taken for the same")
	}

	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			for j := range 400 {
				if _, err := c.Object(fmt.Sprintf("status.ready == %d", i*400+j)); err != nil {
					t.Error(err)
				}
			}
		})
	}

	all.Wait()

	if again, err := c.Object("status.ready"); err != nil || again == first {
		t.Errorf("a program that was not used for long is kept (error %v)", err)
	}
}
