package meta

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// StatusFields points at the parts of a status that every kind has. A nil pointer means that the kind's contract has
// no such field.
//
// +kubebuilder:object:generate=false
type StatusFields struct {
	// Conditions of the object.
	Conditions *[]metav1.Condition

	// ObservedGeneration is the generation of the last reconcile that came to an end.
	ObservedGeneration *int64

	// LastHandledReconcileAt is the value of ReconcileRequestAnnotation that was last acted on.
	LastHandledReconcileAt *string

	// Artifact is what a source has stored. Nil for all that are no sources.
	Artifact **Artifact
}
