package v1

import (
	"cmp"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weir-dev/weir/api/meta"
)

// ResourceSetKind is the kind of a ResourceSet.
const ResourceSetKind = "ResourceSet"

// How the inputs of several providers are combined.
const (
	// InputStrategyFlatten puts them in one list.
	InputStrategyFlatten = "Flatten"

	// InputStrategyPermute makes every combination of one input of each provider.
	InputStrategyPermute = "Permute"
)

// ResourceSet renders templates, once for each input, and applies the objects.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:shortName=rset,categories=all;fluxcd;fluxcd-appliers
// +kubebuilder:subresource:status
// +kubebuilder:metadata:annotations="kustomize.toolkit.fluxcd.io/substitute=disabled"
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
type ResourceSet struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// Spec is what is wanted.
	// +optional
	Spec ResourceSetSpec `json:"spec,omitzero"`

	// Status is what was seen.
	// +optional
	Status ResourceSetStatus `json:"status,omitzero"`
}

// ResourceSetList is a list of ResourceSets.
//
// +kubebuilder:object:root=true
type ResourceSetList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitzero"`

	// Items of the list.
	Items []ResourceSet `json:"items"`
}

// ResourceSetInput is a set of named values of any type.
type ResourceSetInput map[string]*apiextensionsv1.JSON

// ResourceSetSpec says what to render with which inputs, and how to apply it. Templates are Go templates that are
// delimited by << and >>.
//
// +kubebuilder:validation:XValidation:rule="!has(self.steps) || (!has(self.resources) && !has(self.resourcesTemplate))",message="steps is mutually exclusive with resources and resourcesTemplate"
// +kubebuilder:validation:XValidation:rule="has(self.steps) || has(self.resources) || has(self.resourcesTemplate)",message="at least one of steps, resources or resourcesTemplate must be set"
type ResourceSetSpec struct {
	// CommonMetadata is added to all objects.
	// +optional
	CommonMetadata *meta.CommonMetadata `json:"commonMetadata,omitempty"`

	// InputStrategy says how to combine the inputs of several providers. Defaults to Flatten.
	// +optional
	InputStrategy *InputStrategy `json:"inputStrategy,omitempty"`

	// Inputs that are written here.
	// +optional
	Inputs []ResourceSetInput `json:"inputs,omitempty"`

	// InputsFrom names providers of more inputs.
	// +optional
	InputsFrom []InputProviderReference `json:"inputsFrom,omitempty"`

	// Resources are templates of objects.
	// +kubebuilder:validation:items:Type=object
	// +optional
	Resources []*apiextensionsv1.JSON `json:"resources,omitempty"`

	// ResourcesTemplate is a template of YAML documents.
	// +optional
	ResourcesTemplate string `json:"resourcesTemplate,omitempty"`

	// Steps apply several sets of objects, each when those of the step before are healthy.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=20
	// +kubebuilder:validation:XValidation:rule="self.all(s, self.exists_one(t, t.name == s.name))",message="step names must be unique"
	// +optional
	Steps []ResourceSetStep `json:"steps,omitempty"`

	// DependsOn names objects that have to exist, or be ready, before anything is applied.
	// +optional
	DependsOn []Dependency `json:"dependsOn,omitempty"`

	// ServiceAccountName names a ServiceAccount in the same namespace, as which to apply.
	// +optional
	ServiceAccountName string `json:"serviceAccountName,omitempty"`

	// Wait for the objects, with Steps for those of the last one, to be healthy.
	// +optional
	Wait bool `json:"wait,omitempty"`
}

// InputStrategy says how to combine the inputs of several providers.
//
// +kubebuilder:validation:XValidation:rule="!has(self.includeEmptyProviders) || self.name == 'Permute'",message="includeEmptyProviders only applies when name is Permute"
type InputStrategy struct {
	// Name of the strategy.
	// +kubebuilder:validation:Enum=Flatten;Permute
	// +required
	Name string `json:"name"`

	// IncludeEmptyProviders lets a provider without inputs make the combinations empty; it is left out otherwise.
	// +optional
	IncludeEmptyProviders bool `json:"includeEmptyProviders,omitempty"`
}

// InputProviderReference selects providers of inputs in the same namespace, by name or by label.
//
// +kubebuilder:validation:XValidation:rule="has(self.name) || has(self.selector)",message="at least one of name or selector must be set for input provider references"
// +kubebuilder:validation:XValidation:rule="!has(self.name) || !has(self.selector)",message="cannot set both name and selector for input provider references"
type InputProviderReference struct {
	// APIVersion of the provider.
	// +kubebuilder:validation:Enum=fluxcd.controlplane.io/v1
	// +optional
	APIVersion string `json:"apiVersion,omitempty"`

	// Kind of the provider.
	// +kubebuilder:validation:Enum=ResourceSetInputProvider
	// +optional
	Kind string `json:"kind,omitempty"`

	// Name of the provider.
	// +optional
	Name string `json:"name,omitempty"`

	// Selector of the labels of providers.
	// +optional
	Selector *metav1.LabelSelector `json:"selector,omitempty"`
}

// ResourceSetStep is a set of objects that is applied at once.
//
// +kubebuilder:validation:XValidation:rule="has(self.resources) || has(self.resourcesTemplate)",message="at least one of resources or resourcesTemplate must be set"
type ResourceSetStep struct {
	// Name of the step, unique in the ResourceSet.
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	// +required
	Name string `json:"name"`

	// Resources are templates of objects.
	// +kubebuilder:validation:items:Type=object
	// +optional
	Resources []*apiextensionsv1.JSON `json:"resources,omitempty"`

	// ResourcesTemplate is a template of YAML documents.
	// +optional
	ResourcesTemplate string `json:"resourcesTemplate,omitempty"`

	// Timeout of the wait for the objects. Defaults to the timeout of the ResourceSet.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`
	// +optional
	Timeout *metav1.Duration `json:"timeout,omitempty"`
}

// Dependency names an object of any kind.
//
// +kubebuilder:validation:XValidation:rule="!has(self.readyExpr) || has(self.ready)",message="ready must be set when readyExpr is set"
type Dependency struct {
	// APIVersion of the object.
	// +required
	APIVersion string `json:"apiVersion"`

	// Kind of the object.
	// +required
	Kind string `json:"kind"`

	// Name of the object.
	// +required
	Name string `json:"name"`

	// Namespace of the object. Defaults to that of the ResourceSet; leave it out for a cluster-scoped kind.
	// +optional
	Namespace string `json:"namespace,omitempty"`

	// Ready asks for the object to be ready, not only to exist.
	// +optional
	Ready bool `json:"ready,omitempty"`

	// ReadyExpr is a CEL expression of type bool, over the top-level fields of the object, that says whether it is ready.
	// +optional
	ReadyExpr string `json:"readyExpr,omitempty"`
}

// ResourceSetStatus is what was applied, and how it went.
type ResourceSetStatus struct {
	// LastHandledReconcileAt is the last value of the annotation reconcile.fluxcd.io/requestedAt that was acted on.
	// +optional
	LastHandledReconcileAt string `json:"lastHandledReconcileAt,omitempty"`

	// Conditions of the ResourceSet.
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// Inventory lists the applied objects.
	// +optional
	Inventory *meta.ResourceInventory `json:"inventory,omitempty"`

	// LastAppliedRevision is the digest of the objects of the last reconcile that succeeded.
	// +optional
	LastAppliedRevision string `json:"lastAppliedRevision,omitempty"`

	// ExternalChecksumRefs are the objects, as <kind>/<namespace>/<name>, whose checksums were written into others, and
	// which were not applied by the ResourceSet itself.
	// +optional
	ExternalChecksumRefs []string `json:"externalChecksumRefs,omitempty"`

	// History of what was applied, newest first.
	// +optional
	History meta.History `json:"history,omitempty"`
}

// StatusFields returns the parts of the status that every kind has.
func (in *ResourceSet) StatusFields() meta.StatusFields {
	return meta.StatusFields{
		Conditions:             &in.Status.Conditions,
		LastHandledReconcileAt: &in.Status.LastHandledReconcileAt,
	}
}

// Suspended tells whether ReconcileAnnotation is set to disabled.
func (in *ResourceSet) Suspended() bool {
	return meta.Disabled(in.Annotations, ReconcileAnnotation)
}

// GetInterval returns the interval between reconciles: ReconcileEveryAnnotation, or DefaultResourceSetInterval.
func (in *ResourceSet) GetInterval() time.Duration {
	return durationFrom(in.Annotations, ReconcileEveryAnnotation, DefaultResourceSetInterval)
}

// GetTimeout returns the timeout of waits: ReconcileTimeoutAnnotation, or DefaultTimeout.
func (in *ResourceSet) GetTimeout() time.Duration {
	return durationFrom(in.Annotations, ReconcileTimeoutAnnotation, DefaultTimeout)
}

// GetStepTimeout returns the timeout of the wait of a step: its own, or GetTimeout.
func (in *ResourceSet) GetStepTimeout(step *ResourceSetStep) time.Duration {
	if step.Timeout != nil {
		return step.Timeout.Duration
	}

	return in.GetTimeout()
}

// GetInputStrategy returns the name of the strategy: InputStrategyFlatten, unless the spec sets one.
func (in *ResourceSet) GetInputStrategy() string {
	if in.Spec.InputStrategy == nil {
		return InputStrategyFlatten
	}

	return cmp.Or(in.Spec.InputStrategy.Name, InputStrategyFlatten)
}
