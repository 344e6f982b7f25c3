package meta

// LocalObjectReference names an object in the namespace of the referrer. The field says of which kind.
type LocalObjectReference struct {
	// Name of the object.
	// +required
	Name string `json:"name"`
}

// NamespacedObjectReference names an object of a kind that the field implies.
type NamespacedObjectReference struct {
	// Name of the object.
	// +required
	Name string `json:"name"`

	// Namespace of the object. Defaults to the namespace of the referrer.
	// +optional
	Namespace string `json:"namespace,omitempty"`
}

// NamespacedObjectKindReference names an object of any kind.
type NamespacedObjectKindReference struct {
	// APIVersion of the object, as group/version. If it is left out, the field says what is assumed.
	// +optional
	APIVersion string `json:"apiVersion,omitempty"`

	// Kind of the object.
	// +required
	Kind string `json:"kind"`

	// Name of the object.
	// +required
	Name string `json:"name"`

	// Namespace of the object. Defaults to the namespace of the referrer, or to none for a cluster-scoped kind.
	// +optional
	Namespace string `json:"namespace,omitempty"`
}

// SecretKeyReference names one key of a Secret in the namespace of the referrer.
type SecretKeyReference struct {
	// Name of the Secret.
	// +required
	Name string `json:"name"`

	// Key in the Secret. If it is left out, the field says which keys are tried.
	// +optional
	Key string `json:"key,omitempty"`
}

// KubeConfigReference says how to reach a remote cluster: with a kubeconfig, or with a workload identity.
//
// +kubebuilder:validation:XValidation:rule="has(self.configMapRef) != has(self.secretRef)",message="exactly one of spec.kubeConfig.configMapRef or spec.kubeConfig.secretRef must be specified"
type KubeConfigReference struct {
	// ConfigMapRef names a ConfigMap with the keys provider (aws, azure, gcp or generic; required), cluster, address,
	// ca.crt, audiences (one per line) and serviceAccountName.
	// +optional
	ConfigMapRef *LocalObjectReference `json:"configMapRef,omitempty"`

	// SecretRef names a Secret with a self-contained kubeconfig. The key defaults to value, then value.yaml.
	// +optional
	SecretRef *SecretKeyReference `json:"secretRef,omitempty"`
}

// DependencyReference names an object of the referrer's own kind that has to be ready first.
type DependencyReference struct {
	// Name of the object.
	// +required
	Name string `json:"name"`

	// Namespace of the object. Defaults to the namespace of the referrer.
	// +optional
	Namespace string `json:"namespace,omitempty"`

	// ReadyExpr is a CEL expression of type bool, over the variables self (the referrer) and dep (the dependency). It
	// replaces the built-in readiness check.
	// +optional
	ReadyExpr string `json:"readyExpr,omitempty"`
}

// AccessFrom lists the namespaces whose objects may refer to the object that holds it. The selectors are ORed.
type AccessFrom struct {
	// NamespaceSelectors select namespaces by label.
	// +required
	NamespaceSelectors []NamespaceSelector `json:"namespaceSelectors"`
}

// NamespaceSelector selects namespaces.
type NamespaceSelector struct {
	// MatchLabels are the labels that a namespace must have. None of them selects every namespace.
	// +optional
	MatchLabels map[string]string `json:"matchLabels,omitempty"`
}
