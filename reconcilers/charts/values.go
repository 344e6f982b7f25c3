package charts

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"

	"helm.sh/helm/v3/pkg/chart"
	"sigs.k8s.io/yaml"

	"github.com/weir-dev/weir/reconcilers/ingest"
)

// Files reads a file that a chart may be made with. One that does not exist is fs.ErrNotExist.
type Files func(name string) ([]byte, error)

// FilesOf returns the files of a chart, by their paths in it.
func FilesOf(c *chart.Chart) Files {
	return func(name string) ([]byte, error) {
		for _, f := range c.Raw {
			if f.Name == name {
				return f.Data, nil
			}
		}

		return nil, fs.ErrNotExist
	}
}

// Files returns the files of the source, by their paths from its root.
func (s *Source) Files() Files { return s.read }

// maxValuesBytes bounds the values files of a chart together, as a multiple of what one may have.
const maxValuesBytes = 4

// MergeValues merges values files in their order, the last one winning: what is a map in two of them is merged, all else is
// replaced. It returns the merged values and the files that were used, by their names as given: a file that does not exist is
// an error unless ignoreMissing, and no values are nil.
func MergeValues(ctx context.Context, files Files, names []string, ignoreMissing bool, l Limits,
) (values map[string]any, used []string, err error) {
	done, err := l.turn(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer done()

	b := newBudget(ctx, l)
	most := maxValuesBytes * b.limits.FileBytes
	left := most

	for _, name := range names {
		data, err := files(Clean(name))
		if errors.Is(err, fs.ErrNotExist) && ignoreMissing {
			continue
		}

		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil, fmt.Errorf("no values file found at path '%s'", name)
		}

		if err != nil {
			return nil, nil, fmt.Errorf("read values file '%s': %w", name, err)
		}

		if left -= int64(len(data)); left < 0 {
			return nil, nil, &ingest.LimitError{Max: most, Unit: "bytes in all values files"}
		}

		if err := b.text(name, data); err != nil {
			return nil, nil, err
		}

		more := map[string]any{}
		if err := yaml.Unmarshal(data, &more, useNumber); err != nil {
			return nil, nil, fmt.Errorf("read values file '%s': %w", name, err)
		}

		values, used = mergeMaps(values, more), append(used, name)
	}

	return values, used, nil
}

// useNumber keeps numbers as they are written: a float64 would make 1e+07 of 10000000.
func useNumber(d *json.Decoder) *json.Decoder {
	d.UseNumber()

	return d
}

// mergeMaps merges the second map into the first one.
func mergeMaps(into, from map[string]any) map[string]any {
	if into == nil {
		into = map[string]any{}
	}

	for k, v := range from {
		if m, ok := v.(map[string]any); ok {
			if old, ok := into[k].(map[string]any); ok {
				into[k] = mergeMaps(old, m)

				continue
			}
		}

		into[k] = v
	}

	return into
}

// SetValues makes the values the default ones of a chart. They have to fit into one of its files.
func SetValues(c *chart.Chart, values map[string]any, l Limits) error {
	data, err := yaml.Marshal(values)
	if err != nil {
		return fmt.Errorf("write values: %w", err)
	}

	if most := l.orDefaults().FileBytes; int64(len(data)) > most {
		return &ingest.LimitError{Names: []string{valuesFile}, Max: most, Unit: "bytes per file"}
	}

	plain := map[string]any{}
	if err := yaml.Unmarshal(data, &plain); err != nil { // as Helm reads them
		return fmt.Errorf("write values: %w", err)
	}

	c.Values = plain
	c.Raw = append(slices.DeleteFunc(slices.Clone(c.Raw), func(f *chart.File) bool { return path.Clean(f.Name) == valuesFile }),
		&chart.File{Name: valuesFile, Data: data})

	return nil
}
