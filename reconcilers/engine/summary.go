package engine

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weir-dev/weir/api/meta"
)

// progressMessage is the message of Ready while the effect of a run is awaited.
const progressMessage = "Reconciliation in progress"

// Summary makes the Ready condition of an object at the end of a run, from the verdict and the other conditions. It
// returns the status, the reason and the message, and has to be pure. An empty status leaves Ready as it is.
type Summary[O Object, S any] func(obj O, s *S, v *Verdict) (metav1.ConditionStatus, string, string)

// FromVerdict makes Ready from the verdict alone. The function gives the reason and the message of success.
func FromVerdict[O Object, S any](success func(obj O, s *S) (reason, message string)) Summary[O, S] {
	return func(obj O, s *S, v *Verdict) (metav1.ConditionStatus, string, string) {
		switch v.Outcome {
		case Succeeded:
			reason, message := success(obj, s)

			return metav1.ConditionTrue, reason, message
		case Awaiting:
			return metav1.ConditionUnknown, meta.ProgressingReason, progressMessage
		case Blocked, Stalled, Failed:
			return metav1.ConditionFalse, v.Reason, v.Error()
		}

		return "", "", ""
	}
}

// FromConditions makes Ready from other conditions of the object, the way of the source kinds: a negative condition that
// is True comes first, then a positive one that is False, then a positive one that is True. Within a group the order of
// the arguments decides which reason and message Ready takes. A verdict that no condition tells of is taken as it is.
// Source: the condition summary of source-controller, reference §2.2.
func FromConditions[O Object, S any](negative, positive []string) Summary[O, S] {
	negative = append(slices.Clone(negative), meta.StalledCondition)

	return func(obj O, _ *S, v *Verdict) (metav1.ConditionStatus, string, string) {
		if c := Condition(obj, meta.SourceVerifiedCondition); c != nil && c.Status == metav1.ConditionFalse {
			return metav1.ConditionFalse, c.Reason, c.Message
		}

		if c := first(obj, negative, metav1.ConditionTrue); c != nil {
			return metav1.ConditionFalse, c.Reason, c.Message
		}

		if v.Outcome == Awaiting {
			return metav1.ConditionUnknown, meta.ProgressingReason, v.Error()
		}

		if v.Outcome != Succeeded {
			return metav1.ConditionFalse, v.Reason, v.Error()
		}

		if c := first(obj, positive, metav1.ConditionFalse); c != nil {
			return metav1.ConditionFalse, c.Reason, c.Message
		}

		if c := first(obj, positive, metav1.ConditionTrue); c != nil {
			return metav1.ConditionTrue, c.Reason, c.Message
		}

		return metav1.ConditionUnknown, meta.ProgressingReason, progressMessage
	}
}

func first(obj Object, types []string, status metav1.ConditionStatus) *metav1.Condition {
	for _, t := range types {
		if c := Condition(obj, t); c != nil && c.Status == status {
			return c
		}
	}

	return nil
}
