package v1

import (
	"cmp"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weir-dev/weir/api/meta"
)

// ImagePolicyKind is the kind of an ImagePolicy.
const ImagePolicyKind = "ImagePolicy"

// When the digest of an image is looked up.
const (
	// ReflectAlways looks it up at every interval.
	ReflectAlways = "Always"

	// ReflectIfNotPresent looks it up when the tag changes.
	ReflectIfNotPresent = "IfNotPresent"

	// ReflectNever does not look it up.
	ReflectNever = "Never"
)

// Orders of tags.
const (
	// OrderAscending takes the last, or greatest, of the tags as the latest.
	OrderAscending = "asc"

	// OrderDescending takes the first, or least.
	OrderDescending = "desc"
)

// DefaultPolicyInterval is the interval of an ImagePolicy that looks up digests always and has an interval of zero.
const DefaultPolicyInterval = 10 * time.Minute

// ImagePolicy chooses one of the tags of an image.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:shortName=imgpol;imagepol,categories=all;fluxcd;fluxcd-images
// +kubebuilder:subresource:status
// +kubebuilder:metadata:annotations="kustomize.toolkit.fluxcd.io/substitute=disabled"
// +kubebuilder:printcolumn:name="Image",type=string,JSONPath=`.status.latestRef.name`
// +kubebuilder:printcolumn:name="Tag",type=string,JSONPath=`.status.latestRef.tag`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type ImagePolicy struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// Spec is what is wanted.
	// +optional
	Spec ImagePolicySpec `json:"spec,omitzero"`

	// Status is what was seen.
	// +kubebuilder:default={"observedGeneration":-1}
	// +optional
	Status ImagePolicyStatus `json:"status,omitzero"`
}

// ImagePolicyList is a list of ImagePolicies.
//
// +kubebuilder:object:root=true
type ImagePolicyList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitzero"`

	// Items of the list.
	Items []ImagePolicy `json:"items"`
}

// ImagePolicySpec says how to choose.
//
// +kubebuilder:validation:XValidation:rule="!has(self.interval) || (has(self.digestReflectionPolicy) && self.digestReflectionPolicy == 'Always')",message="spec.interval is only accepted when spec.digestReflectionPolicy is set to 'Always'"
// +kubebuilder:validation:XValidation:rule="has(self.interval) || !has(self.digestReflectionPolicy) || self.digestReflectionPolicy != 'Always'",message="spec.interval must be set when spec.digestReflectionPolicy is set to 'Always'"
type ImagePolicySpec struct {
	// ImageRepositoryRef names the ImageRepository that lists the tags.
	// +required
	ImageRepositoryRef meta.NamespacedObjectReference `json:"imageRepositoryRef"`

	// Policy says which tag is the latest.
	// +required
	Policy ImagePolicyChoice `json:"policy"`

	// FilterTags says which tags to choose from. Defaults to all.
	// +optional
	FilterTags *TagFilter `json:"filterTags,omitempty"`

	// DigestReflectionPolicy says when to look up the digest. Defaults to Never.
	// +kubebuilder:validation:Enum=Always;IfNotPresent;Never
	// +kubebuilder:default=Never
	// +optional
	DigestReflectionPolicy string `json:"digestReflectionPolicy,omitempty"`

	// Interval between look-ups of the digest. It is set if, and only if, they are made always.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`
	// +optional
	Interval *metav1.Duration `json:"interval,omitempty"`

	// Suspend stops choosing.
	// +optional
	Suspend bool `json:"suspend,omitempty"`
}

// ImagePolicyChoice says which tag is the latest. Exactly one of the fields is set.
type ImagePolicyChoice struct {
	// SemVer orders tags as semantic versions.
	// +optional
	SemVer *SemVerPolicy `json:"semver,omitempty"`

	// Alphabetical orders tags as text.
	// +optional
	Alphabetical *AlphabeticalPolicy `json:"alphabetical,omitempty"`

	// Numerical orders tags as numbers.
	// +optional
	Numerical *NumericalPolicy `json:"numerical,omitempty"`
}

// SemVerPolicy takes the highest version in a range.
type SemVerPolicy struct {
	// Range of versions.
	// +required
	Range string `json:"range"`
}

// AlphabeticalPolicy takes the last tag, or the first one.
type AlphabeticalPolicy struct {
	// Order of the tags: asc, the default, takes the last of them, and desc the first.
	// +kubebuilder:validation:Enum=asc;desc
	// +kubebuilder:default=asc
	// +optional
	Order string `json:"order,omitempty"`
}

// NumericalPolicy takes the greatest number, or the least one.
type NumericalPolicy struct {
	// Order of the tags: asc, the default, takes the greatest of them, and desc the least.
	// +kubebuilder:validation:Enum=asc;desc
	// +kubebuilder:default=asc
	// +optional
	Order string `json:"order,omitempty"`
}

// TagFilter says which tags to choose from.
type TagFilter struct {
	// Pattern is a regular expression that tags have to match.
	// +optional
	Pattern string `json:"pattern,omitempty"`

	// Extract says what of a tag to order by, with the groups of Pattern: $1 or $name. Defaults to the whole tag.
	// +optional
	Extract string `json:"extract,omitempty"`
}

// ImageRef is an image with its tag.
type ImageRef struct {
	// Name of the image, as in the ImageRepository.
	// +required
	Name string `json:"name"`

	// Tag that was chosen.
	// +required
	Tag string `json:"tag"`

	// Digest that the tag pointed to.
	// +optional
	Digest string `json:"digest,omitempty"`
}

// ImagePolicyStatus is what was chosen, and how it went.
type ImagePolicyStatus struct {
	// LatestRef is the image with the tag that was chosen.
	// +optional
	LatestRef *ImageRef `json:"latestRef,omitempty"`

	// ObservedPreviousRef is what LatestRef was before it changed.
	// +optional
	ObservedPreviousRef *ImageRef `json:"observedPreviousRef,omitempty"`

	// ObservedGeneration is the generation of the last reconcile that came to an end.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// Conditions of the ImagePolicy.
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// LastHandledReconcileAt is the last value of the annotation reconcile.fluxcd.io/requestedAt that was acted on.
	// +optional
	LastHandledReconcileAt string `json:"lastHandledReconcileAt,omitempty"`
}

// StatusFields returns the parts of the status that every kind has.
func (in *ImagePolicy) StatusFields() meta.StatusFields {
	return meta.StatusFields{
		Conditions:             &in.Status.Conditions,
		ObservedGeneration:     &in.Status.ObservedGeneration,
		LastHandledReconcileAt: &in.Status.LastHandledReconcileAt,
	}
}

// Suspended tells whether spec.suspend is set.
func (in *ImagePolicy) Suspended() bool { return in.Spec.Suspend }

// GetDigestReflectionPolicy returns when the digest is looked up: ReflectNever, unless the spec says otherwise.
func (in *ImagePolicy) GetDigestReflectionPolicy() string {
	return cmp.Or(in.Spec.DigestReflectionPolicy, ReflectNever)
}

// GetInterval returns the interval between look-ups of the digest: that of the spec, or DefaultPolicyInterval if it is
// zero. It is zero if they are not made always: such a policy has nothing to do until something changes.
func (in *ImagePolicy) GetInterval() time.Duration {
	if in.GetDigestReflectionPolicy() != ReflectAlways || in.Spec.Interval == nil {
		return 0
	}

	return cmp.Or(in.Spec.Interval.Duration, DefaultPolicyInterval)
}

// GetOrder returns the order of the tags: OrderAscending, unless it is set.
func (in *AlphabeticalPolicy) GetOrder() string { return cmp.Or(in.Order, OrderAscending) }

// GetOrder returns the order of the tags: OrderAscending, unless it is set.
func (in *NumericalPolicy) GetOrder() string { return cmp.Or(in.Order, OrderAscending) }

// String returns <name>:<tag>, and @<digest> if there is one.
func (in *ImageRef) String() string {
	s := in.Name + ":" + in.Tag
	if in.Digest != "" {
		s += "@" + in.Digest
	}

	return s
}
