package process

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/yaml"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/config/crd"
	leastprivilege "github.com/weir-dev/weir/config/least-privilege"
	"github.com/weir-dev/weir/config/operator"
	"github.com/weir-dev/weir/reconcilers/distribution"
	"github.com/weir-dev/weir/test/cluster"
	"github.com/weir-dev/weir/test/e2e/platform"
	"github.com/weir-dev/weir/test/gitserver"
)

// account is that of the operator.
const account = "flux-operator"

// TestLeastPrivilege is the life of an instance whose operator has the roles of config/least-privilege and nothing else: nothing that
// it asks of the API server is refused, and what it does not need is.
func TestLeastPrivilege(t *testing.T) {
	c := cluster.New(t, cluster.Options{Mode: cluster.ControlPlane, FakeNode: true, Audit: true})
	admin := must(kubernetes.NewForConfig(c.Config()))(t)
	kubeconfig := confined(t, c, admin)
	s := newStageBy(t, c, kubeconfig, "--controllers=instance", "--image="+image, "--enable-leader-election",
		"--watch-all-namespaces=false", "--leader-election-retry-period=1s")
	s.start(t)

	components := must(platform.NewManager(must(program())(t), c.Kubeconfig(), t.TempDir(), "--controllers=source-controller,kustomize-controller"))(t)
	t.Cleanup(func() {
		if err := components.Stop(); err != nil {
			t.Error(err)
		}
	})
	volumes(t, admin)

	files := map[string]string{"config.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: synced, namespace: default}\n"}
	repo, _ := s.repository(t, "fleet", gitserver.Change{Files: files})

	s.live(t, s.git.URL(repo), components)
	refused(t, c)
	harmless(t, kubeconfig)
}

// confined installs the operator's own objects but its Deployment, and returns a kubeconfig of its account.
func confined(t *testing.T, c *cluster.Cluster, admin kubernetes.Interface) string {
	t.Helper()

	install := must(distribution.Install(operator.FS(), crd.FS(), image))(t)
	install = must(distribution.Confine(install, leastprivilege.FS()))(t)
	client := must(platform.NewClient(c.Config()))(t)

	for _, o := range must(platform.Decode(install))(t) {
		if o.GetKind() == "Deployment" { // it runs beside the cluster
			continue
		}

		if err := client.Apply(deadline(t, patience), o); err != nil {
			t.Fatal(err)
		}
	}

	token := must(admin.CoreV1().ServiceAccounts(platform.Namespace).CreateToken(deadline(t, patience), account,
		&authenticationv1.TokenRequest{}, metav1.CreateOptions{}))(t)

	k := api.NewConfig()
	k.Clusters["c"] = &api.Cluster{Server: c.Config().Host, CertificateAuthorityData: must(authority(c.Config()))(t)}
	k.AuthInfos["c"] = &api.AuthInfo{Token: token.Status.Token}
	k.Contexts["c"] = &api.Context{Cluster: "c", AuthInfo: "c"}
	k.CurrentContext = "c"

	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*k, file); err != nil {
		t.Fatal(err)
	}

	return file
}

func authority(config *rest.Config) ([]byte, error) {
	if len(config.CAData) > 0 {
		return config.CAData, nil
	}

	return os.ReadFile(config.CAFile)
}

// volumes are there for whoever wants some.
func volumes(t *testing.T, admin kubernetes.Interface) {
	t.Helper()

	for i := range 8 {
		_, err := admin.CoreV1().PersistentVolumes().Create(deadline(t, patience), &corev1.PersistentVolume{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("volume-%d", i)},
			Spec: corev1.PersistentVolumeSpec{
				Capacity:    corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")},
				AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce, corev1.ReadWriteMany}, StorageClassName: "fast",
				PersistentVolumeSource: corev1.PersistentVolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/nowhere"}},
			},
		}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
	}
}

const everything = `
apiVersion: fluxcd.controlplane.io/v1
kind: FluxInstance
metadata: {name: flux, namespace: flux-system}
spec:
  distribution: {version: 2.x, registry: registry.example}
  components: [source-controller, kustomize-controller, helm-controller, notification-controller, image-reflector-controller, image-automation-controller, source-watcher]
  cluster: {multitenant: true, size: small}
  sharding: {shards: [blue, green], storage: persistent}
  storage: {class: fast, size: 1Gi}
  workloads:
  - components: [notification-controller]
    podDisruptionBudget: {maxUnavailable: 1}
  sync: {kind: GitRepository, url: %q, ref: refs/heads/main, path: ./}
`

// live is a life: each part of it ends with an instance that is ready.
func (s *stage) live(t *testing.T, url string, components *platform.Manager) {
	t.Helper()

	instance := decoded(t, fmt.Sprintf(everything, url))
	s.apply(t, instance)

	// What the instance deploys runs beside the cluster, with rights of its own: on this node, no program does.
	if err := components.Start(); err != nil {
		t.Fatal(err)
	}

	s.track(t, platform.FluxInstance(), report(), clusterRole(), clusterRoleBinding())
	s.await(t, "all components are installed", settled(instance))
	s.reported(t)
	s.drift(t, instance)
	s.change(t, "another size", `{"spec":{"cluster":{"multitenant":false,"size":"medium"}}}`)
	s.approve(t)
	s.change(t, "one Deployment", `{"spec":{"topology":"Unified","sharding":null}}`)
	s.change(t, "several Deployments again, without a sync",
		`{"spec":{"topology":null,"sync":null,"components":["source-controller","kustomize-controller"]}}`)
	s.change(t, "what is stored is migrated", fmt.Sprintf(`{"metadata":{"annotations":{%q:"now",%q:"now"}}}`,
		meta.ReconcileRequestAnnotation, meta.ForceRequestAnnotation), handled("now"))

	if err := s.client.Delete(deadline(t, patience), instance); err != nil {
		t.Fatal(err)
	}

	s.await(t, "the instance and its components are gone", func(now platform.Snapshot) error {
		if now.Get(platform.FluxInstance(), platform.Namespace, fluxv1.InstanceName) != nil {
			return errors.New("the FluxInstance is there")
		}

		return nil
	})
}

// reported looks at what the operator tells of it all.
func (s *stage) reported(t *testing.T) {
	t.Helper()

	name := fluxv1.InstanceName
	complete := func(now platform.Snapshot) error {
		r := now.Get(report(), platform.Namespace, name)
		if list, _, _ := unstructured.NestedSlice(field(r), "spec", "components"); len(list) < 7 { //nolint:errcheck // it is no list, then
			return fmt.Errorf("%d components are", len(list))
		}

		return platform.Current(r, "FluxReport")
	}
	s.await(t, "the components are reported", complete)

	token := must(s.client.Request(deadline(t, patience), report(), platform.Namespace, name))(t)
	s.await(t, "a report is made when it is asked for", func(now platform.Snapshot) error {
		if platform.Text(now.Get(report(), platform.Namespace, name), "status", "lastHandledReconcileAt") != token {
			return fmt.Errorf("the request %q is not answered", token)
		}

		return nil
	})

	metrics := must(s.manager.Metrics(deadline(t, patience)))(t)
	for _, want := range []string{
		`flux_operator_info{api_version="fluxcd.controlplane.io/v1",`, `flux_instance_info{exported_namespace="flux-system",kind="FluxInstance",name="flux",ready="True",`,
		`flux_resource_info{exported_namespace="flux-system",kind="GitRepository",name="flux-system",`,
	} {
		if strings.Count(metrics, want) != 1 {
			t.Errorf("%d of the metrics begin with %s", strings.Count(metrics, want), want)
		}
	}

	old := s.view.Now().Get(report(), platform.Namespace, name)
	if err := s.client.Delete(deadline(t, patience), old.DeepCopy()); err != nil {
		t.Fatal(err)
	}

	s.await(t, "a deleted report is made anew", complete, func(now platform.Snapshot) error {
		if r := now.Get(report(), platform.Namespace, name); r == nil || r.GetUID() == old.GetUID() {
			return errors.New("it is not another one")
		}

		return nil
	})
}

// settled tells whether the instance is ready, as it was made or changed.
func settled(instance *unstructured.Unstructured) func(platform.Snapshot) error {
	return func(now platform.Snapshot) error {
		o := now.Get(platform.FluxInstance(), platform.Namespace, fluxv1.InstanceName)
		if err := platform.Current(o, "FluxInstance"); err != nil {
			return err
		}

		if o.GetGeneration() < instance.GetGeneration() {
			return errors.New("the FluxInstance is an old one")
		}

		conditions, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions") //nolint:errcheck // then there are none
		for _, c := range conditions {
			if c, ok := c.(map[string]any); ok && c["type"] == "Ready" && c["observedGeneration"] != o.GetGeneration() {
				return fmt.Errorf("Ready is about generation %v, not %d", c["observedGeneration"], o.GetGeneration())
			}
		}

		return nil
	}
}

// drift changes and deletes what takes the most rights to put back.
func (s *stage) drift(t *testing.T, instance *unstructured.Unstructured) {
	t.Helper()

	const role, binding = "crd-controller-flux-system", "cluster-reconciler-flux-system"

	if _, err := s.client.Edit(deadline(t, patience), clusterRole(), "", role, `{"rules":[]}`); err != nil {
		t.Fatal(err)
	}

	old := s.view.Now().Get(clusterRoleBinding(), "", binding)
	if err := s.client.Delete(deadline(t, patience), old); err != nil {
		t.Fatal(err)
	}

	s.repairs(t, [2]string{platform.Namespace, "source-controller"}, "a deleted component is back")
	s.await(t, "the roles are back", func(now platform.Snapshot) error {
		if rules, _, _ := unstructured.NestedSlice(field(now.Get(clusterRole(), "", role)), "rules"); len(rules) < 5 { //nolint:errcheck // they are no rules, then
			return fmt.Errorf("%s has %d rules", role, len(rules))
		}

		if o := now.Get(clusterRoleBinding(), "", binding); o == nil || o.GetUID() == old.GetUID() {
			return fmt.Errorf("%s is not another", binding)
		}

		return nil
	})
	s.await(t, "all is well again", settled(instance))
}

// change edits the instance with a merge patch, and waits until it is ready with it.
func (s *stage) change(t *testing.T, what, patch string, more ...func(platform.Snapshot) error) {
	t.Helper()

	o := must(s.client.Edit(deadline(t, patience), platform.FluxInstance(), platform.Namespace, fluxv1.InstanceName, patch))(t)
	s.await(t, what, append(more, settled(o))...)
}

// approve makes a change that waits for its approval, and approves it.
func (s *stage) approve(t *testing.T) {
	t.Helper()

	s.change(t, "changes wait for their approval", `{"spec":{"upgrade":{"mode":"Manual"},"cluster":{"size":"large"}}}`, func(now platform.Snapshot) error {
		if now.Get(platform.Core("ConfigMap"), platform.Namespace, "flux-plan") == nil {
			return errors.New("there is no plan")
		}

		return nil
	})

	now := s.view.Now()
	plan := platform.Text(now.Get(platform.Core("ConfigMap"), platform.Namespace, "flux-plan"), "data", "digest")
	old := platform.Text(now.Get(platform.FluxInstance(), platform.Namespace, fluxv1.InstanceName), "status", "lastAppliedRevision")

	s.change(t, "an approved change is made", fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, fluxv1.ApprovedPlanAnnotation, plan),
		func(now platform.Snapshot) error {
			if o := now.Get(platform.FluxInstance(), platform.Namespace, fluxv1.InstanceName); platform.Text(o, "status", "lastAppliedRevision") == old {
				return fmt.Errorf("%s runs still", old)
			}

			return nil
		})
	s.change(t, "changes wait no more", `{"spec":{"upgrade":null}}`)
}

// handled tells whether the instance has answered a request.
func handled(at string) func(platform.Snapshot) error {
	return func(now platform.Snapshot) error {
		o := now.Get(platform.FluxInstance(), platform.Namespace, fluxv1.InstanceName)
		if platform.Text(o, "status", "lastHandledReconcileAt") != at {
			return fmt.Errorf("the request %q is not answered", at)
		}

		return nil
	}
}

// refused looks for requests of the operator that were refused.
func refused(t *testing.T, c *cluster.Cluster) {
	t.Helper()

	log := must(os.Open(c.AuditLog()))(t)
	defer log.Close() //nolint:errcheck // it was only read

	count := 0
	lines := bufio.NewScanner(log)
	lines.Buffer(nil, 8<<20)

	for lines.Scan() {
		var e struct {
			Verb, RequestURI string
			User             struct{ Username string }
			ResponseStatus   struct {
				Code    int
				Message string
			}
		}
		if json.Unmarshal(lines.Bytes(), &e) != nil || e.User.Username != "system:serviceaccount:"+platform.Namespace+":"+account {
			continue // the last line may be half
		}

		count++

		if e.ResponseStatus.Code == 403 {
			t.Errorf("the operator must not %s %s: %s", e.Verb, e.RequestURI, e.ResponseStatus.Message)
		}
	}

	if count == 0 {
		t.Error("the operator has asked for nothing")
	}
}

// harmless tries what somebody with the operator's token would.
func harmless(t *testing.T, kubeconfig string) {
	t.Helper()

	config := must(clientcmd.BuildConfigFromFlags("", kubeconfig))(t)
	thief := must(kubernetes.NewForConfig(config))(t)
	ctx := deadline(t, patience)
	admin := rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"}

	for what, try := range map[string]func(context.Context) error{
		"read Secrets of others": func(ctx context.Context) error {
			_, err := thief.CoreV1().Secrets("kube-system").List(ctx, metav1.ListOptions{})

			return err
		},
		"read all Secrets": func(ctx context.Context) error {
			_, err := thief.CoreV1().Secrets("").List(ctx, metav1.ListOptions{})

			return err
		},
		"run a pod elsewhere": func(ctx context.Context) error {
			_, err := thief.CoreV1().Pods("default").Create(ctx, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "a"}}, metav1.CreateOptions{})

			return err
		},
		"bind cluster-admin": func(ctx context.Context) error {
			_, err := thief.RbacV1().ClusterRoleBindings().Create(ctx, &rbacv1.ClusterRoleBinding{
				ObjectMeta: metav1.ObjectMeta{Name: "mine"}, RoleRef: admin,
			}, metav1.CreateOptions{})

			return err
		},
		"take the identity of a component": func(ctx context.Context) error {
			_, err := thief.CoreV1().ServiceAccounts(platform.Namespace).CreateToken(ctx, "default", &authenticationv1.TokenRequest{}, metav1.CreateOptions{})

			return err
		},
		"impersonate somebody": func(ctx context.Context) error {
			other := rest.CopyConfig(config)
			other.Impersonate.UserName = "system:serviceaccount:kube-system:default"
			_, err := must(kubernetes.NewForConfig(other))(t).CoreV1().Secrets(platform.Namespace).List(ctx, metav1.ListOptions{})

			return err
		},
	} {
		if err := try(ctx); !apierrors.IsForbidden(err) {
			t.Errorf("the operator can %s: %v", what, err)
		}
	}
}

func clusterRole() schema.GroupVersionKind { return rbacv1.SchemeGroupVersion.WithKind("ClusterRole") }

func clusterRoleBinding() schema.GroupVersionKind {
	return rbacv1.SchemeGroupVersion.WithKind("ClusterRoleBinding")
}

func report() schema.GroupVersionKind { return fluxv1.GroupVersion.WithKind(fluxv1.FluxReportKind) }

func field(o *unstructured.Unstructured) map[string]any {
	if o == nil {
		return nil
	}

	return o.Object
}

func decoded(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()

	o := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(text), &o.Object); err != nil {
		t.Fatal(err)
	}

	return o
}
