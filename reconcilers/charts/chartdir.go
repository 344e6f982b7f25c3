package charts

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/ignore"
	"sigs.k8s.io/yaml"

	"github.com/weir-dev/weir/reconcilers/ingest"
)

// maxIgnoreBytes bounds a .helmignore: each of its rules is tried on each file.
const maxIgnoreBytes = 64 << 10

// Source is a tree of files that holds charts, such as an unpacked artifact. Nothing outside of it is read, and no link is
// followed.
type Source struct {
	root   *os.Root
	limits Limits
}

// OpenSource opens the tree in a directory. The caller closes it.
func OpenSource(dir string, l Limits) (*Source, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open root: %w", err)
	}

	return &Source{root: root, limits: l.orDefaults()}, nil
}

// Close closes the tree.
func (s *Source) Close() error {
	if err := s.root.Close(); err != nil {
		return fmt.Errorf("close root: %w", err)
	}

	return nil
}

// Clean returns the path that users mean by theirs: relative to the root of the source, which no ".." leaves.
func Clean(name string) string {
	if name = path.Clean("/" + name)[1:]; name == "" {
		return "."
	}

	return name
}

// IsPackaged tells whether what is at the path, as Clean gives it, is a file, and not a directory. Links are neither: they are an
// error, as is a path that does not exist, which is fs.ErrNotExist.
func (s *Source) IsPackaged(name string) (bool, error) {
	info, err := s.lstat(name)
	if err != nil {
		return false, err
	}

	return !info.IsDir(), nil
}

// lstat looks at a path without following links on the way.
func (s *Source) lstat(name string) (fs.FileInfo, error) {
	for dir := name; dir != "."; dir = path.Dir(dir) {
		info, err := s.root.Lstat(dir)
		if err != nil {
			return nil, fmt.Errorf("stat %q: %w", name, withoutPath(err))
		}

		if !info.IsDir() && (dir != name || !info.Mode().IsRegular()) {
			return nil, &ingest.RefusedError{Name: dir, Reason: "neither a directory nor a regular file"}
		}
	}

	info, err := s.root.Lstat(name)
	if err != nil {
		return nil, fmt.Errorf("stat %q: %w", name, withoutPath(err))
	}

	return info, nil
}

// withoutPath returns the error without the path that package os puts into it: our callers know it.
func withoutPath(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}

	return err
}

// Metadata reads the Chart.yaml of the chart in a directory, and nothing else. It has to be valid.
func (s *Source) Metadata(dir string) (*chart.Metadata, error) {
	data, err := s.read(path.Join(dir, chartFile))
	if err != nil {
		return nil, err
	}

	if err := newBudget(context.Background(), s.limits).text(chartFile, data); err != nil {
		return nil, err
	}

	m := &chart.Metadata{}
	if err := yaml.Unmarshal(data, m); err != nil {
		return nil, fmt.Errorf("cannot load %s: %w", chartFile, err)
	}

	if m.APIVersion == "" { // charts of Helm 2
		m.APIVersion = chart.APIVersionV1
	}

	if err := m.Validate(); err != nil {
		return nil, err //nolint:wrapcheck // it says what is wrong with the chart
	}

	return m, nil
}

// Load reads the chart at a path: a directory, of which .helmignore leaves files out, or a packaged one.
func (s *Source) Load(ctx context.Context, name string) (*chart.Chart, error) {
	done, err := s.limits.turn(ctx)
	if err != nil {
		return nil, err
	}
	defer done()

	return s.load(newBudget(ctx, s.limits), name)
}

// load is Load within a budget.
func (s *Source) load(b *budget, name string) (*chart.Chart, error) {
	packaged, err := s.IsPackaged(name)
	if err != nil {
		return nil, err
	}

	if packaged {
		f, err := s.root.Open(name)
		if err != nil {
			return nil, fmt.Errorf("open chart: %w", withoutPath(err))
		}
		defer f.Close() //nolint:errcheck // it was only read

		return b.whole(f)
	}

	files, err := s.files(b, name)
	if err != nil {
		return nil, err
	}

	return b.load(files, maxNesting)
}

// Package reads a packaged chart as it is.
func (s *Source) Package(name string) ([]byte, error) { return s.readUpTo(name, s.limits.Bytes) }

// files reads the files of the chart in a directory.
func (s *Source) files(b *budget, dir string) ([]*loader.BufferedFile, error) {
	rules, err := s.rules(dir)
	if err != nil {
		return nil, err
	}

	var files []*loader.BufferedFile

	err = fs.WalkDir(s.root.FS(), dir, func(name string, e fs.DirEntry, err error) error {
		if err := errors.Join(err, b.ctx.Err()); err != nil {
			return err
		}

		if name == dir {
			return nil
		}

		inner := name
		if dir != "." {
			inner = strings.TrimPrefix(name, dir+"/")
		}

		f, err := s.file(b, rules, name, inner, e)
		if f != nil {
			files = append(files, f)
		}

		return err
	})
	if err != nil {
		return nil, err //nolint:wrapcheck // it is that of the function
	}

	return files, nil
}

// file reads a file of a chart, unless the rules leave it out.
func (s *Source) file(b *budget, rules *ignore.Rules, name, inner string, e fs.DirEntry) (*loader.BufferedFile, error) {
	info, err := e.Info()
	if err != nil {
		return nil, fmt.Errorf("stat %q: %w", name, withoutPath(err))
	}

	b.files--

	switch skip := rules.Ignore(inner, info); {
	case skip && info.IsDir():
		return nil, fs.SkipDir
	case skip, info.IsDir():
		return nil, nil //nolint:nilnil // there is no file, and nothing is wrong
	case !info.Mode().IsRegular():
		return nil, &ingest.RefusedError{Name: name, Reason: "no regular file"}
	case info.Size() > b.limits.FileBytes:
		return nil, &ingest.LimitError{Names: []string{name}, Max: b.limits.FileBytes, Unit: "bytes per file"}
	case b.files < 0:
		return nil, &ingest.LimitError{Max: maxFiles, Unit: "entries"}
	}

	if b.bytes -= info.Size(); b.bytes < 0 {
		return nil, &ingest.LimitError{Names: []string{name}, Max: b.limits.Bytes * growth, Unit: "bytes in all files"}
	}

	f, err := s.root.Open(name)
	if err != nil {
		return nil, fmt.Errorf("open %q: %w", name, withoutPath(err))
	}
	defer f.Close() //nolint:errcheck // it was only read

	return readFile(inner, info.Size(), f)
}

// rules reads which files of a directory are left out.
func (s *Source) rules(dir string) (*ignore.Rules, error) {
	rules := ignore.Empty()

	text, err := s.readUpTo(path.Join(dir, ignore.HelmIgnore), maxIgnoreBytes)

	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	default:
		if rules, err = ignore.Parse(strings.NewReader(string(text))); err != nil {
			return nil, fmt.Errorf("read %q: %w", ignore.HelmIgnore, err)
		}
	}

	rules.AddDefaults()

	return rules, nil
}

// read reads a file of the tree. One that does not exist is fs.ErrNotExist.
func (s *Source) read(name string) ([]byte, error) { return s.readUpTo(name, s.limits.FileBytes) }

func (s *Source) readUpTo(name string, most int64) ([]byte, error) {
	info, err := s.lstat(name)
	if err != nil {
		return nil, err
	}

	switch {
	case info.IsDir():
		return nil, &ingest.RefusedError{Name: name, Reason: "no regular file"}
	case info.Size() > most:
		return nil, &ingest.LimitError{Names: []string{name}, Max: most, Unit: "bytes per file"}
	}

	f, err := s.root.Open(name)
	if err != nil {
		return nil, fmt.Errorf("open %q: %w", name, withoutPath(err))
	}
	defer f.Close() //nolint:errcheck // it was only read

	data, err := io.ReadAll(io.LimitReader(f, most))
	if err != nil {
		return nil, fmt.Errorf("read %q: %w", name, withoutPath(err))
	}

	return data, nil
}
