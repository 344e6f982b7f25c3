package meta

import (
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// HistoryLimit is the number of entries that a History keeps.
const HistoryLimit = 5

// HistoryEntry sums up the reconciles of one digest that ended with one status.
type HistoryEntry struct {
	// Digest of what was reconciled, as <algorithm>:<checksum>.
	// +required
	Digest string `json:"digest"`

	// FirstReconciled is when the first of the reconciles ended.
	// +required
	FirstReconciled metav1.Time `json:"firstReconciled"`

	// LastReconciled is when the last of the reconciles ended.
	// +required
	LastReconciled metav1.Time `json:"lastReconciled"`

	// LastReconciledDuration is how long the last of the reconciles took.
	// +kubebuilder:validation:Type=string
	// +required
	LastReconciledDuration metav1.Duration `json:"lastReconciledDuration"`

	// LastReconciledStatus is the reason of the Ready condition at the end.
	// +required
	LastReconciledStatus string `json:"lastReconciledStatus"`

	// TotalReconciliations is the number of the reconciles.
	// +required
	TotalReconciliations int64 `json:"totalReconciliations"`

	// Metadata says more about what was reconciled, such as its revision.
	// +optional
	Metadata map[string]string `json:"metadata,omitempty"`
}

// History holds the latest entries, newest first, at most HistoryLimit of them.
type History []HistoryEntry

// Latest returns the newest entry, or nil if there is none.
func (in History) Latest() *HistoryEntry {
	if len(in) == 0 {
		return nil
	}

	return &in[0]
}

// Record adds a reconcile of the digest that ended at the time given, after the duration and with the status. An entry
// of the same digest and status is counted up, given the new metadata and moved to the front.
func (in *History) Record(digest, status string, end time.Time, duration time.Duration, metadata map[string]string) {
	at := metav1.NewTime(end)
	entry := HistoryEntry{Digest: digest, FirstReconciled: at, LastReconciledStatus: status}

	same := func(e HistoryEntry) bool { return e.Digest == digest && e.LastReconciledStatus == status }
	if i := slices.IndexFunc(*in, same); i >= 0 {
		entry = (*in)[i]
		*in = slices.Delete(*in, i, i+1)
	}

	entry.LastReconciled = at
	entry.LastReconciledDuration = metav1.Duration{Duration: duration}
	entry.TotalReconciliations++
	entry.Metadata = metadata

	*in = slices.Insert(*in, 0, entry)
	if len(*in) > HistoryLimit {
		*in = (*in)[:HistoryLimit]
	}
}
