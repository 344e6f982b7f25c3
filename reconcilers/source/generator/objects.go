package generator

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/api/sourceextensions/v1beta1"
	"github.com/weir-dev/weir/reconcilers/artifact"
)

// managedByLabel says who writes an object.
const managedByLabel = "app.kubernetes.io/managed-by"

// readyMessage is that of an ExternalArtifact that can be used.
const readyMessage = "Artifact is ready"

// published are the ExternalArtifacts of a generator, by name.
type published map[string]*sourcev1.ExternalArtifact

// ownerOf returns the owner of the artifacts of an ExternalArtifact.
func ownerOf(namespace, name string) artifact.Owner {
	return artifact.Owner{Kind: sourcev1.ExternalArtifactKind, Namespace: namespace, Name: name}
}

// published returns the ExternalArtifacts that have the label of the generator.
func (r *reconciler) published(ctx context.Context, obj *v1beta1.ArtifactGenerator) (published, error) {
	list := &sourcev1.ExternalArtifactList{}

	err := r.Client.List(ctx, list, client.InNamespace(obj.Namespace),
		client.MatchingLabels{v1beta1.GeneratorLabel: string(obj.UID)})
	if err != nil {
		return nil, fmt.Errorf("list external artifacts: %w", err)
	}

	all := published{}
	for i := range list.Items {
		all[list.Items[i].Name] = &list.Items[i]
	}

	return all, nil
}

// get returns the ExternalArtifact of the name, or nil if there is none.
func (r *reconciler) get(ctx context.Context, namespace, name string) (*sourcev1.ExternalArtifact, error) {
	ea := &sourcev1.ExternalArtifact{}

	err := r.Client.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, ea)
	if apierrors.IsNotFound(err) {
		return nil, nil //nolint:nilnil // there is none
	}

	if err != nil {
		return nil, fmt.Errorf("get external artifact: %w", err)
	}

	return ea, nil
}

// owns tells whether an ExternalArtifact is the generator's: it has its label. If it has the label of another one, or had one
// once, it still is if it names the generator as its source: such is one that was made anew, as from a backup.
func owns(obj *v1beta1.ArtifactGenerator, ea *sourcev1.ExternalArtifact) bool {
	label := ea.Labels[v1beta1.GeneratorLabel]
	if label != "" && label == string(obj.UID) {
		return true
	}

	key, ok := MakerKey(ea)

	return ok && key == client.ObjectKeyFromObject(obj) && (label != "" || listed(obj, ea.Name) != nil)
}

// listed returns the entry of the inventory with the name, or nil.
func listed(obj *v1beta1.ArtifactGenerator, name string) *v1beta1.ExternalArtifactReference {
	for i := range obj.Status.Inventory {
		if e := &obj.Status.Inventory[i]; e.Name == name && e.Namespace == obj.Namespace {
			return e
		}
	}

	return nil
}

// foreign says who owns an ExternalArtifact that is not the generator's.
func foreign(ea *sourcev1.ExternalArtifact) error {
	name := client.ObjectKeyFromObject(ea)
	if key, ok := MakerKey(ea); ok {
		return fmt.Errorf("ExternalArtifact '%s' belongs to ArtifactGenerator '%s'", name, key)
	}

	return fmt.Errorf("ExternalArtifact '%s' was not made by an ArtifactGenerator, and is not taken over", name)
}

// desired returns the ExternalArtifact without its status as the generator wants it.
func desired(obj *v1beta1.ArtifactGenerator, o *output) *sourcev1.ExternalArtifact {
	ea := &sourcev1.ExternalArtifact{
		TypeMeta:   metav1.TypeMeta{APIVersion: sourcev1.GroupVersion.String(), Kind: sourcev1.ExternalArtifactKind},
		ObjectMeta: metav1.ObjectMeta{Namespace: obj.Namespace, Name: o.Name, Labels: maps.Clone(o.labels)},
		Spec: sourcev1.ExternalArtifactSpec{SourceRef: &meta.NamespacedObjectKindReference{
			APIVersion: v1beta1.GroupVersion.String(), Kind: v1beta1.ArtifactGeneratorKind,
			Name: obj.Name, Namespace: obj.Namespace,
		}},
	}

	if c := obj.Spec.CommonMetadata; c != nil {
		ea.Annotations = maps.Clone(c.Annotations)
	}

	maps.Copy(ea.Labels, reserved(obj))

	return ea
}

// reserved are the labels that nothing overrides.
func reserved(obj *v1beta1.ArtifactGenerator) map[string]string {
	return map[string]string{managedByLabel: Controller, v1beta1.GeneratorLabel: string(obj.UID)}
}

// includes tells whether an ExternalArtifact has the metadata and the spec that are wanted. It may have more.
func includes(ea, want *sourcev1.ExternalArtifact) bool {
	return contains(ea.Labels, want.Labels) && contains(ea.Annotations, want.Annotations) &&
		equality.Semantic.DeepEqual(ea.Spec, want.Spec)
}

func contains(have, want map[string]string) bool {
	for key, value := range want {
		if v, ok := have[key]; !ok || v != value {
			return false
		}
	}

	return true
}

// ensure makes the ExternalArtifact, or changes its metadata and spec. Live is the one that is there, or nil; renewed tells
// that there may be metadata on it that the generator does not want any more.
func (r *reconciler) ensure(
	ctx context.Context, live, want *sourcev1.ExternalArtifact, renewed bool,
) (*sourcev1.ExternalArtifact, error) {
	if live == nil {
		// What may have to go again one day is applied after that: so it is known whose it was.
		live = want.DeepCopy()
		live.Annotations, live.Labels = nil, map[string]string{}

		for _, key := range []string{managedByLabel, v1beta1.GeneratorLabel} {
			live.Labels[key] = want.Labels[key]
		}

		if err := r.Client.Create(ctx, live, client.FieldOwner(Controller)); err != nil {
			return nil, fmt.Errorf("failed to create ExternalArtifact: %w", err)
		}

		renewed = false
	}

	if !renewed && includes(live, want) {
		return live, nil
	}

	config, err := runtime.DefaultUnstructuredConverter.ToUnstructured(want)
	if err != nil {
		return nil, fmt.Errorf("failed to apply ExternalArtifact: %w", err)
	}

	delete(config, "status")

	// If somebody else has made it theirs meanwhile, it is not the one that was looked at.
	u := &unstructured.Unstructured{Object: config}
	u.SetResourceVersion(live.ResourceVersion)

	err = r.Client.Apply(ctx, client.ApplyConfigurationFromUnstructured(u), client.FieldOwner(Controller), client.ForceOwnership)
	if err != nil {
		return nil, fmt.Errorf("failed to apply ExternalArtifact: %w", err)
	}

	live = live.DeepCopy()
	live.ResourceVersion, live.Generation = u.GetResourceVersion(), u.GetGeneration()

	return live, nil
}

// publish writes the artifact into the status of an ExternalArtifact, if it is not there.
func (r *reconciler) publish(ctx context.Context, live *sourcev1.ExternalArtifact, a *meta.Artifact) error {
	after := live.DeepCopy()
	after.Status.Artifact = a

	ready := metav1.Condition{
		Type: meta.ReadyCondition, Status: metav1.ConditionTrue, Reason: meta.SucceededReason, Message: readyMessage,
		ObservedGeneration: live.Generation, LastTransitionTime: metav1.NewTime(r.Now().UTC()).Rfc3339Copy(),
	}
	apimeta.SetStatusCondition(&after.Status.Conditions, ready)

	if equality.Semantic.DeepEqual(live.Status, after.Status) {
		return nil
	}

	// The lock sees to it that this is written to the object that was looked at, and to none that has taken its name.
	patch := client.MergeFromWithOptions(live, client.MergeFromWithOptimisticLock{})
	if err := r.Client.Status().Patch(ctx, after, patch, client.FieldOwner(Controller)); err != nil {
		return fmt.Errorf("failed to patch ExternalArtifact status: %w", err)
	}

	return nil
}

// withdraw deletes an ExternalArtifact, if it is there, and removes its artifacts. Those of others stay.
func (r *reconciler) withdraw(ctx context.Context, obj *v1beta1.ArtifactGenerator, name string) error {
	ea, err := r.get(ctx, obj.Namespace, name)
	if err != nil {
		return err
	}

	if ea != nil && !owns(obj, ea) {
		return nil
	}

	if ea != nil {
		o := &client.DeleteOptions{}
		if ea.UID != "" {
			o.Preconditions = &metav1.Preconditions{UID: &ea.UID}
		}

		if err := r.Client.Delete(ctx, ea, o); err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("delete ExternalArtifact '%s/%s': %w", obj.Namespace, name, err)
		}
	}

	_, err = r.Store.Remove(ownerOf(obj.Namespace, name))
	if err != nil && !errors.Is(err, artifact.ErrInvalidPath) { // what has no name has no artifacts
		return fmt.Errorf("garbage collection for deleted resource failed: %w", err)
	}

	return nil
}

// groupOf returns the group of an API version.
func groupOf(apiVersion string) string {
	if group := path.Dir(apiVersion); group != "." {
		return group
	}

	return ""
}
