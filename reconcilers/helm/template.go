package helm

import (
	"context"
	"fmt"
	"maps"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	v2 "github.com/weir-dev/weir/api/helm/v2"
	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/engine"
)

// chartKey names the HelmChart that is made for a HelmRelease with a template of one.
func chartKey(obj *v2.HelmRelease) types.NamespacedName {
	return types.NamespacedName{Namespace: obj.Spec.Chart.GetNamespace(obj.Namespace), Name: obj.GetHelmChartName()}
}

// template makes the HelmChart, and deletes the one that is not needed any more.
func (r *reconciler) template(ctx context.Context, obj *v2.HelmRelease, s *scope) error {
	wanted := ""
	if obj.Spec.Chart != nil {
		wanted = chartKey(obj).String()
	}

	if obj.Status.HelmChart != "" && obj.Status.HelmChart != wanted {
		if err := r.untemplate(ctx, obj, s); err != nil {
			return err
		}
	}

	if wanted == "" {
		return nil
	}

	key := chartKey(obj)
	if r.NoCrossNamespaceRefs && key.Namespace != obj.Namespace {
		return fmt.Errorf("can't access '%s/%s', cross-namespace references have been blocked", sourcev1.HelmChartKind, key)
	}

	return r.applyTemplate(ctx, obj, key)
}

func (r *reconciler) applyTemplate(ctx context.Context, obj *v2.HelmRelease, key types.NamespacedName) error {
	body, err := yaml.Marshal(templated(obj, key))
	if err != nil {
		return fmt.Errorf("write HelmChart '%s': %w", key, err)
	}

	reason := ""

	before, err := r.Access.Own().GetMeta(ctx, chartRef(key))
	switch {
	case apierrors.IsNotFound(err):
		reason = v2.HelmChartCreatedReason
	case err != nil:
		return fmt.Errorf("get HelmChart '%s': %w", key, err)
	case !takes(obj, before):
		return fmt.Errorf("HelmChart '%s' is there already, and was not made for this HelmRelease: it has the label %s=%s/%s. "+
			"Rename this HelmRelease, or delete that HelmChart", key, v2.Group, before.Labels[v2.OwnerNamespaceLabel], before.Labels[v2.OwnerNameLabel])
	}

	after, err := r.Access.Own().Apply(ctx, chartRef(key), body, access.ApplyOptions{Manager: Controller, Force: true})
	if err != nil {
		return fmt.Errorf("failed to reconcile HelmChart '%s': %w", key, err)
	}

	if reason == "" && before.ResourceVersion != after.ResourceVersion {
		reason = v2.HelmChartConfiguredReason
	}

	if obj.Status.HelmChart = key.String(); reason != "" {
		ref := obj.Spec.Chart.Spec.SourceRef
		trace(ctx, reason, fmt.Sprintf("%s HelmChart/%s with SourceRef '%s/%s/%s'",
			strings.TrimPrefix(reason, "HelmChart"), key, ref.Kind, key.Namespace, ref.Name))
	}

	return nil
}

// templated returns the HelmChart that a HelmRelease wants.
func templated(obj *v2.HelmRelease, key types.NamespacedName) any {
	in := obj.Spec.Chart.Spec
	labels, annotations := map[string]string{}, map[string]string{}

	if m := obj.Spec.Chart.ObjectMeta; m != nil {
		maps.Copy(labels, m.Labels)
		maps.Copy(annotations, m.Annotations)
	}

	labels[v2.OwnerNameLabel], labels[v2.OwnerNamespaceLabel] = obj.Name, obj.Namespace

	spec := sourcev1.HelmChartSpec{
		Chart: in.Chart, Version: in.Version, ReconcileStrategy: in.ReconcileStrategy, ValuesFiles: in.ValuesFiles,
		IgnoreMissingValuesFiles: in.IgnoreMissingValuesFiles,
		Interval:                 metav1.Duration{Duration: obj.Spec.Chart.GetInterval(obj.Spec.Interval.Duration)},
		SourceRef:                sourcev1.LocalHelmChartSourceReference{APIVersion: in.SourceRef.APIVersion, Kind: in.SourceRef.Kind, Name: in.SourceRef.Name},
	}

	if v := in.Verify; v != nil {
		spec.Verify = &sourcev1.OCIVerification{Provider: v.Provider, SecretRef: v.SecretRef}
	}

	metadata := map[string]any{"namespace": key.Namespace, "name": key.Name, "labels": labels}
	if len(annotations) > 0 {
		metadata["annotations"] = annotations
	}

	return map[string]any{
		"apiVersion": sourcev1.GroupVersion.String(), "kind": sourcev1.HelmChartKind, "metadata": metadata, "spec": spec,
	}
}

func chartRef(key types.NamespacedName) access.Ref {
	return access.Ref{
		ID:      access.ID{Group: sourcev1.GroupVersion.Group, Kind: sourcev1.HelmChartKind, Namespace: key.Namespace, Name: key.Name},
		Version: sourcev1.GroupVersion.Version,
	}
}

// untemplate deletes the HelmChart that was made.
func (r *reconciler) untemplate(ctx context.Context, obj *v2.HelmRelease, _ *scope) error {
	namespace, name, ok := strings.Cut(obj.Status.HelmChart, "/")
	if !ok || (obj.Spec.Suspend && !obj.DeletionTimestamp.IsZero()) {
		return nil
	}

	made, err := r.made(ctx, obj, types.NamespacedName{Namespace: namespace, Name: name})
	if err == nil && made != nil {
		err = r.Access.Own().Delete(ctx, chartRef(client.ObjectKeyFromObject(made)), access.DeleteOptions{UID: made.UID})
	}

	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("failed to delete HelmChart '%s': %w", obj.Status.HelmChart, err)
	}

	trace(ctx, v2.HelmChartDeletedReason, fmt.Sprintf("Deleted HelmChart '%s'", obj.Status.HelmChart))
	obj.Status.HelmChart = ""

	return nil
}

// takes tells whether a HelmChart that is there may be written for the HelmRelease. The names of two tenants can make the same one: that of
// a-b/c for a/b-c, with whose rights its content is released. What somebody has made by hand is his as long as it is in another namespace.
func takes(obj *v2.HelmRelease, found *metav1.PartialObjectMetadata) bool {
	name, namespace := found.Labels[v2.OwnerNameLabel], found.Labels[v2.OwnerNamespaceLabel]
	if name == "" && namespace == "" {
		return found.Namespace == obj.Namespace
	}

	return name == obj.Name && namespace == obj.Namespace
}

// made returns the HelmChart if it is there and was made for the HelmRelease: what a status says is no proof.
func (r *reconciler) made(ctx context.Context, obj *v2.HelmRelease, key types.NamespacedName) (*metav1.PartialObjectMetadata, error) {
	found, err := r.Access.Own().GetMeta(ctx, chartRef(key))
	if err != nil {
		return nil, err //nolint:wrapcheck // the caller says what it is about
	}

	if found.Labels[v2.OwnerNameLabel] != obj.Name || found.Labels[v2.OwnerNamespaceLabel] != obj.Namespace {
		return nil, nil
	}

	return found, nil
}

func trace(ctx context.Context, reason, message string) {
	engine.Emit(ctx, engine.Event{Severity: meta.EventSeverityTrace, Reason: reason, Message: message})
}
