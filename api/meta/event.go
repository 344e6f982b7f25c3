package meta

// EventAnnotationPrefix marks the annotations of an object that are copied into the metadata of its events, and the
// metadata keys that belong to no API group.
const EventAnnotationPrefix = "event.toolkit.fluxcd.io/"

// Severities of an event. Trace events are recorded in the cluster and never sent on.
const (
	EventSeverityTrace = "trace"
	EventSeverityInfo  = "info"
	EventSeverityError = "error"
)

// Keys of event metadata. On the wire each is prefixed by the API group of the involved object, or, for
// MetaCommitKey and MetaChangeRequestKey, by EventAnnotationPrefix.
const (
	// MetaRevisionKey holds the revision that the event is about.
	MetaRevisionKey = "revision"

	// MetaOriginRevisionKey holds the revision of the code that an artifact was built from.
	MetaOriginRevisionKey = "originRevision"

	// MetaChecksumKey is the deprecated name of MetaDigestKey.
	MetaChecksumKey = "checksum"

	// MetaDigestKey holds the digest of an artifact.
	MetaDigestKey = "digest"

	// MetaTokenKey holds a value that tells apart events that read the same; receivers drop it.
	MetaTokenKey = "token"

	// MetaCommitKey holds the commit that a commit status is set on.
	MetaCommitKey = "commit"

	// MetaCommitStatusKey says how the event concerns commit statuses; MetaCommitStatusUpdate is its one value.
	MetaCommitStatusKey = "commit_status"

	// MetaCommitStatusUpdate marks an event that is sent only to set a commit status.
	MetaCommitStatusUpdate = "update"

	// MetaChangeRequestKey holds the number of the pull or merge request to comment on.
	MetaChangeRequestKey = "change_request"
)
