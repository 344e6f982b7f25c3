package template_test

import (
	"testing"

	"github.com/weir-dev/weir/reconcilers/resourceset/template"
)

// TestCompare holds that values compare as in other templates.
func TestCompare(t *testing.T) {
	t.Parallel()

	cases := map[string]struct{ reason, condition, want string }{
		"Texts":    {"equal texts are equal", `eq "a" "a"`, "true"},
		"OneOf":    {"one of the others is enough", `eq "a" "b" "a"`, "true"},
		"NoneOf":   {"none is not", `eq "a" "b" "c"`, "false"},
		"Numbers":  {"the size of a number does not count", `eq inputs.number 7`, "true"},
		"Floats":   {"nor does a part that is none", `eq 1.5 1.5`, "true"},
		"Booleans": {"they are compared, too", `ne true false`, "true"},
		"Nil":      {"nothing is not something", `eq (index inputs "absent") "a"`, "false"},
		"NotEqual": {"different texts are not equal", `ne "a" "b"`, "true"},
		"Less":     {"the others are those of the library", `lt 1 2`, "true"},
		"Length":   {"a number that a function yields", `eq 7 (len (repeat 7 "x"))`, "true"},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			text := "apiVersion: v1\nkind: A\nmetadata: {name: << " + tc.condition + " | quote >>}\n"

			set, err := render(t.Context(), templated(text), nil, template.Options{})
			if err != nil {
				t.Fatal(err)
			}

			if got := set.Objects()[0].GetName(); got != tc.want {
				t.Errorf("%s: got %s, want %s", tc.reason, got, tc.want)
			}
		})
	}

	if _, err := render(t.Context(), templated(`<< eq "7" inputs.number >>`), nil, template.Options{}); err == nil ||
		err.Error() != "resourcesTemplate with input [0]: line 1: eq: incompatible types for comparison: string and int64" {
		t.Errorf("a text is no number: got %v", err)
	}
}
