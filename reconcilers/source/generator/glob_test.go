package generator

import (
	"path"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestGlob(t *testing.T) {
	cases := map[string]struct {
		reason  string
		pattern string
		yes, no []string
	}{
		"Element": {
			reason: "A star stays within an element.", pattern: "apps/*.yaml",
			yes: []string{"apps/a.yaml", "apps/.yaml"}, no: []string{"apps/a/b.yaml", "a.yaml", "apps/a.yml", "apps"},
		},
		"Any": {
			reason: "Two stars stand for any number of elements, none included.", pattern: "apps/**/a.yaml",
			yes: []string{"apps/a.yaml", "apps/x/a.yaml", "apps/x/y/a.yaml"}, no: []string{"a.yaml", "apps/x/b.yaml"},
		},
		"Below": {
			reason: "Two stars at the end are all that is below, and the directory.", pattern: "**/testdata/**",
			yes: []string{"testdata", "testdata/x", "a/b/testdata/c/d"}, no: []string{"a/b", "a/testdata2/x"},
		},
		"Everything": {pattern: "**", reason: "All.", yes: []string{"a", "a/b", ".hidden"}},
		"Twice": {
			reason: "Several of them do not cost more than one.", pattern: "**/**/**/x/**/**",
			yes: []string{"x", "a/x/b", "a/b/c/x"}, no: []string{"a", "a/b/c"},
		},
		"Class":  {pattern: "[a-c]?.yaml", reason: "Classes and single characters.", yes: []string{"a1.yaml"}, no: []string{"d1.yaml", "a.yaml"}},
		"Braces": {pattern: "{a,b/c}/*.{yaml,yml}", reason: "Either text.", yes: []string{"a/x.yaml", "b/c/x.yml"}, no: []string{"b/x.yml", "a/x.json"}},
		"Nested": {pattern: "{a{1,2},b}", reason: "Braces in braces.", yes: []string{"a1", "a2", "b"}, no: []string{"a", "a1,2"}},
		"Dots":   {pattern: "./a//*", reason: "Elements that mean nothing do not count.", yes: []string{"a/b"}, no: []string{"a"}},
		"Escape": {pattern: `a\*/*`, reason: "A star may be one.", yes: []string{"a*/b"}, no: []string{"ab/b"}},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			g, err := parseGlob(tc.pattern)
			if err != nil {
				t.Fatal(err)
			}

			for want, paths := range map[bool][]string{true: tc.yes, false: tc.no} {
				for _, p := range paths {
					if g.matches(strings.Split(p, "/")) != want {
						t.Errorf("%s %q matches %q: want %t", tc.reason, tc.pattern, p, want)
					}
				}
			}
		})
	}
}

func TestGlobPrefix(t *testing.T) {
	for pattern, want := range map[string]string{
		"apps/x/*.yaml": "apps/x", "**": ".", "a/b": "a/b", "a/[b]/c/*": "a", "{a,b}/c": ".", "./a/*": "a",
	} {
		g, err := parseGlob(pattern)
		if err != nil {
			t.Fatal(err)
		}

		if got := join(g.prefix()); got != want {
			t.Errorf("the prefix of %q is %q, want %q", pattern, got, want)
		}
	}
}

func TestGlobRefused(t *testing.T) {
	for name, pattern := range map[string]string{
		"Class": "a/[", "Open": "{a,b", "Closed": "a}", "Out": "a/../b/*", "OutOfBraces": "{a,..}/*",
		"Commas": "{" + strings.Repeat(",", 21) + "}", "Groups": strings.Repeat("{a}", 21), "Many": strings.Repeat("{a,b}", 7), "Deep": strings.Repeat("*/", 64),
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := parseGlob(pattern); err == nil {
				t.Errorf("%q is no pattern", pattern)
			}
		})
	}
}

// FuzzGlob holds that no pattern and no path do harm, and that patterns of one element are those of package path.
func FuzzGlob(f *testing.F) {
	for _, p := range []string{"**/*.yaml", "{a,b}/c", "a[b-d]?", "\\", "{{a},b}", "{", "**/**/x", "./../"} {
		f.Add(p, "a/b/c.yaml")
		f.Add(p, "x")
	}

	f.Fuzz(func(t *testing.T, pattern, name string) {
		g, err := parseGlob(pattern)
		if err != nil {
			return
		}

		got := g.matches(strings.Split(name, "/"))

		if !strings.ContainsAny(pattern, "/{},") && !strings.Contains(pattern, "**") && pattern != "" && pattern != "." &&
			name != "" && !strings.Contains(name, "/") {
			want, err := path.Match(pattern, name)
			if err == nil && got != want {
				t.Errorf("%q matches %q: %t, want %t", pattern, name, got, want)
			}
		}
	})
}

// FuzzPathPattern holds that no pattern does harm, and that what it captures leads back to the path.
func FuzzPathPattern(f *testing.F) {
	for _, p := range []string{"@a/apps/{app}/envs/{env}", "@a/{x}-{y}", "@a/{", "@a/}{", "@a/{a}{b}", "@/x", "@a/../{b}", "@a/{_}"} {
		f.Add(p, "left-right")
	}

	f.Fuzz(func(t *testing.T, text, name string) {
		p, err := parsePathPattern(text)
		if err != nil {
			return
		}

		for _, e := range p.elements {
			groups := e.groups(name)
			if groups == nil || e.match == nil {
				continue
			}

			variables := map[string]string{}
			for i, c := range e.captures {
				variables[c] = groups[i+1]
			}

			if got := fill(e.literal, variables); got != name && !strings.Contains(name, "{") {
				t.Errorf("%q captured from %q leads to %q", e.literal, name, got)
			}
		}
	})
}

// FuzzOperation holds that no copy operation leads out of its trees.
func FuzzOperation(f *testing.F) {
	f.Add("@a/b/**", "@artifact/x/", "*.md")
	f.Add("@a/../b", "@artifact/../x", "..")
	f.Add("@a/{b,../c}/*", "@artifact/", "{..,a}")

	f.Fuzz(func(t *testing.T, from, to, exclude string) {
		o, err := parseOperation(copyOf(from, to, exclude))
		if err != nil {
			return
		}

		for _, e := range append(append([]string{}, o.from...), o.to...) {
			if e == ".." || strings.Contains(e, "/") || e == "" {
				t.Errorf("%q to %q has the element %q", from, to, e)
			}
		}

		o.leavesOut([]string{"a", "b", "c"}, 1, 2)
	})
}

func TestPathPattern(t *testing.T) {
	for name, tc := range map[string]struct{ pattern, err string }{
		"NoReference": {"apps/{app}", "not of the form"},
		"Empty":       {"@repo/", "between 1 and 63 elements"},
		"Out":         {"@repo/../{app}", "leads out"},
		"Open":        {"@repo/{app", "not balanced"},
		"Closed":      {"@repo/app}", "not balanced"},
		"NoName":      {"@repo/{}", "capture variable"},
		"BadName":     {"@repo/{my-app}", "capture variable"},
		"Digit":       {"@repo/{1}", "capture variable"},
		"Twice":       {"@repo/{app}/{app}", `duplicate capture variable "app"`},
		"Label":       {"@repo/{_app}", "not a valid Kubernetes label key"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parsePathPattern(tc.pattern)
			if err == nil || !strings.Contains(err.Error(), tc.err) || !strings.Contains(err.Error(), tc.pattern) {
				t.Errorf("error %v, want one with %q", err, tc.err)
			}
		})
	}

	p, err := parsePathPattern("@repo/apps/{app}/v{major}.{minor}/")
	if err != nil {
		t.Fatal(err)
	}

	if diff := cmp.Diff([]string{"app", "major", "minor"}, p.captures); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}

	if diff := cmp.Diff([]string{"v1.2", "1", "2"}, p.elements[2].groups("v1.2")); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
