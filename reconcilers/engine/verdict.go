package engine

import (
	"cmp"
	"errors"
	"time"

	"github.com/weir-dev/weir/api/meta"
)

// Outcome is what a run came to.
type Outcome int

const (
	// Succeeded means that all steps returned nil, or one returned Done.
	Succeeded Outcome = iota

	// Blocked means that a step waits for something that is not there.
	Blocked

	// Awaiting means that the work is done and its effect is awaited.
	Awaiting

	// Stalled means that no further attempt makes sense before something changes.
	Stalled

	// Failed means that another attempt may succeed.
	Failed
)

// String returns the name of the outcome.
func (o Outcome) String() string {
	return [...]string{"succeeded", "blocked", "awaiting", "stalled", "failed"}[o]
}

// Verdict is the error of a step that says more than that it failed.
type Verdict struct { //nolint:errname // most verdicts are no errors
	// Outcome of the run, if this step ends it.
	Outcome Outcome

	// Reason of the conditions. Empty means the reason of the step.
	Reason string

	// After is when to run again at the latest, if nothing wakes the object before. Zero or less means
	// Options.MinRetryDelay. For Stalled it is how often to look whether something changed that wakes nobody, and zero
	// or less means never. For Succeeded it counts if it is earlier than the interval, and zero or less means that.
	After time.Duration

	// Err is the cause. For Awaiting it says what is awaited.
	Err error
}

// Error implements error.
func (v *Verdict) Error() string {
	if v.Err == nil {
		return v.Outcome.String()
	}

	return v.Err.Error()
}

// Unwrap returns the cause.
func (v *Verdict) Unwrap() error { return v.Err }

// Done ends the run as a success, without the steps that follow.
func Done() error { return &Verdict{Outcome: Succeeded} }

// Again ends the run as a success, without the steps that follow. The object runs again after the given time, or the interval if that
// is shorter.
func Again(after time.Duration) error { return &Verdict{Outcome: Succeeded, After: after} }

// Wait ends the run because something is missing, such as a dependency or an artifact. Ready becomes False with the reason
// and the message of err. The object runs again when it is woken, after the given time at the latest.
func Wait(reason string, after time.Duration, err error) error {
	return &Verdict{Outcome: Blocked, Reason: reason, After: after, Err: err}
}

// Await ends the run because all is done and only its effect is awaited, such as health. Ready becomes Unknown, and
// Reconciling says what is awaited. The object runs again when it is woken, after the given time at the latest.
func Await(after time.Duration, message string) error {
	return &Verdict{Outcome: Awaiting, After: after, Err: errors.New(message)}
}

// Stall ends the run for good: it is not tried again before the object, or something that it depends on, changes.
func Stall(reason string, err error) error {
	return &Verdict{Outcome: Stalled, Reason: reason, Err: err}
}

// Fail ends the run with an error that another attempt may not meet.
func Fail(reason string, err error) error {
	return &Verdict{Outcome: Failed, Reason: reason, Err: err}
}

// verdictOf returns the verdict in err, with the reason of the step where it has none. Nil means that the run goes on.
func verdictOf(err error, reason string) *Verdict {
	if err == nil {
		return nil
	}

	v := &Verdict{Outcome: Failed, Err: err}
	if given, ok := errors.AsType[*Verdict](err); ok {
		v.Outcome, v.Reason, v.After = given.Outcome, given.Reason, given.After // and the words of the layers above
	}

	v.Reason = cmp.Or(v.Reason, reason, meta.FailedReason)

	return v
}
