package helm

import (
	"fmt"
	"strings"

	"helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/storage"

	v2 "github.com/weir-dev/weir/api/helm/v2"
)

// unlocked begins the description of a release that was interrupted.
const unlocked = "Release unlocked from stale"

// wasUnlocked tells whether a release has failed because it was interrupted, and for no other reason.
func wasUnlocked(r *release.Release) bool {
	return r.Info.Status == release.StatusFailed && strings.HasPrefix(r.Info.Description, unlocked)
}

// unlock marks a release that was interrupted as failed.
func (a *attempt) unlock() outcome {
	r, was := a.latest, a.latest.Info.Status
	about := fmt.Sprintf("Helm release %s/%s.v%d with chart %s@%s", r.Namespace, r.Name, r.Version, r.Chart.Name(), r.Chart.Metadata.Version)

	a.book.made = a.book.interrupted(r)
	r.SetStatus(release.StatusFailed, fmt.Sprintf("%s '%s' state", unlocked, was))

	out := outcome{condition: v2.ReleasedCondition, reason: v2.PendingReleaseReason, fails: true}
	if out.err = storage.Init(a.book).Update(r); out.err != nil {
		out.message = fmt.Sprintf("Unlock of %s in %s state failed: %s", about, was, out.err)
	} else {
		out.message = fmt.Sprintf("Unlocked %s in %s state", about, was)
	}

	return out
}
