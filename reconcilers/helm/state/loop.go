package state

import (
	"fmt"
	"time"

	v2 "github.com/weir-dev/weir/api/helm/v2"
)

// Outcome says how a reconcile goes on.
type Outcome string

// Outcomes.
const (
	// Run says to run the action.
	Run Outcome = "run"

	// Continue says to detect the state again.
	Continue Outcome = "continue"

	// Done says that the reconcile is over until something changes or the interval has passed.
	Done Outcome = "done"

	// Requeue says to reconcile again at once, but less and less often.
	Requeue Outcome = "requeue"

	// Retry says to reconcile again after a time.
	Retry Outcome = "retry"

	// Stall says that no attempt is left.
	Stall Outcome = "stall"

	// Return says to return the error of the action.
	Return Outcome = "return"
)

// Verdict is an outcome with what belongs to it.
type Verdict struct {
	Outcome Outcome

	// After is the time to the next reconcile, for Retry.
	After time.Duration

	// Message for the conditions, for Retry and Stall.
	Message string
}

// kindOfAction is what actions have in common of which one is enough in a reconcile.
type kindOfAction string

const (
	releases   kindOfAction = "release"
	remediates kindOfAction = "remediate"
	tests      kindOfAction = "test"
	unlocks    kindOfAction = "unlock"
	corrects   kindOfAction = "correct drift"
)

func (a Action) kind() kindOfAction {
	switch a {
	case Rollback, Uninstall:
		return remediates
	case Test:
		return tests
	case Unlock:
		return unlocks
	case CorrectDrift:
		return corrects
	default:
		return releases
	}
}

// Loop is one reconcile: it bounds what is done in it. The zero value is one that begins.
type Loop struct {
	ran map[kindOfAction]bool
}

// Force tells whether a request to release still holds: the first release answers it.
func (l *Loop) Force(asked bool) bool { return asked && !l.ran[releases] }

// Next says whether an action that was decided on runs: each kind of action does so once.
func (l *Loop) Next(obj *v2.HelmRelease, a Action) Verdict {
	switch {
	case a == None:
		return Verdict{Outcome: Done}
	case l.ran[a.kind()]:
		return again(obj)
	}

	if l.ran == nil {
		l.ran = map[kindOfAction]bool{}
	}

	l.ran[a.kind()] = true

	return Verdict{Outcome: Run}
}

// again says what follows if another action of the same kind would be needed.
func again(obj *v2.HelmRelease) Verdict {
	switch p, active := activePolicy(obj); {
	case p.retry > 0:
		return retry(p)
	case !active, !p.exhausted:
		return Verdict{Outcome: Requeue}
	default:
		return Verdict{Outcome: Done}
	}
}

// Ran says how it goes on after an action. Err is that of the action, and stored tells whether Helm has stored a release in it.
// An action that failed before that has tried nothing, and comes again. After a remediation the reconcile is over.
func (l *Loop) Ran(obj *v2.HelmRelease, a Action, err error, stored bool) Verdict {
	p, active := activePolicy(obj)

	switch {
	case err != nil && !stored && p.retry > 0:
		return retry(p)
	case err != nil && !stored:
		return Verdict{Outcome: Return}
	case a.kind() != remediates:
		return Verdict{Outcome: Continue}
	case !active, !p.exhausted, a == Uninstall && p.action == v2.ActionUpgrade: // an install comes next, and counts for itself
		return Verdict{Outcome: Requeue}
	default:
		return Verdict{Outcome: Stall, Message: Exceeded(obj)}
	}
}

func retry(p policy) Verdict {
	return Verdict{Outcome: Retry, After: p.retry, Message: fmt.Sprintf("retrying after %s", p.retry)}
}
