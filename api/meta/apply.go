package meta

import "cmp"

// CommonMetadata is added to every object that is produced; it wins over what the object has.
type CommonMetadata struct {
	// Annotations to add.
	// +optional
	Annotations map[string]string `json:"annotations,omitempty"`

	// Labels to add, to the metadata of the object only: never to selectors or templates.
	// +optional
	Labels map[string]string `json:"labels,omitempty"`
}

// Selector selects objects. Fields are ANDed; an empty field selects everything. Group, version, kind, namespace and
// name are regular expressions that have to match as a whole.
type Selector struct {
	// Group of the API.
	// +optional
	Group string `json:"group,omitempty"`

	// Version of the API.
	// +optional
	Version string `json:"version,omitempty"`

	// Kind of the object.
	// +optional
	Kind string `json:"kind,omitempty"`

	// Namespace of the object.
	// +optional
	Namespace string `json:"namespace,omitempty"`

	// Name of the object.
	// +optional
	Name string `json:"name,omitempty"`

	// AnnotationSelector matches the annotations, in the syntax of label selectors.
	// +optional
	AnnotationSelector string `json:"annotationSelector,omitempty"`

	// LabelSelector matches the labels.
	// +optional
	LabelSelector string `json:"labelSelector,omitempty"`
}

// Patch changes the objects that its target selects.
type Patch struct {
	// Patch is a strategic merge patch, or a list of JSON patch (RFC 6902) operations, in YAML.
	// +required
	Patch string `json:"patch"`

	// Target of the patch. A strategic merge patch may do without: it then names its object itself.
	// +optional
	Target *Selector `json:"target,omitempty"`
}

// Image replaces the name, tag or digest of an image wherever it is used.
type Image struct {
	// Name of the image to replace, without tag.
	// +required
	Name string `json:"name"`

	// NewName replaces the name.
	// +optional
	NewName string `json:"newName,omitempty"`

	// NewTag replaces the tag.
	// +optional
	NewTag string `json:"newTag,omitempty"`

	// Digest pins the image, with or without a tag.
	// +optional
	Digest string `json:"digest,omitempty"`
}

// IgnoreRule excludes fields of some objects from drift detection.
type IgnoreRule struct {
	// Paths are JSON pointers (RFC 6901) to the fields. An empty path excludes the whole object.
	// +required
	Paths []string `json:"paths"`

	// Target selects the objects. Without it, the rule is for all of them.
	// +optional
	Target *Selector `json:"target,omitempty"`
}

// CustomHealthCheck says with CEL expressions of type bool how healthy the objects of a kind are. The top-level fields
// of the object are the variables. InProgress is tried first, then Failed, then Current; if none holds, the object is
// in progress.
type CustomHealthCheck struct {
	// APIVersion of the objects, as group/version. Only the group counts.
	// +required
	APIVersion string `json:"apiVersion"`

	// Kind of the objects. Without it, the check is for every kind of the group that has no check of its own.
	// +optional
	Kind string `json:"kind,omitempty"`

	// HealthCheckExpressions are the expressions.
	HealthCheckExpressions `json:",inline"`
}

// HealthCheckExpressions are the CEL expressions of a CustomHealthCheck.
type HealthCheckExpressions struct {
	// InProgress holds while the object is on its way.
	// +optional
	InProgress string `json:"inProgress,omitempty"`

	// Failed holds when the object will not become healthy by itself.
	// +optional
	Failed string `json:"failed,omitempty"`

	// Current holds when the object is healthy.
	// +required
	Current string `json:"current"`
}

// ValuesReference names a key of a ConfigMap or Secret, in the namespace of the referrer, that holds Helm values.
type ValuesReference struct {
	// Kind of the object.
	// +kubebuilder:validation:Enum=Secret;ConfigMap
	// +required
	Kind string `json:"kind"`

	// Name of the object.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +required
	Name string `json:"name"`

	// ValuesKey is the key. Defaults to values.yaml.
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[\-._a-zA-Z0-9]+$`
	// +optional
	ValuesKey string `json:"valuesKey,omitempty"`

	// TargetPath is where to set the content of the key, as a single value, in the syntax of helm --set. Without it,
	// the content is YAML that is merged at the root.
	// +kubebuilder:validation:MaxLength=250
	// +kubebuilder:validation:Pattern=`^([a-zA-Z0-9_\-.\\\/]|\[[0-9]{1,5}\])+$`
	// +optional
	TargetPath string `json:"targetPath,omitempty"`

	// Optional lets the object, or the key in it, be missing.
	// +optional
	Optional bool `json:"optional,omitempty"`

	// Literal sets the content at TargetPath as it is, like helm --set-literal. Without TargetPath it has no effect.
	// +optional
	Literal bool `json:"literal,omitempty"`
}

// DefaultValuesKey is the key that a ValuesReference without ValuesKey means.
const DefaultValuesKey = "values.yaml"

// GetValuesKey returns ValuesKey, or DefaultValuesKey.
func (in *ValuesReference) GetValuesKey() string { return cmp.Or(in.ValuesKey, DefaultValuesKey) }
