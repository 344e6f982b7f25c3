package v1beta3

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weir-dev/weir/api/meta"
)

// ProviderKind is the kind of a Provider.
const ProviderKind = "Provider"

// Types of Provider: who the events are sent to.
const (
	ProviderSlack                     = "slack"
	ProviderDiscord                   = "discord"
	ProviderMSTeams                   = "msteams"
	ProviderRocket                    = "rocket"
	ProviderGeneric                   = "generic"
	ProviderGenericHMAC               = "generic-hmac"
	ProviderGitHub                    = "github"
	ProviderGitLab                    = "gitlab"
	ProviderGitea                     = "gitea"
	ProviderGiteaPullRequestComment   = "giteapullrequestcomment"
	ProviderBitbucketServer           = "bitbucketserver"
	ProviderBitbucket                 = "bitbucket"
	ProviderAzureDevOps               = "azuredevops"
	ProviderGoogleChat                = "googlechat"
	ProviderGooglePubSub              = "googlepubsub"
	ProviderWebex                     = "webex"
	ProviderSentry                    = "sentry"
	ProviderAzureEventHub             = "azureeventhub"
	ProviderTelegram                  = "telegram"
	ProviderLark                      = "lark"
	ProviderMatrix                    = "matrix"
	ProviderOpsgenie                  = "opsgenie"
	ProviderAlertmanager              = "alertmanager"
	ProviderGrafana                   = "grafana"
	ProviderGitHubDispatch            = "githubdispatch"
	ProviderGitHubPullRequestComment  = "githubpullrequestcomment"
	ProviderGitLabMergeRequestComment = "gitlabmergerequestcomment"
	ProviderPagerDuty                 = "pagerduty"
	ProviderDataDog                   = "datadog"
	ProviderNATS                      = "nats"
	ProviderZulip                     = "zulip"
	ProviderOTEL                      = "otel"
)

// DefaultProviderTimeout bounds sending one event, retries included.
const DefaultProviderTimeout = 15 * time.Second

// Provider is a service that events are sent to.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:categories=all;fluxcd;fluxcd-notifications
// +kubebuilder:metadata:annotations="kustomize.toolkit.fluxcd.io/substitute=disabled"
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type Provider struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// Spec is what is wanted.
	// +optional
	Spec ProviderSpec `json:"spec,omitzero"`
}

// ProviderList is a list of Providers.
//
// +kubebuilder:object:root=true
type ProviderList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitzero"`

	// Items of the list.
	Items []Provider `json:"items"`
}

// ProviderSpec says which service, and how to reach it.
//
// +kubebuilder:validation:XValidation:rule="self.type == 'github' || self.type == 'gitlab' || self.type == 'gitea' || self.type == 'bitbucketserver' || self.type == 'bitbucket' || self.type == 'azuredevops' || !has(self.commitStatusExpr)",message="spec.commitStatusExpr is only supported for the 'github', 'gitlab', 'gitea', 'bitbucketserver', 'bitbucket', 'azuredevops' provider types"
type ProviderSpec struct {
	// Type of the service.
	// +kubebuilder:validation:Enum=slack;discord;msteams;rocket;generic;generic-hmac;github;gitlab;gitea;giteapullrequestcomment;bitbucketserver;bitbucket;azuredevops;googlechat;googlepubsub;webex;sentry;azureeventhub;telegram;lark;matrix;opsgenie;alertmanager;grafana;githubdispatch;githubpullrequestcomment;gitlabmergerequestcomment;pagerduty;datadog;nats;zulip;otel
	// +required
	Type string `json:"type"`

	// Interval has no effect.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`
	// +optional
	Interval *metav1.Duration `json:"interval,omitempty"`

	// Channel to send to. What that is depends on Type.
	// +kubebuilder:validation:MaxLength=2048
	// +optional
	Channel string `json:"channel,omitempty"`

	// Username to send as. What that is depends on Type.
	// +kubebuilder:validation:MaxLength=2048
	// +optional
	Username string `json:"username,omitempty"`

	// Address of the service. What that is depends on Type. The key address of the Secret wins over it.
	// +kubebuilder:validation:MaxLength=2048
	// +optional
	Address string `json:"address,omitempty"`

	// Timeout of sending one event, retries included. Defaults to 15s.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m))+$`
	// +optional
	Timeout *metav1.Duration `json:"timeout,omitempty"`

	// Proxy is the URL of a proxy. Deprecated: use ProxySecretRef, which wins over it.
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:Pattern=`^(http|https)://.*$`
	// +optional
	Proxy string `json:"proxy,omitempty"`

	// ProxySecretRef names a Secret with the keys address, username and password of a proxy.
	// +optional
	ProxySecretRef *meta.LocalObjectReference `json:"proxySecretRef,omitempty"`

	// SecretRef names a Secret with the credentials: address, token, username, password, headers (a YAML map) and others that depend on Type.
	// +optional
	SecretRef *meta.LocalObjectReference `json:"secretRef,omitempty"`

	// CertSecretRef names a Secret with TLS keys: ca.crt, and tls.crt with tls.key for mutual TLS.
	// +optional
	CertSecretRef *meta.LocalObjectReference `json:"certSecretRef,omitempty"`

	// ServiceAccountName names a ServiceAccount in the same namespace, as which to authenticate with the cloud provider.
	// Types azuredevops, azureeventhub and googlepubsub only.
	// +optional
	ServiceAccountName string `json:"serviceAccountName,omitempty"`

	// Suspend stops sending.
	// +optional
	Suspend bool `json:"suspend,omitempty"`

	// CommitStatusExpr is a CEL expression of type string, over the variables event, alert and provider, whose value
	// names the commit status that is set. Types that set one only.
	// +optional
	CommitStatusExpr string `json:"commitStatusExpr,omitempty"`
}

// Suspended tells whether spec.suspend is set.
func (in *Provider) Suspended() bool { return in.Spec.Suspend }

// GetTimeout returns the timeout of sending one event: DefaultProviderTimeout, unless the spec sets one.
func (in *Provider) GetTimeout() time.Duration {
	if in.Spec.Timeout == nil {
		return DefaultProviderTimeout
	}

	return in.Spec.Timeout.Duration
}
