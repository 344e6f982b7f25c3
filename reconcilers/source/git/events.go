package git

import (
	"fmt"

	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/source"
)

// events tells of a new artifact, and of the end of a failure.
func events(before, after *sourcev1.GitRepository, s *scope) []engine.Event {
	if after.Status.Artifact == nil {
		return nil
	}

	return source.Events(before, after, fmt.Sprintf("stored artifact for commit '%s'", message(s, after.Status.Artifact)), nil)
}

// message of the commit, or the revision if the commit was not looked at.
func message(s *scope, a *meta.Artifact) string {
	if s.facts.summary != "" {
		return s.facts.summary
	}

	return a.Revision
}
