package main

import (
	"bytes"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPlan(t *testing.T) {
	packages := func(paths ...string) []testPackage {
		var all []testPackage
		for _, p := range paths {
			all = append(all, testPackage{path: module + p})
		}

		return all
	}

	cases := map[string]struct {
		reason   string
		packages []testPackage
		race     bool
		want     [][]string
	}{
		"Nothing": {reason: "nothing is run for nothing"},
		"Order": {
			reason:   "the law comes first and nodes last",
			packages: packages("test/e2e", "reconcilers/engine", "test/e2e/process", "test/arch", "test/demo", "test/cluster", "test/cluster/nodetest"),
			race:     true,
			want: [][]string{
				{"-count=1", module + "test/arch"},
				{"-race", module + "reconcilers/engine", module + "test/cluster"},
				{"-count=1", "-p=1", module + "test/e2e", module + "test/e2e/process", module + "test/demo", module + "test/cluster/nodetest"},
			},
		},
		"NoRace": {
			reason:   "races are looked for on demand",
			packages: packages("reconcilers/engine"),
			want:     [][]string{{module + "reconcilers/engine"}},
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, plan(tc.packages, tc.race)); diff != "" {
				t.Errorf("\n%s\nplan(): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestNeeds(t *testing.T) {
	plain := testPackage{path: module + "api/meta", imports: []string{"testing"}}
	server := testPackage{path: module + "reconcilers/apply", imports: []string{"testing", module + "test/cluster"}}
	whole := testPackage{path: module + "test/e2e"}

	cases := map[string]struct {
		packages []testPackage
		want     need
	}{
		"Nothing":      {[]testPackage{plain}, nothing},
		"ControlPlane": {[]testPackage{server, plain}, controlPlane},
		"Node":         {[]testPackage{server, whole, plain}, node},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := needs(tc.packages); got != tc.want {
				t.Errorf("needs(): want %d, got %d", tc.want, got)
			}
		})
	}
}

func TestTools(t *testing.T) {
	cases := map[string]struct {
		imports []string
		want    []string
	}{
		"None":    {[]string{"testing", module + "test/cluster"}, nil},
		"Signing": {[]string{module + "test/signing"}, []string{"cosign"}},
		"Helm":    {[]string{module + "test/helmcli"}, []string{"helm", "helm"}},
		"Several": {[]string{module + "test/tool", "testing", module + "test/sops"}, []string{"sops", "flux"}},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, tool := range tools([]testPackage{{path: module + "api/meta"}, {path: module + "x", imports: tc.imports}}) {
				got = append(got, tool.Name)
			}

			if !slices.Equal(got, tc.want) {
				t.Errorf("tools(): want %q, got %q", tc.want, got)
			}
		})
	}
}

// TestReport runs go test over a module of its own with every kind of end that a test can come to.
func TestReport(t *testing.T) {
	cases := map[string]struct {
		reason   string
		packages []string
		passed   int
		failed   int
		skipped  int
		says     []string
		silent   []string
	}{
		"Pass": {
			"subtests count, their parents do not", []string{"./pass"}, 3, 0, 1,
			[]string{"skipped example.com/m/pass TestSkipped: pass_test.go:15: no such thing here\n1 skipped\n3 passed, 0 failed\n"}, []string{"a line of a test that passed"},
		},
		"Fail": {
			"a parent counts if it failed by itself, and its words are printed in any case", []string{"./fail"}, 2, 3, 0,
			[]string{"2 passed, 3 failed\n", "the subtest is wrong", "the parent says", "the parent alone is wrong"}, nil,
		},
		"Build":   {"a package that does not build is one failure", []string{"./build"}, 0, 1, 0, []string{"undefined: missing"}, nil},
		"Dies":    {"a test that does not end failed", []string{"./dies"}, 1, 1, 0, []string{"panic: this is the end"}, nil},
		"Exit":    {"so did a package whose tests passed and that did not", []string{"./exit"}, 1, 1, 0, []string{"1 passed, 1 failed\n"}, nil},
		"Several": {"all is counted", []string{"./pass", "./fail", "./build"}, 5, 4, 1, []string{"5 passed, 4 failed\n"}, nil},
		"Unknown": {"a package that is not there is a failure", []string{"./nowhere"}, 0, 1, 0, nil, nil},
	}

	t.Chdir("testdata/module")

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			out := &bytes.Buffer{}
			r := newReport(out)

			if err := test(t.Context(), r, tc.packages); err != nil {
				t.Fatal(err)
			}

			if well := r.summary(); well != (tc.failed == 0) {
				t.Errorf("\n%s\nsummary(): %v", tc.reason, well)
			}

			if r.passed != tc.passed || r.failed != tc.failed || r.skipped != tc.skipped {
				t.Errorf("\n%s\nwant %d passed, %d failed, %d skipped, got %d, %d, %d:\n%s", tc.reason,
					tc.passed, tc.failed, tc.skipped, r.passed, r.failed, r.skipped, out)
			}

			for _, s := range tc.says {
				if !bytes.Contains(out.Bytes(), []byte(s)) {
					t.Errorf("\n%s\nwant %q in:\n%s", tc.reason, s, out)
				}
			}

			for _, s := range tc.silent {
				if bytes.Contains(out.Bytes(), []byte(s)) {
					t.Errorf("\n%s\nwant no %q in:\n%s", tc.reason, s, out)
				}
			}
		})
	}
}

// TestListsItself holds that packages are found with what their tests import.
func TestListsItself(t *testing.T) {
	packages, err := list(t.Context(), []string{"."})
	if err != nil {
		t.Fatal(err)
	}

	if len(packages) != 1 || packages[0].path != module+"test/suite" || len(packages[0].imports) == 0 {
		t.Errorf("list(): got %v", packages)
	}
}
