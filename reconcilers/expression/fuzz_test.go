package expression_test

import (
	"testing"

	"github.com/weir-dev/weir/reconcilers/expression"
)

// FuzzObject holds that no text makes the compiler or an evaluation panic.
func FuzzObject(f *testing.F) {
	for _, text := range []string{
		"status.conditions.filter(e, e.type == 'Ready').all(e, e.status == 'True')",
		"has(status.ready) && status.?nothing.orValue(1) == 1",
		"[1, 2].map(x, [x, x]).exists(x, x[0] in [3u, 4.5])",
		"'%s-%d'.format([dyn('a'), dyn(1)]).matches('^a.*') || 'a'.replace('', 'b', -1).split('b', 0).join('c') == ''",
		"{'a': [b'c']}['a'][0] == base64.decode('Yw==') && timestamp(status.when) - duration('1h') < timestamp(0)",
		"sets.equivalent([1], [1u]) ? optional.of(1).optMap(y, y + 1).hasValue() : metadata == spec",
		"'abc'.substring(2, 1).indexOf('', 9223372036854775807) > -9223372036854775808 / -1",
	} {
		f.Add(text)
	}

	c, err := expression.New()
	if err != nil {
		f.Fatal(err)
	}

	f.Fuzz(func(t *testing.T, text string) {
		p, err := c.Object(text)
		if err != nil {
			return
		}

		_, _ = p.Holds(t.Context(), decode(t, object))
	})
}
