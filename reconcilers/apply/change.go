package apply

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/access"
)

// Action is what was done to an object.
type Action string

// Actions, as change logs name them.
const (
	Created    Action = "created"
	Configured Action = "configured"
	Deleted    Action = "deleted"
	Unchanged  Action = "unchanged"
	Skipped    Action = "skipped"
)

// Change is what was done to one object.
type Change struct {
	access.Ref
	Action Action
	// Drift is set if this puts back what somebody else has changed.
	Drift *Drift
}

// Drift is what somebody else has done to an object.
type Drift struct {
	// Manager is the field manager that did it, or the namespace/name of another owner, or empty if that is not known.
	Manager string
	// Fields that were put back or removed, as paths. They have no values, but the keys of items of lists. Empty if they
	// are not known.
	Fields []string
	// Gone says that the object was deleted.
	Gone bool
}

// String says in a few words what was put back.
func (d *Drift) String() string {
	by := ""
	if d.Manager != "" {
		by = fmt.Sprintf(", changed by %q", d.Manager)
	}
	switch {
	case d.Gone:
		return "drift corrected: it was deleted"
	case len(d.Fields) > 0:
		return "drift corrected: " + named(d.Fields) + by
	}
	return "drift corrected" + by
}

// String returns "Kind/namespace/name action".
func (c Change) String() string { return c.Ref.String() + " " + string(c.Action) }

// Changes are in the order of application, whichever happened to finish first.
type Changes []Change

// Inventory returns the references to all objects of the changes, sorted, for a status.
func (c Changes) Inventory() *meta.ResourceInventory {
	out := &meta.ResourceInventory{Entries: make([]meta.ResourceRef, 0, len(c))}
	for _, change := range c {
		out.Entries = append(out.Entries, change.Inventory())
	}
	slices.SortFunc(out.Entries, func(a, b meta.ResourceRef) int { return strings.Compare(a.ID, b.ID) })
	return out
}

// Log returns one line for each object that was created, configured or deleted, without a final newline.
func (c Changes) Log() string {
	var lines []string
	for _, change := range c {
		if change.Action != Unchanged && change.Action != Skipped {
			lines = append(lines, change.String())
		}
	}
	return strings.Join(lines, "\n")
}

// Drift returns one line for each object that somebody else had changed, without a final newline.
func (c Changes) Drift() string {
	var lines []string
	for _, change := range c {
		if change.Drift != nil {
			lines = append(lines, change.ID.String()+" "+change.Drift.String())
		}
	}
	return strings.Join(lines, "\n")
}

// Applied returns the identities of all objects that were not skipped: those whose health matters.
func (c Changes) Applied() []access.ID {
	out := make([]access.ID, 0, len(c))
	for _, change := range c {
		if change.Action != Skipped {
			out = append(out, change.ID)
		}
	}
	return out
}

// Changed tells whether anything was created, configured or deleted.
func (c Changes) Changed() bool {
	return slices.ContainsFunc(c, func(change Change) bool { return change.Action != Unchanged && change.Action != Skipped })
}

// Fight is an object that somebody else keeps changing back.
type Fight struct {
	access.ID
	// Manager is the field manager of the other side, or the namespace/name of another owner, or empty if it deletes
	// the object.
	Manager string
	// Fields that the other side changes, as of the last correction, if they are known.
	Fields []string
	// Corrections in a row, each soon after the one before.
	Corrections int
	// Until is when the next correction is due.
	Until time.Time
}

// String says who changes what, for people.
func (f Fight) String() string {
	switch {
	case f.Manager == "":
		return f.ID.String() + " is deleted again and again: corrections are slowed down"
	case len(f.Fields) == 0:
		return fmt.Sprintf("%s is changed back by %q again and again: corrections are slowed down", f.ID, f.Manager)
	}
	return fmt.Sprintf("%s is changed back by %q again and again (%s): corrections are slowed down", f.ID, f.Manager, named(f.Fields))
}

// Result of an Apply. After an error it tells how far it came.
type Result struct {
	// Changes has an entry for each object of the set. After an error, objects that were not reached are left out.
	Changes Changes
	// Fights that are slowed down, by identity.
	Fights []Fight
}

// Step is what was refused.
type Step string

// Steps of an Error.
const (
	DryRun Step = "dry-run" // nothing was changed
	Write  Step = "apply"   // others of the set may have been
	Await  Step = "wait"
)

// Error says what was refused for one object. It unwraps to the API server's answer.
type Error struct {
	access.ID
	Step Step
	Err  error
}

// Error implements error.
func (e *Error) Error() string {
	switch {
	case e.Step != DryRun:
		return fmt.Sprintf("%s %s failed: %v", e.ID, e.Step, e.Err)
	case errors.Is(e.Err, access.ErrNoNamespace):
		return fmt.Sprintf("%s namespace not specified: %v", e.ID, e.Err)
	case apierrors.IsNotFound(e.Err):
		return fmt.Sprintf("%s not found: %v", e.ID, e.Err)
	}
	if reason := apierrors.ReasonForError(e.Err); reason != metav1.StatusReasonUnknown {
		return fmt.Sprintf("%s dry-run failed (%s): %v", e.ID, reason, e.Err)
	}
	return fmt.Sprintf("%s dry-run failed: %v", e.ID, e.Err)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Errors are all refusals of a set, in its order.
type Errors []*Error

// Error returns one line for each.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, err := range e {
		lines[i] = err.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns them.
func (e Errors) Unwrap() []error {
	out := make([]error, len(e))
	for i, err := range e {
		out[i] = err
	}
	return out
}

// or returns nil for no errors.
func (e Errors) or() error {
	if len(e) == 0 {
		return nil
	}
	return e
}

// immutable tells refusals that only deleting and creating the object gets around. There is no reason or cause type for
// them, so the texts of the API server, of validation rules and of admission webhooks have to do.
func immutable(err error) bool {
	if !apierrors.IsInvalid(err) && !apierrors.IsForbidden(err) && !apierrors.IsBadRequest(err) {
		return false
	}
	text := strings.ToLower(err.Error())
	return slices.ContainsFunc([]string{
		"immutable",
		"cannot change roleref",
		"updates to statefulset spec for fields other than",
		"may not be changed",
		"may not change once set",
		"may not change fields other than",
		"updates to parameters are forbidden",
	}, func(part string) bool { return strings.Contains(text, part) })
}

// isNoMatch tells that the cluster does not have the kind, and so no object of it.
func isNoMatch(err error) bool { return apimeta.IsNoMatchError(err) }
