package v1beta3

import (
	"cmp"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weir-dev/weir/api/meta"
	notificationv1 "github.com/weir-dev/weir/api/notification/v1"
)

// AlertKind is the kind of an Alert.
const AlertKind = "Alert"

// Reasons of the events that sending for an Alert gives.
const (
	InvalidConfigReason              = "InvalidConfig"
	MetadataAppendFailedReason       = "MetadataAppendFailed"
	NotificationDispatchFailedReason = "NotificationDispatchFailed"
	SourceFetchFailedReason          = "SourceFetchFailed"
)

// Alert sends events of some objects to a Provider.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:categories=all;fluxcd;fluxcd-notifications
// +kubebuilder:metadata:annotations="kustomize.toolkit.fluxcd.io/substitute=disabled"
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type Alert struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// Spec is what is wanted.
	// +optional
	Spec AlertSpec `json:"spec,omitzero"`
}

// AlertList is a list of Alerts.
//
// +kubebuilder:object:root=true
type AlertList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitzero"`

	// Items of the list.
	Items []Alert `json:"items"`
}

// AlertSpec says which events to send where.
type AlertSpec struct {
	// ProviderRef names the Provider, in the same namespace.
	// +required
	ProviderRef meta.LocalObjectReference `json:"providerRef"`

	// EventSeverity is the least severity of the events: info, the default, or error.
	// +kubebuilder:validation:Enum=info;error
	// +kubebuilder:default=info
	// +optional
	EventSeverity string `json:"eventSeverity,omitempty"`

	// EventSources are the objects whose events are sent.
	// +required
	EventSources []notificationv1.CrossNamespaceObjectReference `json:"eventSources"`

	// InclusionList are regular expressions, one of which a message has to match. Defaults to any message.
	// +optional
	InclusionList []string `json:"inclusionList,omitempty"`

	// EventMetadata is added to the metadata of the events, and does not replace what the object itself says.
	// +optional
	EventMetadata map[string]string `json:"eventMetadata,omitempty"`

	// ExclusionList are regular expressions, none of which a message may match.
	// +optional
	ExclusionList []string `json:"exclusionList,omitempty"`

	// Summary is added to the metadata of the events. Deprecated: put the key summary into EventMetadata.
	// +kubebuilder:validation:MaxLength=255
	// +optional
	Summary string `json:"summary,omitempty"`

	// Suspend stops sending.
	// +optional
	Suspend bool `json:"suspend,omitempty"`
}

// Suspended tells whether spec.suspend is set.
func (in *Alert) Suspended() bool { return in.Spec.Suspend }

// GetEventSeverity returns the least severity of the events: meta.EventSeverityInfo, unless the spec sets it.
func (in *Alert) GetEventSeverity() string {
	return cmp.Or(in.Spec.EventSeverity, meta.EventSeverityInfo)
}
