package controllers

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/reconcilers/engine"
)

func TestTold(t *testing.T) {
	instance := func(status metav1.ConditionStatus, reason, applied string) *fluxv1.FluxInstance {
		obj := &fluxv1.FluxInstance{Status: fluxv1.FluxInstanceStatus{LastAppliedRevision: applied}}
		engine.Set(obj, "Ready", status, reason, "")

		return obj
	}
	ready := instance("True", "ReconciliationSucceeded", "r1")
	suspended := instance("True", "ReconciliationSucceeded", "r1")
	suspended.Annotations = map[string]string{fluxv1.ReconcileAnnotation: "disabled"}
	tests := map[string]struct {
		reason        string
		before, after *fluxv1.FluxInstance
		want          bool
	}{
		"Same":      {"Nothing happened.", ready, ready, false},
		"Begun":     {"It has no outcome yet.", ready, instance("Unknown", "Progressing", "r1"), false},
		"Ended":     {"It has come to something.", instance("Unknown", "Progressing", "r1"), ready, true},
		"Failed":    {"It fails in another way.", instance("False", "BuildFailed", "r1"), instance("False", "ArtifactFailed", "r1"), true},
		"Upgraded":  {"Another revision runs.", ready, instance("True", "ReconciliationSucceeded", "r2"), true},
		"New":       {"It was just made.", &fluxv1.FluxInstance{}, ready, true},
		"Suspended": {"It rests now.", ready, suspended, true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if got := told(tc.before, tc.after); got != tc.want {
				t.Errorf("%s: got %t", tc.reason, got)
			}
		})
	}
}
