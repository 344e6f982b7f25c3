package report

import (
	"context"
	"fmt"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	helmv2 "github.com/weir-dev/weir/api/helm/v2"
	imagev1 "github.com/weir-dev/weir/api/image/v1"
	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	notificationv1 "github.com/weir-dev/weir/api/notification/v1"
	notificationv1beta3 "github.com/weir-dev/weir/api/notification/v1beta3"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	extensionsv1beta1 "github.com/weir-dev/weir/api/sourceextensions/v1beta1"
	"github.com/weir-dev/weir/reconcilers/access"
)

// Labels that tell what belongs to the distribution.
const (
	partOfFlux     = "app.kubernetes.io/part-of=flux"
	versionLabel   = "app.kubernetes.io/version"
	managedByLabel = "app.kubernetes.io/managed-by"
)

// bootstrapped is what installs the distribution by a Kustomization, whose label its objects carry.
const bootstrapped = "flux bootstrap"

// kinds are those that are told of, in the order of the report.
func kinds() []schema.GroupKind {
	var all []schema.GroupKind
	for _, g := range []struct {
		group string
		kinds []string
	}{
		{fluxv1.GroupVersion.Group, []string{fluxv1.FluxInstanceKind, fluxv1.ResourceSetKind, fluxv1.ResourceSetInputProviderKind}},
		{helmv2.GroupVersion.Group, []string{helmv2.HelmReleaseKind}},
		{imagev1.GroupVersion.Group, []string{imagev1.ImagePolicyKind, imagev1.ImageRepositoryKind, imagev1.ImageUpdateAutomationKind}},
		{kustomizev1.GroupVersion.Group, []string{kustomizev1.KustomizationKind}},
		{notificationv1.GroupVersion.Group, []string{
			notificationv1beta3.AlertKind, notificationv1beta3.ProviderKind, notificationv1.ReceiverKind,
		}},
		{extensionsv1beta1.GroupVersion.Group, []string{extensionsv1beta1.ArtifactGeneratorKind}},
		{sourcev1.GroupVersion.Group, []string{
			sourcev1.BucketKind, sourcev1.ExternalArtifactKind, sourcev1.GitRepositoryKind, sourcev1.HelmChartKind,
			sourcev1.HelmRepositoryKind, sourcev1.OCIRepositoryKind,
		}},
	} {
		for _, k := range g.kinds {
			all = append(all, schema.GroupKind{Group: g.group, Kind: k})
		}
	}
	return all
}

// survey is one look at the cluster.
type survey struct {
	client    *access.Client
	namespace string

	objects     []object
	reconcilers []fluxv1.ReconcilerReport
}

// look reads the objects of all kinds that are served.
func (s *survey) look(ctx context.Context) error {
	w := words{}
	for _, gk := range kinds() {
		m, err := s.client.Mapping(ctx, gk, "")
		if apimeta.IsNoMatchError(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("find kind %q: %w", gk, err)
		}
		from := len(s.objects)
		_, err = s.client.Each(ctx, gk, access.Query{Full: true}, func(item access.Item) error {
			o, err := w.read(gk.Kind, item.Raw)
			if err == nil && gk.Group == fluxv1.GroupVersion.Group {
				o.suspended, err = disabled(item.Raw)
			}
			s.objects = append(s.objects, o)
			return err
		})
		if apierrors.IsNotFound(err) { // the definition has just gone
			s.objects = s.objects[:from]
			continue
		}
		if err != nil {
			return fmt.Errorf("list %q: %w", gk, err)
		}
		s.reconcilers = append(s.reconcilers, fluxv1.ReconcilerReport{
			APIVersion: m.GroupVersion().String(), Kind: gk.Kind, Stats: count(s.objects[from:]),
		})
	}
	return nil
}

// count makes the figures of the objects of a kind.
func count(objects []object) fluxv1.ReconcilerStats {
	var stats fluxv1.ReconcilerStats
	var size int64
	for i := range objects {
		o := &objects[i]
		size += o.size
		if o.suspended {
			stats.Suspended++
			continue
		}
		stats.Running++
		if o.failing() {
			stats.Failing++
		}
	}
	if size > 0 {
		stats.TotalSize = inWords(size)
	}
	return stats
}

// inWords is a number of bytes as people read it.
func inWords(n int64) string {
	const step = 1024
	if n < step {
		return fmt.Sprintf("%d B", n)
	}
	value, unit := float64(n)/step, 0
	for value >= step && unit < len("KMGTPE")-1 {
		value, unit = value/step, unit+1
	}
	return fmt.Sprintf("%.1f %ciB", value, "KMGTPE"[unit])
}

// find returns the object of a look, or nil.
func (s *survey) find(kind, namespace, name string) *object {
	for i := range s.objects {
		if o := &s.objects[i]; o.kind == kind && o.namespace == namespace && o.name == name {
			return o
		}
	}
	return nil
}

// distribution tells what is installed, and by whom. It is installed if the definition of the first of its kinds is.
func (s *survey) distribution(ctx context.Context) (fluxv1.DistributionReport, error) {
	d := fluxv1.DistributionReport{Entitlement: fluxv1.EntitlementUnknown, Status: fluxv1.DistributionNotInstalled}
	live, err := s.client.GetMeta(ctx, access.Ref{ID: access.ID{
		Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition", Name: "gitrepositories." + sourcev1.GroupVersion.Group,
	}})
	if apierrors.IsNotFound(err) {
		return d, nil
	}
	if err != nil {
		return d, fmt.Errorf("look for the distribution: %w", err)
	}
	d.Status, d.Version, d.ManagedBy = fluxv1.DistributionInstalled, live.Labels[versionLabel], live.Labels[managedByLabel]
	if _, ok := live.Labels[kustomizev1.GroupVersion.Group+"/name"]; ok && d.ManagedBy == "" {
		d.ManagedBy = bootstrapped
	}
	return d, nil
}

// cluster tells what the cluster is. Who must not see the nodes does not count them.
func (s *survey) cluster(ctx context.Context) (*fluxv1.ClusterReport, error) {
	v, err := s.client.ServerVersion(ctx)
	if err != nil {
		return nil, fmt.Errorf("get the version of the API server: %w", err)
	}
	c := &fluxv1.ClusterReport{ServerVersion: v.GitVersion, Platform: v.Platform}
	_, err = s.client.Each(ctx, schema.GroupKind{Kind: "Node"}, access.Query{}, func(access.Item) error {
		c.Nodes++
		return nil
	})
	if apierrors.IsForbidden(err) {
		c.Nodes = 0
		return c, nil
	}
	if err != nil {
		return nil, fmt.Errorf("count the nodes: %w", err)
	}
	return c, nil
}

// components tells how the Deployments of the distribution are.
func (s *survey) components(ctx context.Context) ([]fluxv1.ComponentReport, error) {
	list, err := s.client.List(ctx, schema.GroupKind{Group: "apps", Kind: "Deployment"},
		access.Query{Namespace: s.namespace, Labels: partOfFlux})
	if err != nil {
		return nil, fmt.Errorf("list the components: %w", err)
	}
	components := make([]fluxv1.ComponentReport, 0, len(list))
	for i := range list {
		components = append(components, component(&list[i]))
	}
	return components, nil
}

func component(d *unstructured.Unstructured) fluxv1.ComponentReport {
	c := fluxv1.ComponentReport{Name: d.GetName(), Image: image(d)}
	result, err := status.Compute(d)
	if err != nil {
		c.Status = string(status.UnknownStatus) + " " + err.Error()
		return c
	}
	c.Ready, c.Status = result.Status == status.CurrentStatus, string(result.Status)+" "+result.Message
	return c
}

// image of the first container, which is the component's own.
func image(d *unstructured.Unstructured) string {
	containers, _, err := unstructured.NestedSlice(d.Object, "spec", "template", "spec", "containers")
	if err != nil || len(containers) == 0 {
		return ""
	}
	c, _ := containers[0].(map[string]any)
	name, _ := c["image"].(string)
	return name
}

// sync tells of what the cluster follows: the first sync of the instance, or what is named like the namespace.
func (s *survey) sync(ctx context.Context) (*fluxv1.SyncReport, error) {
	name, declared, err := s.syncName(ctx)
	if err != nil {
		return nil, err
	}
	k := s.find(kustomizev1.KustomizationKind, s.namespace, name)
	if k == nil && !declared {
		return nil, nil //nolint:nilnil // there is none
	}
	report := &fluxv1.SyncReport{ID: "kustomization/" + name}
	if k == nil {
		report.Status = fmt.Sprintf("Kustomization %q not found", name)
		return report, nil
	}
	report.Path, report.Ready, report.Status = k.path, isReady(k), k.message
	if k.suspended {
		report.Status = "Suspended " + report.Status
	}
	source := s.find(k.sourceKind, k.sourceSpace, k.source)
	if source == nil {
		return report, nil
	}
	report.Source = source.url
	if source.kind == sourcev1.BucketKind {
		report.Source += "/" + source.ref
	}
	if !isReady(source) && source.message != "" {
		report.Status += " " + source.message
	}
	return report, nil
}

func isReady(o *object) bool { return o.ready == "True" }

// syncName returns the name of the sync, and whether an instance declares it.
func (s *survey) syncName(ctx context.Context) (name string, declared bool, err error) {
	live, err := s.client.Get(ctx, access.Ref{ID: access.ID{
		Group: fluxv1.GroupVersion.Group, Kind: fluxv1.FluxInstanceKind, Namespace: s.namespace, Name: fluxv1.InstanceName,
	}})
	if apierrors.IsNotFound(err) || apimeta.IsNoMatchError(err) {
		return s.namespace, false, nil
	}
	if err != nil {
		return "", false, fmt.Errorf("get the FluxInstance: %w", err)
	}
	obj := &fluxv1.FluxInstance{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(live.Object, obj); err != nil {
		return "", false, fmt.Errorf("read the FluxInstance: %w", err)
	}
	if syncs := obj.GetSyncs(); len(syncs) > 0 && obj.Spec.KubeConfig == nil {
		return syncs[0].Name, true, nil
	}
	return s.namespace, false, nil
}
