package generator

import (
	"context"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/weir-dev/weir/api/sourceextensions/v1beta1"
)

// recipe is the spec of a generator that was read and found to make sense.
type recipe struct {
	pattern   *pathPattern // nil if there is none
	artifacts []v1beta1.OutputArtifact
	labels    map[string]string // of all artifacts
	aliases   map[string]v1beta1.SourceReference
}

// output is an artifact to make.
type output struct {
	v1beta1.OutputArtifact

	operations []operation
	labels     map[string]string
}

// readRecipe reads the spec. Its errors are for good: nothing but another spec helps.
func readRecipe(spec *v1beta1.ArtifactGeneratorSpec) (*recipe, error) {
	r := &recipe{artifacts: spec.Artifacts, aliases: map[string]v1beta1.SourceReference{}}
	if spec.CommonMetadata != nil {
		r.labels = spec.CommonMetadata.Labels
	}

	for _, s := range spec.Sources {
		if _, ok := r.aliases[s.Alias]; ok {
			return nil, fmt.Errorf("duplicate source alias '%s' found", s.Alias)
		}

		r.aliases[s.Alias] = s
	}

	if err := r.readPattern(spec.PathPattern); err != nil {
		return nil, err
	}

	names := map[string]bool{}

	for i := range spec.Artifacts {
		a := &spec.Artifacts[i]
		if names[a.Name] {
			return nil, fmt.Errorf("duplicate artifact name '%s' found", a.Name)
		}

		names[a.Name] = true

		if err := r.check(a); err != nil {
			return nil, fmt.Errorf("artifact %s %w", a.Name, err)
		}
	}

	return r, nil
}

func (r *recipe) readPattern(text string) (err error) {
	if text == "" {
		return nil
	}

	if r.pattern, err = parsePathPattern(text); err != nil {
		return err
	}

	if _, ok := r.aliases[r.pattern.alias]; !ok {
		return fmt.Errorf("pathPattern %q: source alias '%s' not found", text, r.pattern.alias)
	}

	return nil
}

// check looks for what is wrong with an artifact, whatever the sources hold.
func (r *recipe) check(a *v1beta1.OutputArtifact) error {
	for field, ref := range map[string]string{"revision": a.Revision, "originRevision": a.OriginRevision} {
		if _, ok := r.aliases[strings.TrimPrefix(ref, "@")]; ref != "" && !ok {
			return fmt.Errorf("%s source alias '%s' not found", field, strings.TrimPrefix(ref, "@"))
		}
	}

	variables := map[string]string{}

	if r.pattern != nil {
		for _, name := range r.pattern.captures {
			variables[name] = "x"
		}
	}

	if err := r.checkVariables(a, variables); err != nil {
		return err
	}

	filled, err := r.output(a, variables, variables)
	if err != nil {
		return err
	}

	for _, o := range filled.operations {
		if _, ok := r.aliases[o.alias]; !ok {
			return fmt.Errorf("copy source alias '%s' not found", o.alias)
		}
	}

	return nil
}

// checkVariables refuses what looks like a variable that the pattern does not have.
func (r *recipe) checkVariables(a *v1beta1.OutputArtifact, variables map[string]string) error {
	if r.pattern == nil {
		return nil
	}

	texts := []string{a.Name}
	for _, c := range a.Copy {
		texts = append(append(texts, c.From, c.To), c.Exclude...)
	}

	placeholder := regexp.MustCompile(`\{([A-Za-z_][A-Za-z0-9_]*)\}`)

	for _, text := range texts {
		for _, m := range placeholder.FindAllStringSubmatch(text, -1) {
			if _, ok := variables[m[1]]; !ok {
				return fmt.Errorf("uses the variable %q, which pathPattern %q does not capture", m[1], r.pattern.text)
			}
		}
	}

	return nil
}

// output fills in the variables of an artifact: as they are in paths, and in lower case in what is written to Kubernetes.
func (r *recipe) output(a *v1beta1.OutputArtifact, raw, lower map[string]string) (output, error) {
	o := output{OutputArtifact: *a, labels: map[string]string{}}
	o.Name = fill(a.Name, lower)

	if msgs := validation.IsDNS1123Subdomain(o.Name); len(msgs) > 0 {
		return o, fmt.Errorf("has the name %q, which is not a valid Kubernetes object name: %s", o.Name, strings.Join(msgs, "; "))
	}

	maps.Copy(o.labels, lower)

	for name, value := range r.labels {
		o.labels[name] = fill(value, lower)
	}

	for _, c := range a.Copy {
		c.From, c.To = fill(c.From, raw), fill(c.To, raw)
		c.Exclude = slices.Clone(c.Exclude)

		for i := range c.Exclude {
			c.Exclude[i] = fill(c.Exclude[i], raw)
		}

		operation, err := parseOperation(c)
		if err != nil {
			return o, fmt.Errorf("has an %w", err)
		}

		o.operations = append(o.operations, operation)
	}

	return o, nil
}

// refusedError says that no artifacts can be made of what a pattern found. It lasts until a source or the spec changes.
type refusedError struct{ err error }

// Error implements error.
func (e *refusedError) Error() string { return e.err.Error() }

// Unwrap returns the cause.
func (e *refusedError) Unwrap() error { return e.err }

// outputs returns the artifacts to make: those of the spec, or with a pattern those for each directory that it finds. What it
// cannot make artifacts of is a *refusedError.
func (r *recipe) outputs(ctx context.Context, roots map[string]*os.Root) ([]output, error) {
	if r.pattern == nil {
		return r.fill(finding{})
	}

	found, err := r.pattern.find(ctx, roots[r.pattern.alias])
	if err != nil {
		return nil, err
	}

	var all []output

	made := map[string]string{} // by name, of which directory

	for _, f := range found {
		some, err := r.fill(f)
		if err != nil {
			return nil, &refusedError{fmt.Errorf("pathPattern %q: %w", r.pattern.text, err)}
		}

		for _, o := range some {
			if other, ok := made[o.Name]; ok {
				return nil, &refusedError{fmt.Errorf("pathPattern %q: directories %q and %q both resolve to artifact name %q",
					r.pattern.text, other, f.path, o.Name)}
			}

			made[o.Name] = f.path
		}

		if all = append(all, some...); len(all) > maxFindings {
			return nil, &refusedError{fmt.Errorf("pathPattern %q: it makes more than %d artifacts", r.pattern.text, maxFindings)}
		}
	}

	return all, nil
}

// fill returns the artifacts for one directory.
func (r *recipe) fill(f finding) ([]output, error) {
	var all []output

	lower := map[string]string{}

	for name, value := range f.variables {
		lower[name] = strings.ToLower(value)
		if msgs := validation.IsValidLabelValue(lower[name]); len(msgs) > 0 {
			return nil, fmt.Errorf("captured value %q for variable %q is not a valid Kubernetes label value: %s",
				value, name, strings.Join(msgs, "; "))
		}
	}

	for i := range r.artifacts {
		o, err := r.output(&r.artifacts[i], f.variables, lower)
		if err != nil {
			return nil, fmt.Errorf("directory %q: artifact %s %w", f.path, r.artifacts[i].Name, err)
		}

		all = append(all, o)
	}

	return all, nil
}
