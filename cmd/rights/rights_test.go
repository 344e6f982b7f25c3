package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	leastprivilege "github.com/weir-dev/weir/config/least-privilege"
)

const cases = "../../reconcilers/distribution/testdata"

func written(t *testing.T) []byte {
	t.Helper()
	content, err := fs.ReadFile(leastprivilege.FS(), "rights.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// TestGenerated shows that the roles are those of the distribution as it is.
func TestGenerated(t *testing.T) {
	want, err := roles(all(t))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(written(t))); diff != "" {
		t.Errorf("the roles are not those of the distribution, make generate would change (-want +have):\n%s", diff)
	}
}

func TestRun(t *testing.T) {
	dir := t.TempDir()
	out := filepath.Join(dir, "rights.yaml")
	if err := run([]string{"--cases", dir, "--out", out}); err == nil {
		t.Error("without cases, roles are written that allow nothing")
	}
	if err := os.CopyFS(filepath.Join(dir, "Default"), os.DirFS(filepath.Join(cases, "Default"))); err != nil {
		t.Fatal(err)
	}
	if err := run([]string{"--cases", dir, "--out", out}); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(out)
	if err != nil || !bytes.Contains(content, []byte("gitrepositories")) {
		t.Errorf("the roles of one case (%v):\n%s", err, content)
	}
}

// built are the objects of all cases, which takes seconds.
var built = sync.OnceValues(func() ([]*unstructured.Unstructured, error) { return deployed(os.DirFS(cases)) })

func all(t *testing.T) []*unstructured.Unstructured {
	t.Helper()
	objects, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return objects
}

// roleOf reads the rules of one of the roles.
func roleOf(t *testing.T, kind string) []rbacv1.PolicyRule {
	t.Helper()
	for doc := range strings.SplitSeq(string(written(t)), "---\n") {
		role := rbacv1.ClusterRole{}
		if err := yaml.UnmarshalStrict([]byte(doc), &role); err == nil && role.Kind == kind {
			return role.Rules
		}
	}
	t.Fatalf("there is no %s", kind)
	return nil
}

// allows tells whether rules allow something. A name that is empty stands for any.
func allows(rules []rbacv1.PolicyRule, verb, group, resource, name string) bool {
	return slices.ContainsFunc(rules, func(r rbacv1.PolicyRule) bool {
		return slices.Contains(r.Verbs, verb) && slices.Contains(r.APIGroups, group) && slices.Contains(r.Resources, resource) &&
			(len(r.ResourceNames) == 0 || name != "" && slices.Contains(r.ResourceNames, name))
	})
}

// TestCovered looks at each object on its own: whatever is deployed can be applied, watched and deleted.
func TestCovered(t *testing.T) {
	cluster, local := roleOf(t, "ClusterRole"), roleOf(t, "Role")
	for _, o := range all(t) {
		for _, lack := range lacking(o, cluster, local) {
			t.Errorf("the roles do not allow to %s %s %q", lack, o.GetKind(), o.GetName())
		}
	}
	other := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "batch/v1", "kind": "CronJob", "metadata": map[string]any{"namespace": namespace, "name": "cleanup"},
	}}
	if diff := cmp.Diff([]string{"get", "create", "patch", "delete", "list", "watch"}, lacking(other, cluster, local)); diff != "" {
		t.Errorf("a kind that is not deployed (-want +got):\n%s", diff)
	}
}

// lacking are the verbs that the operator needs of an object, and does not have.
func lacking(o *unstructured.Unstructured, cluster, local []rbacv1.PolicyRule) []string {
	resource, _ := apimeta.UnsafeGuessKindToResource(o.GroupVersionKind())
	writes := cluster
	if o.GetNamespace() != "" {
		writes = local
	}
	var lacks []string
	for _, verb := range []string{"get", "create", "patch", "delete"} {
		if verb == "delete" && (o.GetKind() == "Namespace" || isOwn(o.GetName())) {
			continue
		}
		if !allows(writes, verb, resource.Group, resource.Resource, o.GetName()) {
			lacks = append(lacks, verb)
		}
	}
	for _, verb := range []string{"list", "watch"} {
		if !allows(cluster, verb, resource.Group, resource.Resource, "") {
			lacks = append(lacks, verb)
		}
	}
	return lacks
}

// TestBounds shows what no change of the distribution may bring along.
func TestBounds(t *testing.T) {
	for kind, rules := range map[string][]rbacv1.PolicyRule{"ClusterRole": roleOf(t, "ClusterRole"), "Role": roleOf(t, "Role")} {
		for _, r := range rules {
			for _, wrong := range wrongs(kind, r) {
				t.Errorf("%s: %s: %+v", kind, wrong, r)
			}
		}
	}
	for reason, r := range map[string]rbacv1.PolicyRule{
		"everything":       policy("*", []string{"*"}, []string{"*"}),
		"impersonation":    policy("", []string{"users"}, []string{"impersonate"}),
		"all Secrets":      policy("", []string{"secrets"}, []string{"get"}),
		"all roles":        policy(rbacGroup, []string{"clusterroles"}, []string{"escalate"}),
		"all tokens":       policy("", []string{"serviceaccounts/token"}, []string{"create"}),
		"writes elsewhere": policy("apps", []string{"deployments"}, []string{"patch"}),
	} {
		if len(wrongs("ClusterRole", r)) == 0 {
			t.Errorf("%s would not be noticed", reason)
		}
	}
}

func wrongs(kind string, r rbacv1.PolicyRule) []string {
	var found []string
	wrong := func(is bool, format string, args ...any) {
		if is {
			found = append(found, fmt.Sprintf(format, args...))
		}
	}
	flux := len(r.APIGroups) == 1 && strings.HasSuffix(r.APIGroups[0], ".fluxcd.io")
	for _, v := range r.Verbs {
		wrong(v == "*" || v == "impersonate" || v == "deletecollection", "the verb %q", v)
		named := v == "escalate" || v == "bind" || kind == "ClusterRole" && !flux && slices.Contains([]string{"create", "update", "patch", "delete"}, v)
		wrong(named && len(r.ResourceNames) == 0, "%q of any name", v)
	}
	wrong(slices.Contains(r.Resources, "*") || slices.Contains(r.APIGroups, "*"), "everything")
	wrong(slices.Contains(r.Resources, "serviceaccounts/token") && !slices.Equal(r.ResourceNames, []string{operator}), "tokens of others")
	for _, resource := range []string{"secrets", "configmaps", "pods"} {
		wrong(kind == "ClusterRole" && slices.Contains(r.Resources, resource), "%s of all namespaces", resource)
	}
	return found
}
