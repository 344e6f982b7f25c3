package charts

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"

	"github.com/weir-dev/weir/reconcilers/ingest"
)

// Limits bound what a chart may cost. A field that is zero takes its default.
type Limits struct {
	// Bytes of a packaged chart. What is in it, the charts in it and those that it depends on included, may have ten times as
	// many. The default is 10 MiB.
	Bytes int64

	// FileBytes of one file of a chart. The default is 5 MiB.
	FileBytes int64

	// Turns optionally bounds how many charts are read at a time by all who share it: each puts something into it while it
	// is at it. Reading a chart may take much more memory than the chart.
	Turns chan struct{}
}

// turn waits until a chart may be read. The caller calls done afterwards, and waits for nobody else in between.
func (l Limits) turn(ctx context.Context) (done func(), err error) {
	if l.Turns == nil {
		return func() {}, nil
	}

	select {
	case l.Turns <- struct{}{}:
		return func() { <-l.Turns }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

const (
	defaultChartBytes = 10 << 20
	defaultFileBytes  = 5 << 20

	// growth is how many bytes may come out of each that a packaged chart may have. With the default limits, that is as
	// much as Helm itself takes.
	growth = 10

	// maxFiles bounds the files of a chart, with those of the charts in it.
	maxFiles = 10_000

	// maxNesting bounds packaged charts in packaged charts.
	maxNesting = 8
)

// MaxBytes returns how many bytes a packaged chart may have.
func (l Limits) MaxBytes() int64 { return l.orDefaults().Bytes }

func (l Limits) orDefaults() Limits {
	if l.Bytes <= 0 {
		l.Bytes = defaultChartBytes
	}

	if l.FileBytes <= 0 {
		l.FileBytes = defaultFileBytes
	}

	return l
}

// Names of files in a chart.
const (
	chartFile  = "Chart.yaml"
	valuesFile = "values.yaml"
	subcharts  = "charts/"
)

// Load reads a packaged chart, whoever made it. It takes what Helm takes, but within the limits, also for packaged charts in
// packaged charts, and never a link. An error is a *ingest.LimitError or *ingest.RefusedError if one of our rules is broken.
func Load(ctx context.Context, r io.Reader, l Limits) (*chart.Chart, error) {
	done, err := l.turn(ctx)
	if err != nil {
		return nil, err
	}
	defer done()

	return newBudget(ctx, l).whole(r)
}

// budget is what is left of the limits while a chart is loaded.
type budget struct {
	ctx    context.Context //nolint:containedctx // it lives as long as the call that was given the context
	limits Limits
	bytes  int64
	files  int
	values int
}

func newBudget(ctx context.Context, l Limits) *budget {
	l = l.orDefaults()

	return &budget{ctx: ctx, limits: l, bytes: l.Bytes * growth, files: maxFiles, values: maxValues}
}

// whole loads a packaged chart that is not in another one.
func (b *budget) whole(r io.Reader) (*chart.Chart, error) {
	return b.packaged(&boundedReader{r: r, left: b.limits.Bytes, max: b.limits.Bytes}, maxNesting)
}

// packaged loads a packaged chart, with at most so many levels of packaged charts in it.
func (b *budget) packaged(r io.Reader, nesting int) (*chart.Chart, error) {
	in := bufio.NewReader(r)

	magic, err := in.Peek(2)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read chart: %w", err)
	}

	if !bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		return nil, errors.New("the chart is no archive compressed with gzip")
	}

	files, err := b.unpack(in)
	if err != nil {
		return nil, err
	}

	return b.load(files, nesting)
}

// unpack returns the files of a packaged chart, with their names in it, in the order of the archive.
func (b *budget) unpack(r io.Reader) ([]*loader.BufferedFile, error) {
	var files []*loader.BufferedFile

	at := map[string]int{}
	limits := ingest.Limits{Bytes: max(b.bytes, 1), FileBytes: b.limits.FileBytes, Entries: max(b.files, 1)}

	_, err := ingest.ReadTar(b.ctx, r, limits, func(entry ingest.TarFile, content io.Reader) error {
		inner, err := innerName(entry.Name)
		if err != nil {
			return err
		}

		f, err := readFile(inner, entry.Size, content)
		if err != nil {
			return err
		}

		b.bytes -= entry.Size
		b.files--

		if i, ok := at[inner]; ok { // the last one is meant
			files[i] = f

			return nil
		}

		at[inner] = len(files)
		files = append(files, f)

		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("unpack chart: %w", err)
	}

	return files, nil
}

// readFile reads a file of a size that is within the limits.
func readFile(name string, size int64, r io.Reader) (*loader.BufferedFile, error) {
	data := make([]byte, size)
	if _, err := io.ReadFull(r, data); err != nil {
		return nil, fmt.Errorf("read %q: %w", name, err)
	}

	return &loader.BufferedFile{Name: name, Data: bytes.TrimPrefix(data, []byte("\xEF\xBB\xBF"))}, nil
}

// innerName takes the directory of the chart off the name of a file in an archive.
func innerName(name string) (string, error) {
	slashed := path.Clean(strings.ReplaceAll(name, `\`, "/")) // archives made on Windows

	_, inner, ok := strings.Cut(slashed, "/")

	switch {
	case slashed == chartFile:
		return "", &ingest.RefusedError{Name: name, Reason: "the chart is not in a directory"}
	case !ok:
		return "", &ingest.RefusedError{Name: name, Reason: "the file is outside of the directory of the chart"}
	case strings.HasPrefix(slashed, "/"), drive(inner):
		return "", &ingest.RefusedError{Name: name, Reason: "the name is absolute"}
	}

	return inner, nil
}

// drive tells whether Windows would take a path for one of its drives.
func drive(name string) bool {
	ok, _ := regexp.MatchString(`^[a-zA-Z]:/`, name) //nolint:errcheck // the pattern is right

	return ok
}

// load makes a chart of its files, and of the charts in it. Unlike Helm, it takes the charts in it in the order of their names,
// so that the same files always make the same chart, and counts what comes out of the packaged ones.
func (b *budget) load(files []*loader.BufferedFile, nesting int) (*chart.Chart, error) {
	if err := b.ctx.Err(); err != nil {
		return nil, err //nolint:wrapcheck // it is whole
	}

	own, subs := sortOut(files)

	for _, f := range own {
		if !yamlFile(f.Name) {
			continue
		}

		if err := b.text(f.Name, f.Data); err != nil {
			return nil, err
		}
	}

	c, err := loader.LoadFiles(own)
	if err != nil {
		return nil, err //nolint:wrapcheck // it says what is wrong with the chart
	}

	c.Raw = make([]*chart.File, 0, len(files))
	for _, f := range files {
		c.Raw = append(c.Raw, &chart.File{Name: f.Name, Data: f.Data})
	}

	for _, name := range slices.Sorted(maps.Keys(subs)) {
		if name == "" || strings.ContainsRune("_.", rune(name[0])) {
			continue
		}

		sub, err := b.subchart(name, subs[name], nesting)
		if err != nil {
			return nil, fmt.Errorf("subchart %q: %w", name, err)
		}

		c.AddDependency(sub)
	}

	return c, nil
}

// sortOut returns the files of a chart itself, and those of each chart in it, by the name of that below charts/.
func sortOut(files []*loader.BufferedFile) (own []*loader.BufferedFile, subs map[string][]*loader.BufferedFile) {
	subs = map[string][]*loader.BufferedFile{}

	for _, f := range files {
		inner, ok := strings.CutPrefix(f.Name, subcharts)
		if !ok || path.Ext(inner) == ".prov" {
			own = append(own, f)

			continue
		}

		name, _, _ := strings.Cut(inner, "/")
		subs[name] = append(subs[name], &loader.BufferedFile{Name: inner, Data: f.Data})
	}

	return own, subs
}

// subchart loads a chart below charts/: one that is packaged, or a directory.
func (b *budget) subchart(name string, files []*loader.BufferedFile, nesting int) (*chart.Chart, error) {
	if path.Ext(name) == ".tgz" {
		if len(files) != 1 || files[0].Name != name {
			return nil, errors.New("it is no file")
		}

		if nesting == 0 {
			return nil, &ingest.LimitError{Max: maxNesting, Unit: "packaged charts in each other"}
		}

		return b.packaged(bytes.NewReader(files[0].Data), nesting-1)
	}

	inner := make([]*loader.BufferedFile, 0, len(files))

	for _, f := range files {
		if _, rest, ok := strings.Cut(f.Name, "/"); ok { // a file beside the charts is none
			inner = append(inner, &loader.BufferedFile{Name: rest, Data: f.Data})
		}
	}

	return b.load(inner, nesting)
}

// boundedReader fails after so many bytes.
type boundedReader struct {
	r         io.Reader
	left, max int64
}

// Read implements io.Reader.
func (b *boundedReader) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, &ingest.LimitError{Max: b.max, Unit: "bytes per packaged chart"}
	}

	return n, err //nolint:wrapcheck // io.EOF has to stay what it is
}
