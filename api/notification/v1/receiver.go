package v1

import (
	"cmp"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weir-dev/weir/api/meta"
)

// ReceiverKind is the kind of a Receiver.
const ReceiverKind = "Receiver"

// Types of Receiver: who sends the webhooks.
const (
	ReceiverGeneric     = "generic"
	ReceiverGenericHMAC = "generic-hmac"
	ReceiverGenericOIDC = "generic-oidc"
	ReceiverGitHub      = "github"
	ReceiverGitLab      = "gitlab"
	ReceiverBitbucket   = "bitbucket"
	ReceiverHarbor      = "harbor"
	ReceiverDockerHub   = "dockerhub"
	ReceiverQuay        = "quay"
	ReceiverGCR         = "gcr"
	ReceiverNexus       = "nexus"
	ReceiverACR         = "acr"
	ReceiverCDEvents    = "cdevents"
)

// Defaults of a Receiver.
const (
	// DefaultReceiverInterval is the time between reconciles that nothing else asks for.
	DefaultReceiverInterval = 10 * time.Minute

	// DefaultOIDCAudience is the audience that a token has to be for.
	DefaultOIDCAudience = "notification-controller"
)

// WebhookPathPrefix begins the path of every Receiver.
const WebhookPathPrefix = "/hook/"

// AnyName, as the name of an object, means every object of the kind.
const AnyName = "*"

// TokenNotFoundReason says that the Secret of a Receiver has no token.
const TokenNotFoundReason = "TokenNotFound"

// Receiver serves a path for webhooks, which make objects reconcile.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:categories=all;fluxcd;fluxcd-notifications
// +kubebuilder:subresource:status
// +kubebuilder:metadata:annotations="kustomize.toolkit.fluxcd.io/substitute=disabled"
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
type Receiver struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// Spec is what is wanted.
	// +optional
	Spec ReceiverSpec `json:"spec,omitzero"`

	// Status is what was seen.
	// +kubebuilder:default={"observedGeneration":-1}
	// +optional
	Status ReceiverStatus `json:"status,omitzero"`
}

// ReceiverList is a list of Receivers.
//
// +kubebuilder:object:root=true
type ReceiverList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitzero"`

	// Items of the list.
	Items []Receiver `json:"items"`
}

// ReceiverSpec says which webhooks to take, and which objects to reconcile.
//
// +kubebuilder:validation:XValidation:rule="self.type != 'generic-oidc' || (has(self.oidcProviders) && size(self.oidcProviders) > 0)",message="generic-oidc receivers must define at least one oidcProvider"
// +kubebuilder:validation:XValidation:rule="self.type == 'generic-oidc' || !has(self.oidcProviders) || size(self.oidcProviders) == 0",message="oidcProviders can only be set when type is generic-oidc"
// +kubebuilder:validation:XValidation:rule="self.type != 'generic-oidc' || !has(self.secretRef)",message="secretRef cannot be set when type is generic-oidc"
// +kubebuilder:validation:XValidation:rule="self.type == 'generic-oidc' || has(self.secretRef)",message="secretRef is required when type is not generic-oidc"
type ReceiverSpec struct {
	// Type says who sends the webhooks, and so how they are authenticated.
	// +kubebuilder:validation:Enum=generic;generic-hmac;generic-oidc;github;gitlab;bitbucket;harbor;dockerhub;quay;gcr;nexus;acr;cdevents
	// +required
	Type string `json:"type"`

	// Interval between reconciles that nothing else asks for. Defaults to 10m.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`
	// +kubebuilder:default="10m"
	// +optional
	Interval *metav1.Duration `json:"interval,omitempty"`

	// Events are the names of the events to take. Defaults to all. Types github, gitlab, bitbucket and cdevents only.
	// +optional
	Events []string `json:"events,omitempty"`

	// Resources are the objects to reconcile.
	// +required
	Resources []ReceiverResource `json:"resources"`

	// ResourceFilter is a CEL expression of type bool, over the variables res (an object), req (the body of the request)
	// and, for type generic-oidc, claims. An object for which it does not hold is not reconciled.
	// +optional
	ResourceFilter string `json:"resourceFilter,omitempty"`

	// SecretRef names a Secret with the key token. Required, except for type generic-oidc, which has none.
	// +optional
	SecretRef *meta.LocalObjectReference `json:"secretRef,omitempty"`

	// OIDCProviders are the issuers whose tokens are accepted. Type generic-oidc only, which needs one.
	// +listType=map
	// +listMapKey=issuerURL
	// +optional
	OIDCProviders []OIDCProvider `json:"oidcProviders,omitempty"`

	// Suspend stops taking webhooks.
	// +optional
	Suspend bool `json:"suspend,omitempty"`
}

// ReceiverResource selects objects to reconcile.
type ReceiverResource struct {
	CrossNamespaceObjectReference `json:",inline"`

	// Filter is like spec.resourceFilter, for these objects only. Both have to hold.
	// +optional
	Filter string `json:"filter,omitempty"`
}

// OIDCProvider says which tokens of an issuer are accepted.
type OIDCProvider struct {
	// IssuerURL of the tokens. Unique.
	// +kubebuilder:validation:Pattern=`^https?://`
	// +required
	IssuerURL string `json:"issuerURL"`

	// Audience that tokens have to be for. Defaults to notification-controller.
	// +optional
	Audience string `json:"audience,omitempty"`

	// Variables of the expressions of Validations, in this order.
	// +optional
	Variables []OIDCVariable `json:"variables,omitempty"`

	// Validations of the claims. All have to hold.
	// +kubebuilder:validation:MinItems=1
	// +required
	Validations []OIDCValidation `json:"validations"`
}

// OIDCVariable names the value of an expression.
type OIDCVariable struct {
	// Name of the variable.
	// +required
	Name string `json:"name"`

	// Expression in CEL, over the variable claims and the variables before.
	// +required
	Expression string `json:"expression"`
}

// OIDCValidation is a rule for the claims of a token.
type OIDCValidation struct {
	// Expression in CEL, of type bool, over the variables.
	// +required
	Expression string `json:"expression"`

	// Message that is logged if Expression does not hold.
	// +required
	Message string `json:"message"`
}

// ReceiverStatus is where the webhooks go, and how that went.
type ReceiverStatus struct {
	// Conditions of the Receiver.
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// WebhookPath is the path of the URL to send webhooks to.
	// +optional
	WebhookPath string `json:"webhookPath,omitempty"`

	// ObservedGeneration is the generation of the last reconcile that came to an end.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// LastHandledReconcileAt is the last value of the annotation reconcile.fluxcd.io/requestedAt that was acted on.
	// +optional
	LastHandledReconcileAt string `json:"lastHandledReconcileAt,omitempty"`
}

// StatusFields returns the parts of the status that every kind has.
func (in *Receiver) StatusFields() meta.StatusFields {
	return meta.StatusFields{
		Conditions:             &in.Status.Conditions,
		ObservedGeneration:     &in.Status.ObservedGeneration,
		LastHandledReconcileAt: &in.Status.LastHandledReconcileAt,
	}
}

// Suspended tells whether spec.suspend is set.
func (in *Receiver) Suspended() bool { return in.Spec.Suspend }

// GetInterval returns the interval between reconciles: DefaultReceiverInterval, unless the spec sets one.
func (in *Receiver) GetInterval() time.Duration {
	if in.Spec.Interval == nil {
		return DefaultReceiverInterval
	}

	return in.Spec.Interval.Duration
}

// GetAudience returns the audience that tokens have to be for: DefaultOIDCAudience, unless it is set.
func (in *OIDCProvider) GetAudience() string { return cmp.Or(in.Audience, DefaultOIDCAudience) }
