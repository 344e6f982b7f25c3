package bucket

import (
	"fmt"

	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/source"
)

// events tells of a new artifact, and of the end of a failure.
func events(before, after *sourcev1.Bucket, s *scope) []engine.Event {
	message := fmt.Sprintf("stored artifact with %d fetched files from '%s' bucket", s.files, after.Spec.BucketName)

	return source.Events(before, after, message, nil)
}
