package source

import (
	"maps"

	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/engine"
)

// Events tells of a new artifact, with the message, and of the end of a failure. More adds to the metadata, which hold the
// revision and the digest.
func Events(before, after Object, message string, more map[string]string) []engine.Event {
	a := after.GetArtifact()
	if a == nil || !engine.IsTrue(after, meta.ReadyCondition) {
		return nil
	}

	e := engine.Event{
		Reason: sourcev1.NewArtifactReason, Message: message,
		Metadata: map[string]string{meta.MetaRevisionKey: a.Revision, meta.MetaDigestKey: a.Digest},
	}
	maps.Copy(e.Metadata, more)

	if old := before.GetArtifact(); old.HasDigest(a.Digest) && old.HasRevision(a.Revision) {
		if !recovered(before, after) {
			return nil
		}

		e.Reason = meta.SucceededReason
	}

	return []engine.Event{e}
}

// recovered tells whether a failure has come to an end.
func recovered(before, after Object) bool {
	for _, typ := range failures() {
		if engine.IsTrue(before, typ) && !engine.IsTrue(after, typ) {
			return true
		}
	}

	return false
}
