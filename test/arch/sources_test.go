package arch

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	maxSource = 400 // lines
	maxTest   = 700 // lines: tables are long, and read from any line on
)

// long are the files that may be longer, with the reason.
func long() map[string]string { return map[string]string{} }

// panics are the files that may panic, with the reason.
func panics() map[string]string {
	return map[string]string{
		"reconcilers/build/library.go": "turns the end of the process, which a library asks for, into the error of one build",
	}
}

// words are what must not be in a source, by the reason.
func words() map[string]*regexp.Regexp {
	return map[string]*regexp.Regexp{
		"unfinished work belongs into an issue":      regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X|HA` + `CK)\b`),
		"what is not there must not look as if":      regexp.MustCompile(`(?i)\b(not (yet )?implem` + `ented|unimplem` + `ented)\b`),
		"what is there is there, and not on loan":    regexp.MustCompile(`(?i)\bfor n` + `ow,|\bin a real (system|implementation)\b`),
		"tests run, or say what is missing here":     regexp.MustCompile(`testing\.Sho` + `rt\(`),
		"a package that is for anything is for none": regexp.MustCompile(`(?m)^package (utils?|common|helpers?|types|misc)$`),
	}
}

// source is a Go file.
type source struct {
	path string // within the module, with slashes
	text []byte
}

func (s source) test() bool { return strings.HasSuffix(s.path, "_test.go") }

// generated tells whether the file says that a program wrote it, in the words that Go tools look for.
func (s source) generated() bool {
	return regexp.MustCompile(`(?m)^// Code generated .* DO NOT EDIT\.$`).Match(s.text)
}

// sources reads the Go files of the tree that people write, those of nested modules too.
func sources(t *testing.T) []source {
	t.Helper()

	var all []source

	top := root(t)
	if err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		switch name := filepath.Base(path); {
		case err != nil:
			return err
		case d.IsDir() && (name == "testdata" || path != top && strings.HasPrefix(name, ".")):
			return filepath.SkipDir
		case d.IsDir() || filepath.Ext(path) != ".go":
			return nil
		}

		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}

		rel, err := filepath.Rel(top, path)
		if s := (source{filepath.ToSlash(rel), text}); !s.generated() {
			all = append(all, s)
		}

		return err
	}); err != nil {
		t.Fatal(err)
	}

	if len(all) < 100 {
		t.Fatalf("found only %d files", len(all))
	}

	return all
}

func TestFilesAreShort(t *testing.T) {
	for _, s := range sources(t) {
		limit := maxSource
		if s.test() {
			limit = maxTest
		}

		if n := bytes.Count(s.text, []byte("\n")); n > limit && long()[s.path] == "" {
			t.Errorf("%s has %d lines of at most %d: split it by what it does", s.path, n, limit)
		}
	}
}

// forbidden returns where a source holds forbidden words.
func forbidden(s source) []string {
	var lines []string
	for why, word := range words() {
		for _, at := range word.FindAllIndex(s.text, -1) {
			line := 1 + bytes.Count(s.text[:at[0]], []byte("\n"))
			lines = append(lines, fmt.Sprintf("%s:%d: %q: %s", s.path, line, s.text[at[0]:at[1]], why))
		}
	}

	return lines
}

func TestForbiddenWords(t *testing.T) {
	for _, s := range sources(t) {
		for _, line := range forbidden(s) {
			t.Error(line)
		}
	}
}

func TestForbiddenWordsAreFound(t *testing.T) {
	cases := map[string]int{
		"package a\n\n// TO" + "DO(me): later\n": 1,
		"package helpers\n":                      1,
		"package a\n\n// A mastodon.\n":          0,
		"package a // for n" + "ow, nothing\n":   1,
		"package a // not implem" + "ented\n":    1,
	}

	for text, want := range cases {
		if got := forbidden(source{"a.go", []byte(text)}); len(got) != want {
			t.Errorf("%q: want %d, got %v", text, want, got)
		}
	}
}

func TestPackagesSayWhatTheyAreFor(t *testing.T) {
	for _, p := range packages(t) {
		if words := strings.Fields(p.Doc); len(words) < 5 || !strings.HasSuffix(p.Doc, ".") {
			t.Errorf("%s: package comment %q is no sentence: say what the package is for, and what not", p.path(), p.Doc)
		}
	}
}

// unsafeCalls returns the panics and package initialisers of a source.
func unsafeCalls(s source) ([]string, error) {
	set := token.NewFileSet()

	file, err := parser.ParseFile(set, s.path, s.text, parser.SkipObjectResolution)
	if err != nil {
		return nil, fmt.Errorf("parse %s: %w", s.path, err)
	}

	var lines []string
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			if f, ok := n.Fun.(*ast.Ident); ok && f.Name == "panic" {
				lines = append(lines, fmt.Sprintf("%s: panic: one object must not end the process of all", set.Position(n.Pos())))
			}
		case *ast.FuncDecl:
			if n.Recv == nil && n.Name.Name == "init" {
				lines = append(lines, fmt.Sprintf("%s: init: what is needed is an argument", set.Position(n.Pos())))
			}
		}

		return true
	})

	return lines, nil
}

func TestLibrariesNeitherPanicNorInitialise(t *testing.T) {
	for _, s := range sources(t) {
		if s.test() || !either(in("api"), in("config"), in("controllers"), in("reconcilers"))(s.path) || panics()[s.path] != "" {
			continue
		}

		lines, err := unsafeCalls(s)
		if err != nil {
			t.Fatal(err)
		}

		for _, line := range lines {
			t.Error(line)
		}
	}
}

func TestUnsafeCallsAreFound(t *testing.T) {
	got, err := unsafeCalls(source{"a.go", []byte("package a\n\nfunc init() { panic(1) }\n\nfunc (T) init() {}\n")})
	if err != nil {
		t.Fatal(err)
	}

	want := []string{
		"a.go:3:1: init: what is needed is an argument",
		"a.go:3:15: panic: one object must not end the process of all",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("unsafeCalls(): -want, +got:\n%s", diff)
	}
}
