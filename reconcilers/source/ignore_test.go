package source_test

import (
	"strings"
	"testing"

	"github.com/weir-dev/weir/reconcilers/source"
)

// FuzzIgnoreRules holds that rules never fail but for their size, that a file of rules at the root means the same as rules of the
// object, and that what is in a directory that is left out for good is left out.
func FuzzIgnoreRules(f *testing.F) {
	for _, seed := range []string{
		"", "*.md\n!README.md\n", "/*\n!/deploy\n", "a/**/z\n**/b\nc/**\n", "[a-z]?*\\\n", "# comment\n\n \t\n", "dir/\n/dir\ndir/x\n",
		"\\#x\n\\!y\n", "[\n[]\n[^\n", "**\n***\n**/**/**\n", "a\r\nb \n c\n", "\x00\xff\n", "!\n/\n//\n",
	} {
		f.Add(seed, "deploy/prod/x.yaml")
	}

	f.Fuzz(func(t *testing.T, text, file string) {
		elements := strings.FieldsFunc(file, func(r rune) bool { return r == '/' })
		if len(elements) == 0 {
			return
		}

		inFile, inSpec := &source.RuleBook{}, &source.RuleBook{}

		if err := inFile.File(source.IgnoreFile, strings.NewReader(text)); err != nil {
			if len(text) <= 1<<20 && strings.Count(text, "\n") <= 10_000 {
				t.Error(err)
			}

			return
		}

		if err := inSpec.Spec(&text); err != nil {
			t.Fatal(err)
		}

		a, b := inFile.Tree(), inSpec.Tree()
		if a.Prune != b.Prune {
			t.Errorf("prune: %t, %t", a.Prune, b.Prune)
		}

		out := false

		for i := range elements {
			dir := i < len(elements)-1
			skip := a.Skip(elements[:i+1], dir)

			if skip != b.Skip(elements[:i+1], dir) {
				t.Errorf("%q is left out by one of the two", elements[:i+1])
			}

			if out && !skip {
				t.Errorf("%q is not left out, although a directory that it lies in is", elements[:i+1])
			}

			out = out || skip && a.Prune
		}
	})
}
