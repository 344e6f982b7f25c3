package distribution

import (
	"fmt"
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
)

// fitAccess gives the cluster-wide roles names of their own and grants them to the accounts that are there.
func (p *plan) fitAccess() error {
	for _, o := range p.objects {
		var err error
		switch o.GetKind() {
		case "ClusterRole":
			err = convert(o, p.fitRole)
		case "ClusterRoleBinding":
			err = convert(o, p.fitBinding)
		}
		if err != nil {
			return fmt.Errorf("fit %s %q: %w", o.GetKind(), o.GetName(), err)
		}
	}
	return nil
}

func (p *plan) fitRole(role *rbacv1.ClusterRole) {
	role.Name += "-" + p.instance.Namespace
	if !p.cluster.ObjectLevelWorkloadIdentity {
		role.Rules = slices.DeleteFunc(role.Rules, func(r rbacv1.PolicyRule) bool {
			return slices.Contains(r.Resources, "serviceaccounts/token")
		})
	}
}

func (p *plan) fitBinding(binding *rbacv1.ClusterRoleBinding) {
	suffix := "-" + p.instance.Namespace
	ours := binding.RoleRef.Name == binding.Name // and not a role of the cluster
	if ours {
		binding.RoleRef.Name += suffix
	}
	binding.Name += suffix
	binding.Subjects = slices.DeleteFunc(binding.Subjects, func(s rbacv1.Subject) bool {
		return !p.hasAccount(s.Name) || s.Name == unified && !ours && !p.applies()
	})
	for i := range binding.Subjects {
		binding.Subjects[i].Namespace = p.instance.Namespace
	}
}

// applies tells whether the instance deploys for users, and so needs their rights.
func (p *plan) applies() bool {
	return p.has(fluxv1.KustomizeController) || p.has(fluxv1.HelmController)
}

// hasAccount tells whether the service account is one of the instance.
func (p *plan) hasAccount(name string) bool {
	return p.has(name) || name == unified && p.instance.GetTopology() == fluxv1.TopologyUnified
}

// convert changes an object through its type.
func convert[T any](o *unstructured.Unstructured, change func(*T)) error {
	typed := new(T)
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, typed); err != nil {
		return err
	}
	change(typed)
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(typed)
	if err != nil {
		return err
	}
	o.Object = content
	return nil
}
