package charts

import (
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/Masterminds/semver/v3"

	"github.com/weir-dev/weir/reconcilers/ingest"
)

// Errors of Find.
var (
	// ErrNoChart says that the index has no chart of the name.
	ErrNoChart = errors.New("no chart name found")

	// ErrNoVersion says that no version of the chart is one that is wanted.
	ErrNoVersion = errors.New("no chart version found")
)

// Entry is a version of a chart in an index.
type Entry struct {
	// Name and Version of the chart, as the index has them.
	Name, Version string

	// AppVersion of what the chart installs.
	AppVersion string

	// Type of the chart: application, library or nothing.
	Type string

	// URLs of the package; they may be relative to the one of the repository.
	URLs []string

	// Digest of the package, such as the hexadecimal digits of a SHA-256. It may be empty.
	Digest string

	// Created is when the package was made. It is zero if the index does not say.
	Created time.Time

	// Deprecated tells that the chart should not be used any more, Removed that it is not there any more.
	Deprecated, Removed bool
}

// Index is what is to know about a repository to find charts in it: a small part of its index file. It does not change and is
// safe for concurrent use.
type Index struct {
	charts  []chartRecord // by name
	entries []entryRecord // of one chart beside each other, the highest version first
	text    []byte        // the strings of the records
	dropped int
}

// Strings of records are places in text: a length, then the bytes.
type place uint32

type chartRecord struct {
	name         place
	first, count uint32 // of entries
}

type entryRecord struct {
	name, version, app, urls, digest place
	flags                            flags
	created                          int64 // nanoseconds since 1970
}

type flags uint32

const (
	deprecated flags = 1 << iota
	removed
	application
	library
	timed     // created says something
	hexDigest // the digest is kept as bytes
	usualURL  // the URL ends with name-version.tgz, which is not kept
)

// Weight is about how much memory the index takes, in bytes.
func (x *Index) Weight() int64 {
	const chart, entry = 12, 32

	return int64(cap(x.text)) + chart*int64(cap(x.charts)) + entry*int64(cap(x.entries))
}

// Charts returns the names of all charts, sorted.
func (x *Index) Charts() []string {
	names := make([]string, 0, len(x.charts))
	for _, c := range x.charts {
		names = append(names, x.string(c.name))
	}

	return names
}

// Len returns the number of entries.
func (x *Index) Len() int { return len(x.entries) }

// Dropped returns the number of entries of the file that are none: without a name, or with a version that is no version.
func (x *Index) Dropped() int { return x.dropped }

// Entries returns the versions of a chart, the highest first.
func (x *Index) Entries(name string) []Entry {
	c, ok := x.chart(name)
	if !ok {
		return nil
	}

	all := make([]Entry, 0, c.count)
	for i := range c.count {
		all = append(all, x.entry(c.first+i))
	}

	return all
}

// Find returns the version of a chart that is wanted: the one of exactly that name, or else the highest that the range allows.
// Among those that differ only in their build metadata, the youngest counts. An empty range is "*", which allows no
// pre-releases. It fails with ErrNoChart or ErrNoVersion, or because the range cannot be read.
func (x *Index) Find(name, constraint string) (Entry, error) {
	c, ok := x.chart(name)
	if !ok {
		return Entry{}, ErrNoChart
	}

	allowed, err := Range(constraint)
	if err != nil {
		return Entry{}, err
	}

	for i := range c.count {
		if constraint != "" && x.is(x.entries[c.first+i].version, constraint) {
			return x.entry(c.first + i), nil
		}
	}

	if i, ok := x.highest(c, allowed); ok {
		return x.entry(i), nil
	}

	return Entry{}, ErrNoVersion
}

// Range returns the versions that are allowed. An empty range is "*", which allows no pre-releases. It has a bound: many versions
// may be compared with it.
func Range(constraint string) (*semver.Constraints, error) {
	const most = 1024

	if len(constraint) > most {
		return nil, &ingest.LimitError{Max: most, Unit: "bytes per range of versions"}
	}

	allowed, err := semver.NewConstraint(cmp.Or(constraint, "*"))
	if err != nil {
		return nil, fmt.Errorf("version %q: %w", constraint, err)
	}

	return allowed, nil
}

// highest returns the number of the highest entry that is allowed, the youngest one if there are several.
func (x *Index) highest(c chartRecord, allowed *semver.Constraints) (uint32, bool) {
	var (
		best  *semver.Version
		found uint32
	)

	for i := c.first; i < c.first+c.count; i++ {
		v, err := semver.NewVersion(x.string(x.entries[i].version))
		if err != nil {
			continue
		}

		switch {
		case best == nil:
			if allowed.Check(v) {
				best, found = v, i
			}
		case v.LessThan(best):
			return found, true
		case allowed.Check(v) && x.entries[i].created > x.entries[found].created:
			found = i
		}
	}

	return found, best != nil
}

func (x *Index) chart(name string) (chartRecord, bool) {
	i, ok := slices.BinarySearchFunc(x.charts, name, func(c chartRecord, name string) int {
		return strings.Compare(x.string(c.name), name)
	})
	if !ok {
		return chartRecord{}, false
	}

	return x.charts[i], true
}

func (x *Index) entry(i uint32) Entry {
	r := x.entries[i]
	e := Entry{
		Name: x.string(r.name), Version: x.string(r.version), AppVersion: x.string(r.app),
		Deprecated: r.flags&deprecated != 0, Removed: r.flags&removed != 0,
	}

	switch {
	case r.flags&application != 0:
		e.Type = "application"
	case r.flags&library != 0:
		e.Type = "library"
	}

	if r.flags&timed != 0 {
		e.Created = time.Unix(0, r.created).UTC()
	}

	if e.Digest = x.string(r.digest); r.flags&hexDigest != 0 {
		e.Digest = hex.EncodeToString([]byte(e.Digest))
	}

	if r.flags&usualURL != 0 {
		e.URLs = []string{x.string(r.urls) + e.Name + "-" + e.Version + ".tgz"}
	} else {
		e.URLs = x.list(r.urls)
	}

	return e
}

// bytesAt returns the bytes at a place. Nothing is at place zero.
func (x *Index) bytesAt(p place) []byte {
	if p == 0 {
		return nil
	}

	n, used := binary.Uvarint(x.text[p:])
	begin := int(p) + used

	return x.text[begin : begin+int(n)] //nolint:gosec // the builder wrote the length
}

func (x *Index) string(p place) string {
	return string(x.bytesAt(p))
}

func (x *Index) is(p place, s string) bool {
	return string(x.bytesAt(p)) == s
}

// list returns the strings at a place: their number, then each.
func (x *Index) list(p place) []string {
	if p == 0 {
		return nil
	}

	n, used := binary.Uvarint(x.text[p:])
	next := x.text[int(p)+used:]

	all := make([]string, 0, n)
	for range n {
		size, used := binary.Uvarint(next)
		next = next[used:]
		all, next = append(all, string(next[:size])), next[size:]
	}

	return all
}
