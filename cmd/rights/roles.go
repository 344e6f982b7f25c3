package main

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
)

const (
	rbacGroup = rbacv1.GroupName
	crds      = "customresourcedefinitions"
	crdGroup  = "apiextensions.k8s.io"

	// operator is the name of the account, and of its roles.
	operator = "flux-operator"

	// What the operator keeps in its namespace: a Secret with the last good release, a ConfigMap with the plan of the next one, and
	// the object by which its replicas elect a leader.
	record = "flux-last-release"
	plan   = "flux-plan"
	lease  = operator + "-leader-election"
)

// rule is a rule of a role, and what for.
type rule struct {
	why string
	rbacv1.PolicyRule
}

// needs are what the rules are made of: the objects that are deployed, by where they lie.
type needs struct {
	cluster    map[schema.GroupResource][]string // names
	namespaced map[string][]string               // resources by group
	flux       map[string][]string               // resources of the definitions, by group
	own        []string                          // definitions of the operator's own kinds
	bound      []string                          // cluster roles that are given to others
}

func needsOf(objects []*unstructured.Unstructured) (*needs, error) {
	n := &needs{cluster: map[schema.GroupResource][]string{}, namespaced: map[string][]string{}, flux: map[string][]string{}}
	for _, o := range objects {
		resource, _ := apimeta.UnsafeGuessKindToResource(o.GroupVersionKind())
		gr := resource.GroupResource()
		if o.GetNamespace() != "" {
			add(n.namespaced, gr.Group, gr.Resource)
			continue
		}
		if gr.Resource == crds && isOwn(o.GetName()) {
			n.own = append(n.own, o.GetName())
			continue
		}
		add(n.cluster, gr, o.GetName())
		switch gr.Resource {
		case crds:
			plural, group, _ := strings.Cut(o.GetName(), ".")
			add(n.flux, group, plural)
		case "clusterrolebindings":
			name, _, err := unstructured.NestedString(o.Object, "roleRef", "name")
			if err != nil {
				return nil, fmt.Errorf("ClusterRoleBinding %q: %w", o.GetName(), err)
			}
			if !slices.Contains(n.bound, name) {
				n.bound = append(n.bound, name)
			}
		}
	}
	slices.Sort(n.bound)
	return n, nil
}

func add[K comparable](to map[K][]string, key K, value string) {
	if !slices.Contains(to[key], value) {
		to[key] = append(to[key], value)
		slices.Sort(to[key])
	}
}

// clusterRules are those for what lies in no namespace, or may lie in any.
func (n *needs) clusterRules() []rule {
	var rules []rule
	resources := slices.SortedFunc(maps.Keys(n.cluster), func(a, b schema.GroupResource) int { return strings.Compare(a.String(), b.String()) })
	watched := map[string][]string{}
	for _, gr := range resources {
		add(watched, gr.Group, gr.Resource)
		verbs := []string{"get", "create", "patch", "delete"}
		if gr.Resource == "namespaces" {
			verbs = verbs[:3] // it outlives the instance
		}
		rules = append(rules, rule{"What it deploys outside of its namespace. It applies by name, so that names bound creations, too.",
			policy(gr.Group, []string{gr.Resource}, verbs, n.cluster[gr]...)})
	}
	for group, resources := range n.namespaced {
		for _, r := range resources {
			add(watched, group, r)
		}
	}
	for _, group := range slices.Sorted(maps.Keys(n.flux)) {
		rules = append(rules, rule{"All objects of the components: their figures, the migration of what is stored, and their finalizers when the components go.",
			policy(group, n.flux[group], []string{"get", "list", "watch", "patch"})})
		delete(watched, group)
	}
	for _, group := range slices.Sorted(maps.Keys(watched)) {
		rules = append(rules, rule{"Watches of what it has deployed, by label: so drift is seen. There are no Secrets among it.",
			policy(group, watched[group], []string{"list", "watch"})})
	}
	return append(append(rules, n.granting()...),
		rule{"The definitions of its own kinds, when it upgrades itself.", policy(crdGroup, []string{crds}, []string{"get", "create", "patch"}, n.own...)},
		rule{"The stored versions of a definition, when its objects are migrated.",
			policy(crdGroup, []string{crds + "/status"}, []string{"patch"}, n.cluster[schema.GroupResource{Group: crdGroup, Resource: crds}]...)},
		rule{"The figures of its own kinds, and which instances deploy to the same cluster.",
			policy(fluxv1.GroupVersion.Group, []string{"fluxinstances", "resourcesets", "resourcesetinputproviders"}, []string{"list"})},
		rule{"What the report tells of the cluster.", policy("", []string{"nodes"}, []string{"list"})},
		rule{"The identity of the cluster.", policy("", []string{"namespaces"}, []string{"get"}, "kube-system")},
		rule{"Whether the API server has priority and fairness.", rbacv1.PolicyRule{NonResourceURLs: []string{"/livez/ping"}, Verbs: []string{"head"}}},
	)
}

// granting are the rules by which the operator gives the components rights that it does not have.
func (n *needs) granting() []rule {
	return []rule{
		{"The roles of the components hold more than this one: to write them, and only them, takes a right of its own.",
			policy(rbacGroup, []string{"clusterroles"}, []string{"escalate"}, n.cluster[schema.GroupResource{Group: rbacGroup, Resource: "clusterroles"}]...)},
		{"And so does giving them, and cluster-admin, to the components.",
			policy(rbacGroup, []string{"clusterroles"}, []string{"bind"}, n.bound...)},
	}
}

// localRules are those for the namespace of the operator.
func (n *needs) localRules() []rule {
	var rules []rule
	for _, group := range slices.Sorted(maps.Keys(n.namespaced)) {
		rules = append(rules, rule{"What it deploys beside itself. Shards have names of the user's.",
			policy(group, n.namespaced[group], []string{"get", "create", "patch", "delete"})})
	}
	return append(rules,
		rule{"Its own objects.", policy(fluxv1.GroupVersion.Group, []string{"fluxinstances", "fluxreports"}, []string{"get", "list", "watch", "create", "patch"})},
		rule{"Their status.", policy(fluxv1.GroupVersion.Group, []string{"fluxinstances/status", "fluxreports/status"}, []string{"patch"})},
		rule{"ResourceSets beside it, and what gives them inputs. What they apply takes rights of its own: those of an account that an administrator lets it impersonate.",
			policy(fluxv1.GroupVersion.Group, []string{"resourcesets"}, []string{"get", "list", "watch", "patch"})},
		rule{"The same.", policy(fluxv1.GroupVersion.Group, []string{"resourcesets/status"}, []string{"patch"})},
		rule{"The same.", policy(fluxv1.GroupVersion.Group, []string{"resourcesetinputproviders"}, []string{"get", "list", "watch"})},
		rule{"Why a component does not come up, and which Deployment runs the operator.",
			policy("", []string{"pods"}, []string{"get", "list"})},
		rule{"The same.", policy("apps", []string{"replicasets"}, []string{"get", "list"})},
		rule{"What the instance refers to: credentials, keys, kubeconfigs.", policy("", []string{"configmaps", "secrets"}, []string{"get", "list", "watch"})},
		rule{"The last good release.", policy("", []string{"secrets"}, []string{"patch"}, record)},
		rule{"The same, and the key of plans, whose creation has no name yet.", policy("", []string{"secrets"}, []string{"create"})},
		rule{"The plan of an upgrade that waits for its approval.", policy("", []string{"configmaps"}, []string{"create", "patch"}, plan)},
		rule{"The cloud identity of the operator, for registries.", policy("", []string{"serviceaccounts/token"}, []string{"create"}, operator)},
		rule{"Events about its objects.", policy("events.k8s.io", []string{"events"}, []string{"create", "patch"})},
		rule{"Events of the election.", policy("", []string{"events"}, []string{"create", "patch"})},
		rule{"The election.", policy("coordination.k8s.io", []string{"leases"}, []string{"get", "update", "patch"}, lease)},
		rule{"A creation has no name yet.", policy("coordination.k8s.io", []string{"leases"}, []string{"create"})},
	)
}

func policy(group string, resources, verbs []string, names ...string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{APIGroups: []string{group}, Resources: resources, Verbs: verbs, ResourceNames: names}
}

// roles writes the roles, and the binding of the one of the namespace. That of the cluster is bound by the operator's own manifest.
func roles(objects []*unstructured.Unstructured) ([]byte, error) {
	n, err := needsOf(objects)
	if err != nil {
		return nil, err
	}
	b := bytes.NewBufferString("# Written by cmd/rights from the distribution: make generate.\n")
	for i, r := range []struct {
		kind  string
		local bool
		rules []rule
	}{{"ClusterRole", false, n.clusterRules()}, {"Role", true, n.localRules()}} {
		if i > 0 {
			b.WriteString("---\n")
		}
		fmt.Fprintf(b, "apiVersion: %s/v1\nkind: %s\nmetadata:\n  name: %s\n", rbacGroup, r.kind, operator)
		if r.local {
			fmt.Fprintf(b, "  namespace: %s\n", namespace)
		}
		fmt.Fprintf(b, "  labels:\n    app.kubernetes.io/name: %[1]s\n    app.kubernetes.io/instance: %[1]s\nrules:\n", operator)
		writeRules(b, r.rules)
	}
	fmt.Fprintf(b, `---
apiVersion: %[1]s/v1
kind: RoleBinding
metadata:
  name: %[2]s
  namespace: %[3]s
  labels:
    app.kubernetes.io/name: %[2]s
    app.kubernetes.io/instance: %[2]s
roleRef:
  apiGroup: %[1]s
  kind: Role
  name: %[2]s
subjects:
  - kind: ServiceAccount
    name: %[2]s
    namespace: %[3]s
`, rbacGroup, operator, namespace)
	return b.Bytes(), nil
}

// writeRules writes each rule below what it is for, which is said once for those that follow each other.
func writeRules(b *bytes.Buffer, rules []rule) {
	said := ""
	for _, r := range rules {
		if r.why != said {
			said = r.why
			fmt.Fprintf(b, "  # %s\n", r.why)
		}
		dash := "-"
		for _, field := range []struct {
			name   string
			values []string
		}{
			{"apiGroups", r.APIGroups}, {"resources", r.Resources}, {"resourceNames", r.ResourceNames},
			{"nonResourceURLs", r.NonResourceURLs}, {"verbs", r.Verbs},
		} {
			if len(field.values) > 0 {
				fmt.Fprintf(b, "  %s %s: [%s]\n", dash, field.name, strings.Join(quoted(field.values), ", "))
				dash = " "
			}
		}
	}
}

// quoted are values as YAML has them: the name of the core group is empty.
func quoted(values []string) []string {
	out := slices.Clone(values)
	for i, v := range out {
		if v == "" {
			out[i] = `""`
		}
	}
	return out
}
