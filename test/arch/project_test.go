package arch

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

// project is what we read of the file PROJECT.
type project struct {
	Resources []struct {
		Domain     string `json:"domain"`
		Group      string `json:"group"`
		Version    string `json:"version"`
		Kind       string `json:"kind"`
		Path       string `json:"path"`
		Controller bool   `json:"controller"`
	} `json:"resources"`
}

func readProject(t *testing.T) project {
	t.Helper()

	text, err := os.ReadFile(filepath.Join(root(t), "PROJECT"))
	if err != nil {
		t.Fatal(err)
	}

	var p project
	if err := yaml.Unmarshal(text, &p); err != nil {
		t.Fatal(err)
	}

	return p
}

func TestProjectListsTheKinds(t *testing.T) {
	var listed []string
	for _, r := range readProject(t).Resources {
		listed = append(listed, strings.Join([]string{r.Kind, r.Group + "." + r.Domain, r.Version}, " "))

		if _, err := os.Stat(filepath.Join(root(t), local(r.Path))); err != nil {
			t.Errorf("%s: %v", r.Kind, err)
		}
	}

	files, err := filepath.Glob(filepath.Join(root(t), "config/crd/bases/*.yaml"))
	if err != nil {
		t.Fatal(err)
	}

	var defined []string
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}

		var crd struct {
			Spec struct {
				Group    string                  `json:"group"`
				Names    struct{ Kind string }   `json:"names"`
				Versions []struct{ Name string } `json:"versions"`
			} `json:"spec"`
		}
		if err := yaml.Unmarshal(text, &crd); err != nil {
			t.Fatalf("%s: %v", f, err)
		}

		for _, v := range crd.Spec.Versions {
			defined = append(defined, strings.Join([]string{crd.Spec.Names.Kind, crd.Spec.Group, v.Name}, " "))
		}
	}

	slices.Sort(listed)
	slices.Sort(defined)

	if diff := cmp.Diff(defined, listed); diff != "" {
		t.Errorf("kinds: -config/crd, +PROJECT:\n%s", diff)
	}
}

func TestProjectTellsWhatIsReconciled(t *testing.T) {
	declared := regexp.MustCompile(`\) engine\.Kind\[\*\w+\.(\w+),`)

	var reconciled []string
	for _, s := range sources(t) {
		if !s.test() && isKind(filepath.ToSlash(filepath.Dir(s.path))) {
			for _, m := range declared.FindAllSubmatch(s.text, -1) {
				reconciled = append(reconciled, string(m[1]))
			}
		}
	}

	var listed []string
	for _, r := range readProject(t).Resources {
		if r.Controller {
			listed = append(listed, r.Kind)
		}
	}

	slices.Sort(listed)
	slices.Sort(reconciled)

	if diff := cmp.Diff(slices.Compact(reconciled), listed); diff != "" {
		t.Errorf("kinds with a controller: -reconcilers, +PROJECT:\n%s", diff)
	}
}
