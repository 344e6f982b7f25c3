package charts

import (
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"sort"
	"strings"

	"github.com/Masterminds/semver/v3"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/repo"

	"github.com/weir-dev/weir/reconcilers/ingest"
)

// builder makes an Index of entries that come one by one, the ones of a chart after its name.
type builder struct {
	limits IndexLimits
	stage  *stage // takes the normal form of each entry; nil if nobody wants it

	index *Index
	spans []span           // of the entries in the stage, in the order of the index
	known map[string]place // strings that are likely to come again
	ranks []rank           // of the entries of the chart that is being read
	seen  int              // entries, dropped ones included
}

// maxKnown bounds the strings that are looked out for.
const maxKnown = 4096

func newBuilder(l IndexLimits, s *stage) *builder {
	b := &builder{limits: l, stage: s}
	b.clear()

	return b
}

// clear forgets all that came so far.
func (b *builder) clear() {
	b.index = &Index{text: make([]byte, 1)} // place zero is nothing
	b.spans, b.ranks, b.known, b.seen = nil, nil, map[string]place{}, 0

	if b.stage != nil {
		b.stage.clear()
	}
}

// chart begins a chart.
func (b *builder) chart(name string) error {
	b.closeChart()

	if b.seen++; b.seen > b.limits.Entries {
		return tooMany(b.limits.Entries)
	}

	at, err := b.put(name)
	if err != nil {
		return err
	}

	b.index.charts = append(b.index.charts, chartRecord{name: at, first: uint32(len(b.index.entries))}) //nolint:gosec // bounded by the limit

	return nil
}

// add adds an entry to the chart, unless it is none. Nil is none.
func (b *builder) add(cv *repo.ChartVersion) error {
	if b.seen++; b.seen > b.limits.Entries {
		return tooMany(b.limits.Entries)
	}

	v := valid(cv)
	if v == nil {
		b.index.dropped++

		return nil
	}

	r, err := b.record(cv)
	if err != nil {
		return err
	}

	if b.stage != nil {
		s, err := b.stage.add(cv)
		if err != nil {
			return err
		}

		b.spans = append(b.spans, s)
	}

	b.index.entries = append(b.index.entries, r)
	b.index.charts[len(b.index.charts)-1].count++
	b.ranks = append(b.ranks, rankOf(v))

	return nil
}

func tooMany(limit int) error {
	return &ingest.LimitError{Max: int64(limit), Unit: "charts and versions per index"}
}

// valid brings an entry into the form in which Helm uses it, and returns its version; or nil if Helm passes over it.
func valid(cv *repo.ChartVersion) *semver.Version {
	if cv == nil {
		return nil
	}

	if cv.Metadata == nil {
		cv.Metadata = &chart.Metadata{}
	}

	if cv.APIVersion == "" {
		cv.APIVersion = chart.APIVersionV1
	}

	// Some servers strip the alias of dependencies, which makes equal names of them. Helm lets that pass.
	const equalNames = "validation: more than one dependency with name or alias"
	if err := cv.Validate(); err != nil && !strings.HasPrefix(err.Error(), equalNames) {
		return nil
	}

	v, err := semver.NewVersion(cv.Version)
	if err != nil {
		return nil
	}

	return v
}

// record makes the record of an entry.
func (b *builder) record(cv *repo.ChartVersion) (r entryRecord, err error) {
	put := func(keep func(string) (place, error), s string) place {
		var at place
		if err == nil {
			at, err = keep(s)
		}

		return at
	}

	r.name, r.version, r.app = put(b.intern, cv.Name), put(b.put, cv.Version), put(b.intern, cv.AppVersion)

	if raw, e := hex.DecodeString(cv.Digest); e == nil && hex.EncodeToString(raw) == cv.Digest {
		r.flags |= hexDigest
		r.digest = put(b.put, string(raw))
	} else {
		r.digest = put(b.put, cv.Digest)
	}

	if prefix, ok := usual(cv); ok {
		r.flags |= usualURL
		r.urls = put(b.intern, prefix)
	} else {
		r.urls = put(func(string) (place, error) { return b.putList(cv.URLs) }, "")
	}

	if !cv.Created.IsZero() {
		r.flags |= timed
		r.created = cv.Created.UnixNano()
	}

	r.flags |= flag(deprecated, cv.Deprecated) | flag(removed, cv.Removed) |
		flag(application, cv.Type == "application") | flag(library, cv.Type == "library")

	return r, err
}

func flag(f flags, on bool) flags {
	if on {
		return f
	}

	return 0
}

// usual returns what is before the name and the version in the URL, if it is the only one and ends with them.
func usual(cv *repo.ChartVersion) (string, bool) {
	if len(cv.URLs) != 1 {
		return "", false
	}

	return strings.CutSuffix(cv.URLs[0], cv.Name+"-"+cv.Version+".tgz")
}

// intern is put for strings that are likely to come again.
func (b *builder) intern(s string) (place, error) {
	if at, ok := b.known[s]; ok {
		return at, nil
	}

	at, err := b.put(s)

	if len(b.known) >= maxKnown {
		clear(b.known)
	}

	b.known[strings.Clone(s)] = at

	return at, err
}

func (b *builder) put(s string) (place, error) {
	if s == "" {
		return 0, nil
	}

	at, err := b.here()
	b.index.text = append(binary.AppendUvarint(b.index.text, uint64(len(s))), s...)

	return at, err
}

func (b *builder) putList(all []string) (place, error) {
	if len(all) == 0 {
		return 0, nil
	}

	at, err := b.here()
	b.index.text = binary.AppendUvarint(b.index.text, uint64(len(all)))

	for _, s := range all {
		b.index.text = append(binary.AppendUvarint(b.index.text, uint64(len(s))), s...)
	}

	return at, err
}

func (b *builder) here() (place, error) {
	if len(b.index.text) > math.MaxUint32 {
		return 0, &ingest.LimitError{Max: math.MaxUint32, Unit: "bytes of names, versions and URLs per index"}
	}

	return place(len(b.index.text)), nil //nolint:gosec // it was just checked
}

// closeChart puts the entries of the chart into their order.
func (b *builder) closeChart() {
	if len(b.ranks) > 0 {
		first := len(b.index.entries) - len(b.ranks)
		o := &order{ranks: b.ranks, entries: b.index.entries[first:]}

		if b.stage != nil {
			o.spans = b.spans[first:]
		}

		// The same algorithm as Helm's, so that what is equal comes in the same order.
		sort.Sort(sort.Reverse(o))
	}

	b.ranks = b.ranks[:0]
}

// order sorts entries by their version.
type order struct {
	ranks   []rank
	entries []entryRecord
	spans   []span
}

func (o *order) Len() int           { return len(o.ranks) }
func (o *order) Less(i, j int) bool { return o.ranks[i].less(o.ranks[j]) }

func (o *order) Swap(i, j int) {
	o.ranks[i], o.ranks[j] = o.ranks[j], o.ranks[i]
	o.entries[i], o.entries[j] = o.entries[j], o.entries[i]

	if o.spans != nil {
		o.spans[i], o.spans[j] = o.spans[j], o.spans[i]
	}
}

// rank is what decides the order of a version. There may be many.
type rank struct {
	major, minor, patch uint64
	pre                 string
}

func rankOf(v *semver.Version) rank {
	return rank{major: v.Major(), minor: v.Minor(), patch: v.Patch(), pre: v.Prerelease()}
}

func (r rank) less(other rank) bool {
	c := cmp.Or(cmp.Compare(r.major, other.major), cmp.Compare(r.minor, other.minor), cmp.Compare(r.patch, other.patch))
	if c != 0 || r.pre == other.pre {
		return c < 0
	}

	return semver.New(0, 0, 0, r.pre, "").LessThan(semver.New(0, 0, 0, other.pre, ""))
}

// finish returns the index. A chart that comes twice is an error, or the last one counts.
func (b *builder) finish(lastCounts bool) (*Index, error) {
	b.closeChart()

	x := b.index
	slices.SortStableFunc(x.charts, func(a, c chartRecord) int {
		return strings.Compare(x.string(a.name), x.string(c.name))
	})

	kept := x.charts[:0]

	for i, c := range x.charts {
		if i+1 < len(x.charts) && x.string(c.name) == x.string(x.charts[i+1].name) {
			if !lastCounts {
				return nil, fmt.Errorf("the chart %q is there twice", x.string(c.name))
			}

			continue
		}

		kept = append(kept, c)
	}

	x.charts = slices.Clip(kept)
	x.entries, x.text = slices.Clone(x.entries), slices.Clone(x.text)

	return x, nil
}
