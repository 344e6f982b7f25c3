package v1

// CrossNamespaceObjectReference names an object, or with labels some of them, of a kind that has events.
type CrossNamespaceObjectReference struct {
	// APIVersion of the object.
	// +optional
	APIVersion string `json:"apiVersion,omitempty"`

	// Kind of the object.
	// +kubebuilder:validation:Enum=Bucket;GitRepository;Kustomization;HelmRelease;HelmChart;HelmRepository;ImageRepository;ImagePolicy;ImageUpdateAutomation;OCIRepository;ArtifactGenerator;ExternalArtifact;FluxInstance;ResourceSet;ResourceSetInputProvider
	// +required
	Kind string `json:"kind"`

	// Name of the object; an asterisk means all.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +required
	Name string `json:"name"`

	// Namespace of the object. Defaults to that of the referrer.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +optional
	Namespace string `json:"namespace,omitempty"`

	// MatchLabels are labels that the object must have.
	// +optional
	MatchLabels map[string]string `json:"matchLabels,omitempty"`
}
