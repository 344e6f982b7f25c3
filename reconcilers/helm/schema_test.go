package helm

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// TestSchemaBomb: a schema that would be checked for years is given up, in each draft, and a large one is not.
func TestSchemaBomb(t *testing.T) {
	t.Parallel()

	doubling := func(draft, defs string, levels int) string {
		var b strings.Builder

		fmt.Fprintf(&b, `{"$schema":%q,"allOf":[{"$ref":"#/%s/a0"}],%q:{`, draft, defs, defs)

		for i := range levels {
			fmt.Fprintf(&b, `"a%d":{"allOf":[{"$ref":"#/%s/a%d"},{"$ref":"#/%s/a%d"}]},`, i, defs, i+1, defs, i+1)
		}

		fmt.Fprintf(&b, `"a%d":{"required":["b"]}}}`, levels)

		return b.String()
	}

	for draft, defs := range map[string]string{
		"http://json-schema.org/draft-04/schema#": "definitions", "http://json-schema.org/draft-07/schema#": "definitions",
		"https://json-schema.org/draft/2019-09/schema": "$defs", "https://json-schema.org/draft/2020-12/schema": "$defs",
	} {
		if err := checkSchema([]byte(doubling(draft, defs, 40)), map[string]any{"b": 1}); !errors.Is(err, errChecks) {
			t.Errorf("%s: %v", draft, err)
		}

		if err := checkSchema([]byte(doubling(draft, defs, 10)), map[string]any{"b": 1}); err != nil {
			t.Errorf("%s: a small one: %v", draft, err)
		}

		if err := checkSchema([]byte(doubling(draft, defs, 2)), map[string]any{}); err == nil || errors.Is(err, errChecks) {
			t.Errorf("%s: a wrong value: %v", draft, err)
		}
	}
}
