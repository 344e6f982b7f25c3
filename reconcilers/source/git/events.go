package git

import (
	"fmt"

	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/engine"
)

// events tells of a new artifact, and of the end of a failure.
func events(before, after *sourcev1.GitRepository, s *scope) []engine.Event {
	a := after.Status.Artifact
	if a == nil || !engine.IsTrue(after, meta.ReadyCondition) {
		return nil
	}

	e := engine.Event{
		Reason:  sourcev1.NewArtifactReason,
		Message: fmt.Sprintf("stored artifact for commit '%s'", message(s, a)),
		Metadata: map[string]string{
			meta.MetaRevisionKey: a.Revision, meta.MetaDigestKey: a.Digest,
		},
	}

	if before.Status.Artifact.HasDigest(a.Digest) && before.Status.Artifact.HasRevision(a.Revision) {
		if !recovered(before, after) {
			return nil
		}

		e.Reason = meta.SucceededReason
	}

	return []engine.Event{e}
}

// message of the commit, or the revision if the commit was not looked at.
func message(s *scope, a *meta.Artifact) string {
	if s.facts.summary != "" {
		return s.facts.summary
	}

	return a.Revision
}

// recovered tells whether a failure has come to an end.
func recovered(before, after *sourcev1.GitRepository) bool {
	for _, typ := range failures() {
		if engine.IsTrue(before, typ) && !engine.IsTrue(after, typ) {
			return true
		}
	}

	return false
}
