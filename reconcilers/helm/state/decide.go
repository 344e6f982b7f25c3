package state

import (
	"errors"
	"fmt"

	"helm.sh/helm/v3/pkg/release"

	v2 "github.com/weir-dev/weir/api/helm/v2"
)

// Action to take, by the name that users see.
type Action string

// Actions.
const (
	// None says that there is nothing to do.
	None Action = ""

	Install      Action = "install"
	Upgrade      Action = "upgrade"
	Test         Action = "test"
	Rollback     Action = "rollback"
	Uninstall    Action = "uninstall"
	Unlock       Action = "unlock"
	CorrectDrift Action = "correct cluster drift"
)

// Errors of Decide, for errors.Is. They end in a state that lasts until the spec, chart or values change, or somebody asks.
var (
	// ErrRetriesExceeded says that no attempt is left.
	ErrRetriesExceeded = errors.New("exceeded maximum retries")

	// ErrMissingRollbackTarget says that no release is known to roll back to.
	ErrMissingRollbackTarget = errors.New("missing target release for rollback")
)

// Decision is what to do.
type Decision struct {
	Action Action

	// Target to roll back to.
	Target *v2.Snapshot

	// ClearHistory tells to forget all snapshots before the action.
	ClearHistory bool
}

// Stored returns the revision that a snapshot is of as Helm has stored it, nil if it is gone.
type Stored func(s *v2.Snapshot) (*release.Release, error)

// Decide returns what to do about a release in a state. Force tells that somebody has asked for a release, however often it has
// failed: see Requests and Loop.Force.
func Decide(obj *v2.HelmRelease, s State, force bool, stored Stored) (Decision, error) {
	switch s {
	case InSync:
		if force {
			return Decision{Action: Upgrade}, nil
		}

		return Decision{}, nil
	case Locked:
		return Decision{Action: Unlock}, nil
	case Absent:
		if installPolicy(obj).exhausted && !force {
			return Decision{}, fmt.Errorf("%w: cannot install release", ErrRetriesExceeded)
		}

		return Decision{Action: Install, ClearHistory: true}, nil
	case Unmanaged:
		return Decision{Action: Upgrade, ClearHistory: true}, nil
	case OutOfSync:
		if upgradePolicy(obj).exhausted && !force {
			return Decision{}, fmt.Errorf("%w: cannot upgrade release", ErrRetriesExceeded)
		}

		return Decision{Action: Upgrade}, nil
	case Drifted:
		if obj.GetDriftDetectionMode() == v2.DriftDetectionEnabled {
			return Decision{Action: CorrectDrift}, nil
		}

		return Decision{}, nil
	case Untested:
		return Decision{Action: Test}, nil
	case Failed:
		return decideFailed(obj, force, stored)
	default:
		return Decision{}, fmt.Errorf("%w: %q is no state", ErrStatus, s)
	}
}

// decideFailed decides about a failed release: to try again, to remediate, or to give up.
func decideFailed(obj *v2.HelmRelease, force bool, stored Stored) (Decision, error) {
	p, active := activePolicy(obj)

	switch {
	case !active, p.retry > 0, p.failures <= 0, force:
		return Decision{Action: Upgrade}, nil
	case p.exhausted && !p.remediateLast:
		return Decision{}, fmt.Errorf("%w: cannot remediate failed release", ErrRetriesExceeded)
	case p.strategy == v2.RemediationUninstall:
		return Decision{Action: Uninstall}, nil
	}

	i := previous(obj.Status.History, p.ignoreTests)
	if i < 0 {
		return Decision{}, fmt.Errorf("%w: cannot remediate failed release", ErrMissingRollbackTarget)
	}

	target := obj.Status.History[i]

	r, err := stored(&target)
	if err != nil {
		return Decision{}, fmt.Errorf("verify rollback target '%s': %w", target.FullReleaseName(), err)
	}

	if r == nil || !Verify(&target, r) {
		return Decision{Action: Upgrade}, nil // what to roll back to is gone, or is something else by now
	}

	return Decision{Action: Rollback, Target: &target}, nil
}
