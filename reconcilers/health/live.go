package health

import (
	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/types"
)

// Live is what the hub keeps of an object in the cluster. Its maps and slices are shared and must not be changed.
type Live struct {
	UID             types.UID
	ResourceVersion string
	Generation      int64
	Labels          map[string]string
	Annotations     map[string]string
	// Deleting says that the object is being deleted and waits for finalizers.
	Deleting bool
	// Managers are the field managers of the object itself, not of its subresources.
	Managers []Manager
	// Status and Message are the outcome of kstatus: Current, InProgress, Failed, Terminating or Unknown. Kinds that
	// are watched as metadata only are Current as soon as they exist.
	Status  status.Status
	Message string
}

// Manager is an entry of an object's managed fields.
type Manager struct {
	Name string
	// Applied tells server-side apply from other writes.
	Applied bool
	// Time of its last change, in seconds since 1970 by the API server's clock.
	Time int64
	// Fields is a fingerprint of the fields that it owns.
	Fields uint64
}

// Knowledge says what the hub can tell about an object.
type Knowledge int

const (
	// Unknown: the object is not watched, or its watch has not seen everything yet.
	Unknown Knowledge = iota
	// Behind: it was written (Expect) after what its watch has seen.
	Behind
	// Absent: there is no such object with the label that the watch is filtered on.
	Absent
	// Present: there is.
	Present
	// Blind: it cannot be watched, as a rule because the process must not list its kind. Poll reads it.
	Blind
)
