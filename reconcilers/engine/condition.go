package engine

import (
	"slices"
	"strings"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weir-dev/weir/api/meta"
)

// The longest message and reason of a condition that the API server takes. It counts characters, we count bytes.
const (
	maxMessage = 32768
	maxReason  = 1024
)

// Condition returns the condition of the type, or nil. What it points at must not be changed: use Set.
func Condition(obj Object, typ string) *metav1.Condition {
	if c := obj.StatusFields().Conditions; c != nil {
		return apimeta.FindStatusCondition(*c, typ)
	}

	return nil
}

// IsTrue tells whether the condition of the type is there and True.
func IsTrue(obj Object, typ string) bool {
	c := Condition(obj, typ)

	return c != nil && c.Status == metav1.ConditionTrue
}

// Set writes a condition, with the generation of the object. Its transition time is taken anew when its status, reason or
// message changed; setting what is there already changes nothing. The time is set by the runner when it patches.
//
// A reason or message that the API server would refuse, or would not give back as it is, is mended: it must not cost the
// object its whole status.
func Set(obj Object, typ string, status metav1.ConditionStatus, reason, message string) {
	conditions := obj.StatusFields().Conditions
	if conditions == nil {
		return
	}

	reason, message = mendReason(reason), truncate(strings.ToValidUTF8(message, "\uFFFD"), maxMessage)

	want := metav1.Condition{
		Type: typ, Status: status, Reason: reason, Message: message,
		ObservedGeneration: obj.GetGeneration(),
	}

	i := slices.IndexFunc(*conditions, func(c metav1.Condition) bool { return c.Type == typ })
	if i < 0 {
		*conditions = append(*conditions, want)

		return
	}

	have := (*conditions)[i]
	if have.Status == status && have.Reason == reason && have.Message == message {
		want.LastTransitionTime = have.LastTransitionTime
	}

	(*conditions)[i] = want
}

// Unset removes the conditions of the types.
func Unset(obj Object, types ...string) {
	conditions := obj.StatusFields().Conditions
	if conditions == nil {
		return
	}

	*conditions = slices.DeleteFunc(*conditions, func(c metav1.Condition) bool {
		return slices.Contains(types, c.Type)
	})
}

// settle gives changed conditions their transition time and brings all into the order that clients rely on: Stalled,
// Reconciling, Ready, then the highest observed generation first, then by type. Changed means other than before, which is
// what the API server shows: a condition that was removed and set again keeps its time, and one that comes back after a
// progress message took its place does not.
func settle(obj Object, before []metav1.Condition, now metav1.Time) {
	fields := obj.StatusFields()
	if fields.Conditions == nil {
		return
	}

	for i := range *fields.Conditions {
		c := &(*fields.Conditions)[i]
		if old := apimeta.FindStatusCondition(before, c.Type); old != nil &&
			old.Status == c.Status && old.Reason == c.Reason && old.Message == c.Message {
			c.LastTransitionTime = old.LastTransitionTime
		} else {
			c.LastTransitionTime = now
		}
	}

	slices.SortStableFunc(*fields.Conditions, compareConditions)
}

func compareConditions(a, b metav1.Condition) int {
	if x, y := rank(a.Type), rank(b.Type); x != y {
		return x - y
	}

	if a.ObservedGeneration != b.ObservedGeneration {
		if a.ObservedGeneration > b.ObservedGeneration {
			return -1
		}

		return 1
	}

	return strings.Compare(a.Type, b.Type)
}

func rank(typ string) int {
	if i := slices.Index([]string{meta.StalledCondition, meta.ReconcilingCondition, meta.ReadyCondition}, typ); i >= 0 {
		return i
	}

	return 3
}

// mendReason makes a reason that matches ^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$, and leaves one that does as it is.
func mendReason(reason string) string {
	reason = strings.Map(func(r rune) rune {
		if isLetter(r) || '0' <= r && r <= '9' || strings.ContainsRune("_,:", r) {
			return r
		}

		return -1
	}, reason)
	reason = strings.TrimLeftFunc(reason[:min(len(reason), maxReason)], func(r rune) bool { return !isLetter(r) })

	if reason = strings.TrimRight(reason, ",:"); reason == "" {
		return meta.ProgressingReason
	}

	return reason
}

func isLetter(r rune) bool { return 'A' <= r && r <= 'Z' || 'a' <= r && r <= 'z' }

// truncate cuts s to at most n bytes at a rune boundary and marks the cut.
func truncate(s string, n int) string {
	const mark = "…"
	if len(s) <= n {
		return s
	}

	return strings.ToValidUTF8(s[:n-len(mark)], "") + mark
}
