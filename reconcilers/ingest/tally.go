package ingest

// Tally counts what comes out of several trees and directories, which make one artifact together, against the limits. It must
// not be used concurrently.
type Tally struct{ meter meter }

// NewTally returns a tally of nothing. Zero fields of the limits take their defaults.
func NewTally(l Limits) *Tally { return &Tally{meter: meter{limits: l.orDefaults()}} }

// Entry counts a file or directory with the path, which has the number of elements. It fails with a *LimitError.
func (t *Tally) Entry(path string, elements int) error { return t.meter.entry(path, elements) }

// File counts the content of a regular file, in bytes. It fails with a *LimitError.
func (t *Tally) File(path string, size int64) error { return t.meter.file(path, size) }
