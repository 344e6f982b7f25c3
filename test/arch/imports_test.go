package arch

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const module = "github.com/weir-dev/weir"

// pkg is what go list says of a package.
type pkg struct {
	ImportPath string
	Name       string
	Dir        string
	Doc        string
	Imports    []string
}

// path within the module.
func (p pkg) path() string { return local(p.ImportPath) }

// local takes the module off an import path of ours.
func local(path string) string {
	if rest, ok := strings.CutPrefix(path, module+"/"); ok {
		return rest
	}

	return path
}

// packages lists the packages of the module, without their tests.
func packages(t *testing.T) []pkg {
	t.Helper()

	cmd := exec.CommandContext(t.Context(), "go", "list", "-e", "-json=ImportPath,Name,Dir,Doc,Imports", module+"/...")
	cmd.Dir = root(t)

	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}

	var all []pkg
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatalf("read go list: %v", err)
		}

		all = append(all, p)
	}
}

// root returns the folder of the module.
func root(t *testing.T) string {
	t.Helper()

	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", module).Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}

	return strings.TrimSpace(string(out))
}

// broken returns what the packages import against the rule.
func broken(r rule, all []pkg) []string {
	var lines []string
	for _, p := range all {
		if !r.from(p.path()) {
			continue
		}

		for _, i := range p.Imports {
			if i = local(i); i != p.path() && r.forbids(p.path(), i) {
				lines = append(lines, fmt.Sprintf("%s imports %s", p.path(), i))
			}
		}
	}

	return lines
}

func TestLaw(t *testing.T) {
	all := packages(t)
	if len(all) < 20 {
		t.Fatalf("found only %d packages", len(all))
	}

	for _, r := range law() {
		t.Run(r.name, func(t *testing.T) {
			for _, line := range broken(r, all) {
				t.Errorf("%s, but %s: %s", line, r.name, r.why)
			}
		})
	}
}

// TestLawForbids holds that each rule forbids what it is there for, and allows what stands beside it.
func TestLawForbids(t *testing.T) {
	cases := map[string]struct{ from, forbidden, allowed string }{
		"api imports nothing of ours but api":                   {"api/source/v1", "reconcilers/engine", "api/meta"},
		"config imports nothing of ours":                        {"config/crd", "api/meta", "embed"},
		"reconcilers import no controllers, no cmd and no test": {"reconcilers/kustomize", "test/cluster", "config/distribution"},
		"reconcilers never see a Manager": {
			"reconcilers/engine", controllerRuntime + "controller", controllerRuntime + "controller/controllerutil",
		},
		"kinds never import kinds":           {"reconcilers/source/git", "reconcilers/source/oci", "reconcilers/source/git/ssh"},
		"shared packages never import kinds": {"reconcilers/apply", "reconcilers/image/policy", "reconcilers/health"},
		"the engine knows no other part":     {"reconcilers/engine", "reconcilers/apply", "api/meta"},
		"ingest and access stand alone":      {"reconcilers/ingest", "reconcilers/artifact", "reconcilers/ingest/zip"},
		"nobody imports cmd":                 {"test/demo", "cmd/image", "controllers"},
		"products import no test code":       {"controllers", "reconcilers/engine/enginetest", "reconcilers/engine"},
		"only access makes Kubernetes clients": {
			"controllers", "k8s.io/client-go/kubernetes/typed/core/v1", "k8s.io/client-go/rest",
		},
		"kinds and shared packages get their clients": {"reconcilers/apply", "k8s.io/client-go/rest", "k8s.io/client-go/util/workqueue"},
		"only ingest unpacks":                         {"reconcilers/source/git", "archive/tar", "io"},
		"nothing of Flux but its small libraries": {
			"reconcilers/build", "github.com/fluxcd/pkg/runtime/conditions", "github.com/fluxcd/pkg/envsubst",
		},
	}

	rules := law()
	if len(rules) != len(cases) {
		t.Errorf("%d rules, %d cases", len(rules), len(cases))
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			i := slices.IndexFunc(rules, func(r rule) bool { return r.name == name })
			if i < 0 {
				t.Fatal("no such rule")
			}

			got := broken(rules[i], []pkg{{ImportPath: module + "/" + tc.from, Imports: []string{full(tc.forbidden), full(tc.allowed)}}})
			if diff := cmp.Diff([]string{tc.from + " imports " + tc.forbidden}, got); diff != "" {
				t.Errorf("broken(): -want, +got:\n%s", diff)
			}

			if rules[i].why == "" {
				t.Error("a rule without a reason")
			}
		})
	}
}

// full returns the import path of a package that may be one of ours.
func full(path string) string {
	if ours(func(string) bool { return false })("", path) {
		return module + "/" + path
	}

	return path
}

// TestTestsOfReconcilers holds that what tests of reconcilers import stays below them.
func TestTestsOfReconcilers(t *testing.T) {
	const format = `{{range .TestImports}}{{$.ImportPath}} {{.}}
{{end}}{{range .XTestImports}}{{$.ImportPath}} {{.}}
{{end}}`

	cmd := exec.CommandContext(t.Context(), "go", "list", "-e", "-f", format, module+"/api/...", module+"/reconcilers/...")
	cmd.Dir = root(t)

	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}

	for line := range strings.Lines(string(out)) {
		from, to, ok := strings.Cut(strings.TrimSpace(line), " ")
		if ok && either(in("controllers"), in("cmd"))(local(to)) {
			t.Errorf("a test of %s imports %s: what it tests would have to change with it", local(from), local(to))
		}
	}
}
