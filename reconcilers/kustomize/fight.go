package kustomize

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/apply"
	"github.com/weir-dev/weir/reconcilers/engine"
)

const (
	// ContestedCondition is True as long as somebody else keeps changing back what the Kustomization applies, so that
	// corrections are slowed down. Otherwise it is not there.
	ContestedCondition = "Contested"

	// DriftContestedReason is the reason of the condition and of the event that comes with it.
	DriftContestedReason = "DriftContested"

	// maxContested is how many objects the condition names.
	maxContested = 10
)

// reportFights tells once of each object that somebody else keeps changing back, and says so in the status as long as it
// lasts.
func (r *reconciler) reportFights(ctx context.Context, obj *kustomizev1.Kustomization, s *scope, fights []apply.Fight) {
	known := map[access.ID]bool{}

	var lines []string

	for _, f := range fights {
		known[f.ID] = true

		lines = append(lines, f.String())

		if s.memo.fights[f.ID] {
			continue
		}

		engine.Emit(ctx, engine.Event{
			Type: corev1.EventTypeWarning, Reason: DriftContestedReason, Action: actionApply,
			Message: f.String(), Metadata: metadata(s.artifact), Related: s.related(),
		})
	}

	s.memo.fights = known

	if len(lines) == 0 {
		engine.Unset(obj, ContestedCondition)

		return
	}

	if more := len(lines) - maxContested; more > 0 {
		lines = append(slices.Clone(lines[:maxContested]), fmt.Sprintf("and %d more", more))
	}

	engine.Set(obj, ContestedCondition, metav1.ConditionTrue, DriftContestedReason, strings.Join(lines, "\n"))
}
