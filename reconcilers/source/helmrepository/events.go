package helmrepository

import (
	"fmt"

	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/ingest"
	"github.com/weir-dev/weir/reconcilers/source"
)

// events tells of a new index, and of the end of a failure.
func events(before, after *sourcev1.HelmRepository, _ *scope) []engine.Event {
	message := fmt.Sprintf("stored fetched index of %s from '%s'", size(after.Status.Artifact), ingest.Redact(after.Spec.URL))

	return source.Events(before, after, message, nil)
}

// size says in three or four digits how large an artifact is.
func size(a *meta.Artifact) string {
	if a == nil || a.Size == nil {
		return "unknown size"
	}

	value, unit := float64(*a.Size), 0

	units := []string{"B", "kB", "MB", "GB", "TB"}
	for value >= 1000 && unit < len(units)-1 {
		value /= 1000
		unit++
	}

	return fmt.Sprintf("size %.4g%s", value, units[unit])
}
