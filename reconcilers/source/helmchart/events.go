package helmchart

import (
	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/source"
)

// events tells of a new artifact, and of the end of a failure.
func events(before, after *sourcev1.HelmChart, _ *scope) []engine.Event {
	message := ""
	if c := engine.Condition(after, meta.ArtifactInStorageCondition); c != nil {
		message = c.Message
	}

	return source.Events(before, after, message, nil)
}
