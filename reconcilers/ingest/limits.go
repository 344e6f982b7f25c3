package ingest

import (
	"fmt"
	"strings"
)

// Limits bound what comes out of an archive or a tree. A field that is zero takes its default; to lift a limit, set it to
// math.MaxInt64 or math.MaxInt.
type Limits struct {
	// Bytes of all regular files together. The default is 1 GiB.
	Bytes int64

	// FileBytes of one regular file. The default is 512 MiB.
	FileBytes int64

	// Entries are files and directories. Dropped entries of an archive count as well. The default is 100 000.
	Entries int

	// Depth is the number of elements of a path. The default is 64.
	Depth int

	// PathBytes is the length of a path in bytes. The default is 1024. All paths together may have 160 bytes for each entry
	// that is allowed, and a MiB more: they are held in memory.
	PathBytes int

	// Ratio of inflated to compressed bytes of an archive; the first 32 MiB are free. The default is 200.
	Ratio int64
}

func (l Limits) orDefaults() Limits {
	l.Bytes = or(l.Bytes, 1<<30)
	l.FileBytes = or(l.FileBytes, defaultFileBytes)
	l.Entries = or(l.Entries, 100_000)
	l.Depth = or(l.Depth, 64)
	l.PathBytes = or(l.PathBytes, 1024)
	l.Ratio = or(l.Ratio, 200)

	return l
}

const (
	defaultFileBytes = 512 << 20

	// freeBytes may come out of an archive whatever its compression ratio: small files may compress very well.
	freeBytes = 32 << 20

	// pathsBytes is how many bytes of paths there may be for each entry that is allowed, beside freePaths.
	pathsBytes = 160
	freePaths  = 1 << 20

	// entryOverhead is more than what an archive spends on one entry beside its content.
	entryOverhead = 4 << 10
)

func or[T int | int64](v, d T) T {
	if v == 0 {
		return d
	}

	return v
}

// LimitError says that something is over a limit.
type LimitError struct {
	// Names of the entries of which one is over the limit: one if it is known for sure, none if the limit is one of the
	// whole, several, the likeliest first, if it cannot be told which.
	Names []string

	// Max is the limit.
	Max int64

	// Unit says what is limited, such as "bytes per file".
	Unit string
}

// Error implements error.
func (e *LimitError) Error() string {
	limit := fmt.Sprintf("the limit of %d %s is exceeded", e.Max, e.Unit)

	switch n := len(e.Names); n {
	case 0:
		return limit
	case 1:
		return fmt.Sprintf("%q: %s", e.Names[0], limit)
	default:
		const most = 5

		quoted := make([]string, 0, most)
		for _, name := range e.Names[:min(n, most)] {
			quoted = append(quoted, fmt.Sprintf("%q", name))
		}

		more := ""
		if n > most {
			more = fmt.Sprintf(" and %d more", n-most)
		}

		return fmt.Sprintf("one of %s%s: %s", strings.Join(quoted, ", "), more, limit)
	}
}

// OfFile tells that it is a single file that is too large.
func (e *LimitError) OfFile() bool { return e.Unit == unitFileBytes }

// The units of LimitError.
const (
	unitBytes     = "bytes in all files"
	unitFileBytes = "bytes per file"
	unitEntries   = "entries"
	unitDepth     = "path elements"
	unitPathBytes = "bytes per path"
	unitPaths     = "bytes in all paths"
	unitRatio     = "inflated bytes per compressed byte"
	unitRaw       = "bytes per archive"
	unitVisits    = "entries looked at"
	unitPack      = "bytes per pack"
	unitInflated  = "inflated bytes per pack"
	unitObjects   = "objects per pack"
	unitMetadata  = "bytes per commit, tag or tree"
	unitHead      = "bytes per commit or tag"
	unitChain     = "deltas per object"
)

func over(limit int64, unit string, names ...string) error {
	return &LimitError{Names: names, Max: limit, Unit: unit}
}

// RefusedError says that an entry breaks a rule, such as a name that leads out of the tree.
type RefusedError struct {
	// Name of the entry.
	Name string

	// Reason why it is refused.
	Reason string
}

// Error implements error.
func (e *RefusedError) Error() string { return fmt.Sprintf("%q: %s", e.Name, e.Reason) }

func refuse(name, format string, args ...any) error {
	return &RefusedError{Name: name, Reason: fmt.Sprintf(format, args...)}
}

// meter counts what comes out against the limits.
type meter struct {
	limits  Limits
	bytes   int64
	entries int
	paths   int64 // bytes
}

// entry counts an entry and checks its path.
func (m *meter) entry(path string, elements int) error {
	m.entries++
	m.paths += int64(len(path))

	switch {
	case m.entries > m.limits.Entries:
		return over(int64(m.limits.Entries), unitEntries, path)
	case elements > m.limits.Depth:
		return over(int64(m.limits.Depth), unitDepth, path)
	case len(path) > m.limits.PathBytes:
		return over(int64(m.limits.PathBytes), unitPathBytes, path)
	}

	if most := plus(times(m.limits.Entries, pathsBytes), freePaths); m.paths > most {
		return over(most, unitPaths)
	}

	return nil
}

// file counts the content of a regular file.
func (m *meter) file(path string, size int64) error {
	if size > m.limits.FileBytes {
		return over(m.limits.FileBytes, unitFileBytes, path)
	}

	if m.bytes += size; m.bytes > m.limits.Bytes {
		return over(m.limits.Bytes, unitBytes, path)
	}

	return nil
}
