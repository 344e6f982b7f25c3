package helm

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chartutil"

	"github.com/weir-dev/weir/reconcilers/helm/render"
)

// checkSchemas checks values against the schemas of a chart and of the subcharts that they switch on. Helm would do so too, and fetch
// what schemas refer to, from the network and from the disk.
func checkSchemas(c *chart.Chart, values map[string]any) error {
	if !hasSchema(c) {
		return nil
	}

	c = render.Clone(c)
	if err := chartutil.ProcessDependenciesWithMerge(c, values); err != nil {
		return fmt.Errorf("choose subcharts: %w", err)
	}

	all, err := chartutil.CoalesceValues(c, values)
	if err != nil {
		return fmt.Errorf("merge values: %w", err)
	}

	var text strings.Builder
	if check(c, all, &text); text.Len() > 0 {
		return fmt.Errorf("values don't meet the specifications of the schema(s) in the following chart(s):\n%s", text.String())
	}

	return nil
}

func hasSchema(c *chart.Chart) bool {
	return len(c.Schema) > 0 || slices.ContainsFunc(c.Dependencies(), hasSchema)
}

// check writes down what is wrong, in Helm's words.
func check(c *chart.Chart, values map[string]any, out *strings.Builder) {
	if len(c.Schema) > 0 {
		if err := checkSchema(c.Schema, values); err != nil {
			fmt.Fprintf(out, "%s:\n%s\n", c.Name(), err)
		}
	}

	for _, d := range c.Dependencies() {
		switch own := values[d.Name()].(type) {
		case nil:
		case map[string]any:
			check(d, own, out)
		case chartutil.Values:
			check(d, own, out)
		default:
			fmt.Fprintf(out, "%s:\ninvalid type for values: expected object (map), got %T\n", d.Name(), own)
		}
	}
}

// schemaURL names a schema. Nothing is read from there.
const schemaURL = "file:///values.schema.json"

func checkSchema(raw []byte, values map[string]any) error {
	schema, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return fmt.Errorf("read schema: %w", err)
	}

	compiler := jsonschema.NewCompiler()
	compiler.UseLoader(nowhere{})

	m := &meter{left: maxChecks}
	compiler.RegisterVocabulary(&jsonschema.Vocabulary{
		URL:     meterURL,
		Compile: func(*jsonschema.CompilerContext, map[string]any) (jsonschema.SchemaExt, error) { return m, nil },
	})
	compiler.AssertVocabs()

	if err := compiler.AddResource(schemaURL, schema); err != nil {
		return fmt.Errorf("read schema: %w", err)
	}

	validator, err := compiler.Compile(schemaURL)
	if err != nil {
		return err //nolint:wrapcheck // it says what it is about
	}

	if err := m.validate(validator, values); errors.Is(err, errChecks) {
		return err
	} else if err != nil {
		return errors.New(strings.TrimPrefix(err.Error(), "jsonschema validation failed with '"+schemaURL+"#'\n"))
	}

	return nil
}

const (
	// meterURL names what is added to each schema to count with.
	meterURL = "urn:weir:meter"
	// maxChecks is how many schemas are held against a value for one chart: a second or so. Those of charts have some thousand.
	maxChecks = 2_000_000
)

var errChecks = fmt.Errorf("to check the values takes more than %d steps: the schema refers to itself too often", maxChecks)

// meter counts the checks of one validation: of a schema of a kilobyte that refers to its parts twice at each level, there are more than
// ever come to an end, and the library cannot be stopped from outside.
type meter struct{ left int }

// Validate implements jsonschema.SchemaExt. It ends the goroutine, which is that of validate.
func (m *meter) Validate(*jsonschema.ValidatorContext, any) {
	if m.left--; m.left < 0 {
		runtime.Goexit()
	}
}

func (m *meter) validate(s *jsonschema.Schema, values any) error {
	result := make(chan error, 1)

	go func() {
		defer close(result) // without an answer, if it was ended
		defer func() {
			if why := recover(); why != nil {
				result <- fmt.Errorf("the schema cannot be checked: %v", why)
			}
		}()

		result <- s.Validate(values)
	}()

	err, answered := <-result
	if !answered {
		return errChecks
	}

	return err
}

// nowhere is where schemas get what they refer to.
type nowhere struct{}

// Load implements jsonschema.URLLoader. Names that nobody can resolve allow everything, as with Helm.
func (nowhere) Load(url string) (any, error) {
	if strings.HasPrefix(url, "urn:") {
		return true, nil
	}

	return nil, fmt.Errorf("the schema refers to %q, and references are not fetched: bring what it refers to into the schema itself", url)
}
