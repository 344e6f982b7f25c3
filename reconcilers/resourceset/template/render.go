package template

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	v1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/api/meta"
)

// Scopes tells whether the objects of a kind have a namespace. It is not asked for kinds that the set itself defines. An error
// for which k8s.io/apimachinery/pkg/api/meta.IsNoMatchError holds says that the cluster does not serve the kind: then its objects
// get a namespace, which who applies them takes off again if the kind turns out to have none.
type Scopes func(ctx context.Context, gk schema.GroupKind, version string) (namespaced bool, err error)

// Options say what is allowed and known beside the ResourceSet. The zero value has the default limits.
type Options struct {
	// Scopes of kinds. Without it, no object gets a namespace that it does not have.
	Scopes Scopes

	// Now is the clock of the function ago, which fails without one.
	Now func() time.Time

	// MaxObjects that one ResourceSet may have. 0 stands for DefaultMaxObjects.
	MaxObjects int

	// MaxValues that they may have in all. 0 stands for DefaultMaxValues.
	MaxValues int

	// MaxBytes that the templates of one ResourceSet may print in all. 0 stands for DefaultMaxBytes.
	MaxBytes int

	// MaxSteps that one template may take with one input: calls of functions, and rounds of loops, where those that work on
	// much count more. All templates with all inputs may take 50 times as many. 0 stands for DefaultMaxSteps.
	MaxSteps int

	// Heavy is asked once whether to go on with what takes much time or memory: some hundredths of what is allowed, and more. Its error
	// ends that, and comes back as it is. Without it, nobody is asked.
	Heavy func() error
}

// The limits of Options.
const (
	DefaultMaxObjects = 10_000
	DefaultMaxValues  = 2_000_000
	DefaultMaxBytes   = 32 << 20
	DefaultMaxSteps   = 1_000_000
)

// What is heavy: so many steps, bytes or values.
const (
	heavySteps  = 1_000_000
	heavyBytes  = 2 << 20
	heavyValues = 100_000
)

// Render renders the templates with each input. Objects that are there twice are taken once, unless in different steps,
// which is an error. All of them have the common metadata, and a namespace if they need one: that of the ResourceSet, unless
// they name another.
//
// An error of the ResourceSet is of the type *Error; others are those of the context and of Scopes.
func Render(ctx context.Context, rset *v1.ResourceSet, inputs []Input, o Options) (*Set, error) {
	o.MaxObjects = cmp.Or(o.MaxObjects, DefaultMaxObjects)
	o.MaxValues = cmp.Or(o.MaxValues, DefaultMaxValues)
	o.MaxBytes = cmp.Or(o.MaxBytes, DefaultMaxBytes)
	o.MaxSteps = cmp.Or(o.MaxSteps, DefaultMaxSteps)

	r := &renderer{rset: rset, inputs: inputs, sandbox: newSandbox(ctx, o), left: o.MaxObjects, values: o.MaxValues, mostValues: o.MaxValues}

	set := &Set{}

	for _, step := range stepsOf(rset) {
		objects, err := r.step(step)
		if err != nil {
			return nil, err
		}

		set.Steps = append(set.Steps, Step{step.Name, objects})
	}

	if err := set.place(ctx, rset.Namespace, o.Scopes); err != nil {
		return nil, err
	}

	if err := set.unite(); err != nil {
		return nil, err
	}

	set.mark(rset.Spec.CommonMetadata)

	return set, nil
}

// stepsOf returns the steps of the spec; one without a name stands for a spec without them.
func stepsOf(rset *v1.ResourceSet) []v1.ResourceSetStep {
	if len(rset.Spec.Steps) > 0 {
		return rset.Spec.Steps
	}

	return []v1.ResourceSetStep{{Resources: rset.Spec.Resources, ResourcesTemplate: rset.Spec.ResourcesTemplate}}
}

type renderer struct {
	rset    *v1.ResourceSet
	inputs  []Input
	sandbox *sandbox
	left    int // objects that there may still be
	values  int // and values in them

	mostValues int // that there may be in all
}

func (r *renderer) step(step v1.ResourceSetStep) ([]*unstructured.Unstructured, error) {
	objects, err := r.resources(step.Resources)
	if err != nil {
		return nil, in(step.Name, err)
	}

	more, err := r.template(step.ResourcesTemplate)
	if err != nil {
		return nil, in(step.Name, err)
	}

	return append(objects, more...), nil
}

// in says in which step an error is.
func in(step string, err error) error {
	if e, ok := errors.AsType[*Error](err); ok {
		e.Step = step
	}

	return err
}

// bare tells whether there are no inputs because none are asked for.
func (r *renderer) bare() bool { return len(r.inputs) == 0 && len(r.rset.Spec.InputsFrom) == 0 }

// resources renders the items of a field resources.
func (r *renderer) resources(items []*apiextensionsv1.JSON) ([]*unstructured.Unstructured, error) {
	var objects []*unstructured.Unstructured

	if r.bare() {
		return r.asTheyAre(items)
	}

	programs, err := r.programs(items)
	if err != nil {
		return nil, err
	}

	for n, input := range r.inputs {
		for i, program := range programs {
			if objects, err = r.item(objects, program, input); err != nil {
				return nil, r.fault(itemPlace(i), input, n, err)
			}
		}
	}

	return objects, nil
}

// asTheyAre returns the items without rendering them.
func (r *renderer) asTheyAre(items []*apiextensionsv1.JSON) ([]*unstructured.Unstructured, error) {
	var objects []*unstructured.Unstructured

	for i, item := range items {
		u, err := decodeItem(item)
		if err == nil {
			objects, err = r.add(objects, u, false)
		}

		if err != nil {
			return nil, r.fault(itemPlace(i), nil, 0, err)
		}
	}

	return objects, nil
}

func itemPlace(i int) string { return fmt.Sprintf("resources[%d]", i) }

// fault returns the error of a place with an input; that of the context stays as it is.
func (r *renderer) fault(place string, input Input, n int, err error) error {
	own, ok := errors.AsType[fault](err)
	if !ok {
		return err
	}

	e := &Error{Place: place, Err: own}
	if input != nil {
		e.Input = input.label(n)
	}

	return e
}

func decodeItem(item *apiextensionsv1.JSON) (*unstructured.Unstructured, error) {
	if item == nil {
		return nil, fault("it is no object")
	}

	return decodeObject(item.Raw)
}

// encodeItem returns the YAML of an item, in the layout of sigs.k8s.io/yaml, which users indent their blocks for. That library
// folds long lines, though, and so would tear actions apart.
func encodeItem(item *apiextensionsv1.JSON) (string, error) {
	u, err := decodeItem(item)
	if err != nil {
		return "", err
	}

	var out strings.Builder

	e := yaml.NewEncoder(&out)
	e.SetIndent(2)
	e.CompactSeqIndent()

	if err := errors.Join(e.Encode(u.Object), e.Close()); err != nil {
		return "", fault("it has no form in YAML")
	}

	return out.String(), nil
}

// programs compiles the YAML of the items.
func (r *renderer) programs(items []*apiextensionsv1.JSON) ([]*program, error) {
	out := make([]*program, 0, len(items))

	for i, item := range items {
		text, err := encodeItem(item)
		if err != nil {
			return nil, &Error{Place: itemPlace(i), Err: err}
		}

		p, err := r.sandbox.compile(text)
		if err != nil {
			return nil, &Error{Place: itemPlace(i), Err: err}
		}

		out = append(out, p)
	}

	return out, nil
}

// item renders an item with an input. It may become a list of objects, but not several documents: an input must not add
// to what the item is.
func (r *renderer) item(objects []*unstructured.Unstructured, p *program, input Input) ([]*unstructured.Unstructured, error) {
	text, err := r.sandbox.execute(p, input)
	if err != nil {
		return nil, err
	}

	documents, err := split(text)
	if err != nil {
		return nil, err
	}

	if len(documents) != 1 {
		return nil, fault("it renders to more than one document")
	}

	return r.document(objects, text)
}

// template renders a field resourcesTemplate.
func (r *renderer) template(text string) ([]*unstructured.Unstructured, error) {
	const place = "resourcesTemplate"

	if text == "" {
		return nil, nil
	}

	p, err := r.sandbox.compile(text)
	if err != nil {
		return nil, &Error{Place: place, Err: err}
	}

	inputs := r.inputs
	if r.bare() {
		inputs = []Input{nil}
	}

	var objects []*unstructured.Unstructured

	for n, input := range inputs {
		stream, err := r.sandbox.execute(p, input)
		if err != nil {
			return nil, r.fault(place, input, n, err)
		}

		documents, err := split(stream)
		if err != nil {
			return nil, r.fault(place, input, n, err)
		}

		for i, document := range documents {
			if objects, err = r.document(objects, document); err != nil {
				return nil, r.fault(fmt.Sprintf("document %d of %s", i+1, place), input, n, err)
			}
		}
	}

	return objects, nil
}

// document appends what a document holds.
func (r *renderer) document(objects []*unstructured.Unstructured, text string) ([]*unstructured.Unstructured, error) {
	u, err := decode(text)
	if err != nil {
		return nil, err
	}

	return r.add(objects, u, true)
}

// add appends an object, or those of a list, but for those that are switched off.
func (r *renderer) add(
	objects []*unstructured.Unstructured, u *unstructured.Unstructured, switched bool,
) ([]*unstructured.Unstructured, error) {
	if u == nil {
		return objects, nil
	}

	if err := r.sandbox.ctx.Err(); err != nil {
		return nil, err //nolint:wrapcheck // an error of the context is returned as it is
	}

	all, err := expand(u, r.left)
	if err != nil {
		return nil, err
	}

	for _, u := range all {
		if r.values -= valuesIn(u.Object); r.values < 0 {
			return nil, fault("the objects have more values than is allowed for one ResourceSet")
		}

		if err := r.sandbox.toll(r.mostValues-r.values >= heavyValues); err != nil {
			return nil, err
		}

		if switched && meta.Disabled(u.GetAnnotations(), v1.ReconcileAnnotation) {
			continue
		}

		objects = append(objects, u)
		r.left--
	}

	return objects, nil
}
