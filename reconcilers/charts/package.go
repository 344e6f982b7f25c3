package charts

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path"
	"slices"

	"github.com/Masterminds/semver/v3"
	"helm.sh/helm/v3/pkg/chart"
	"sigs.k8s.io/yaml"

	"github.com/weir-dev/weir/reconcilers/artifact"
)

// WithMetadata returns the version with the build metadata, in the place of those that it has. The version may be one that is
// only almost semantic, such as v1.2; what comes out is strict.
func WithMetadata(version, metadata string) (string, error) {
	v, err := semver.NewVersion(version)
	if err != nil {
		return "", fmt.Errorf("version %q is not semantic: %w", version, err)
	}

	with, err := v.SetMetadata(metadata)
	if err != nil {
		return "", fmt.Errorf("version %q with metadata %q: %w", version, metadata, err)
	}

	return with.String(), nil
}

// Pack returns what adds the files of a chart to an archive, as helm package does: those of the charts in it as well, unpacked.
// The same chart gives the same files in the same order.
func Pack(c *chart.Chart) func(*artifact.Tar) error {
	return func(t *artifact.Tar) error { return pack(t, c, c.Name()) }
}

func pack(t *artifact.Tar, c *chart.Chart, dir string) error {
	if err := c.Validate(); err != nil {
		return fmt.Errorf("chart %q: %w", c.Name(), err)
	}

	add := func(name string, data []byte) error {
		return t.File(path.Join(dir, name), false, int64(len(data)), bytes.NewReader(data))
	}

	if err := packMetadata(c, add); err != nil {
		return fmt.Errorf("chart %q: %w", c.Name(), err)
	}

	if c.Schema != nil && !json.Valid(c.Schema) {
		return fmt.Errorf("chart %q: values.schema.json is no JSON", c.Name())
	}

	for _, f := range filesOf(c) {
		if err := add(f.Name, f.Data); err != nil {
			return err
		}
	}

	return packSubcharts(t, c, path.Join(dir, subcharts))
}

// filesOf returns the files of a chart but for its metadata and the charts in it.
func filesOf(c *chart.Chart) []*chart.File {
	var all []*chart.File

	for _, f := range c.Raw {
		if f.Name == valuesFile {
			all = append(all, f)
		}
	}

	if c.Schema != nil {
		all = append(all, &chart.File{Name: "values.schema.json", Data: c.Schema})
	}

	return slices.Concat(all, c.Templates, c.Files)
}

// packSubcharts adds the charts in a chart. A chart may be there in two versions.
func packSubcharts(t *artifact.Tar, c *chart.Chart, dir string) error {
	taken := map[string]bool{}

	for _, sub := range c.Dependencies() {
		name := sub.Name()
		if taken[name] {
			name += "-" + sub.Metadata.Version
		}

		for i, free := 2, name; taken[name]; i++ {
			name = fmt.Sprintf("%s-%d", free, i)
		}

		taken[name] = true

		if err := pack(t, sub, path.Join(dir, name)); err != nil {
			return err
		}
	}

	return nil
}

// packMetadata adds Chart.yaml and Chart.lock. Charts of version 1 have their dependencies in requirements.yaml, which is one of
// their files.
func packMetadata(c *chart.Chart, add func(string, []byte) error) error {
	m := *c.Metadata
	if m.APIVersion == chart.APIVersionV1 {
		m.Dependencies = nil
	}

	data, err := yaml.Marshal(&m)
	if err != nil {
		return fmt.Errorf("write %s: %w", chartFile, err)
	}

	if err := add(chartFile, data); err != nil {
		return err
	}

	if c.Lock == nil || m.APIVersion != chart.APIVersionV2 {
		return nil
	}

	if data, err = yaml.Marshal(c.Lock); err != nil {
		return fmt.Errorf("write Chart.lock: %w", err)
	}

	return add("Chart.lock", data)
}
