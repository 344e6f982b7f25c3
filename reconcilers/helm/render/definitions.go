package render

import (
	"context"
	"fmt"
	"slices"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chartutil"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	v2 "github.com/weir-dev/weir/api/helm/v2"
	"github.com/weir-dev/weir/reconcilers/access"
)

// Definitions returns the custom resource definitions of a chart, and of its subcharts that the values switch on, with the labels of
// their origin. What else is in the directories for definitions, or is there twice, is dropped and named.
func Definitions(c *chart.Chart, values map[string]any, obj *v2.HelmRelease) (crds []*unstructured.Unstructured, dropped []string, err error) {
	c = Clone(c)
	if err := chartutil.ProcessDependenciesWithMerge(c, chartutil.Values(cloneValues(values))); err != nil {
		return nil, nil, fmt.Errorf("choose subcharts: %w", err)
	}

	labels := map[string]string{v2.OwnerNameLabel: obj.Name, v2.OwnerNamespaceLabel: obj.Namespace}
	seen := map[string]bool{}

	for _, file := range c.CRDObjects() {
		documents, err := parse(string(file.File.Data), file.Filename)
		if err != nil {
			return nil, nil, err
		}

		for _, d := range documents {
			if d.object.GetKind() != "CustomResourceDefinition" || d.object.GroupVersionKind().Group != "apiextensions.k8s.io" ||
				seen[d.object.GetName()] {
				dropped = append(dropped, fmt.Sprintf("%s in %q", describe(d.object), file.Filename))

				continue
			}

			if err := add(d.object, "labels", labels); err != nil {
				return nil, nil, fmt.Errorf("%q: %w", file.Filename, err)
			}

			seen[d.object.GetName()] = true
			crds = append(crds, d.object)
		}

		if len(crds) > maxObjects {
			return nil, nil, fmt.Errorf("the chart has more than %d definitions", maxObjects)
		}
	}

	return crds, dropped, nil
}

// Write brings definitions to the cluster. With CRDsCreate, those that exist stay as they are; with CRDsCreateReplace, they are
// applied; with CRDsSkip, nothing is done. It returns those that were written, also with an error, and does not wait for them.
func Write(
	ctx context.Context, client *access.Client, manager, policy string, crds []*unstructured.Unstructured,
) ([]access.ID, error) {
	var write func(context.Context, *access.Client, string, *unstructured.Unstructured) error

	switch policy {
	case v2.CRDsSkip:
		return nil, nil
	case v2.CRDsCreate:
		write = create
	case v2.CRDsCreateReplace:
		write = replace
	default:
		return nil, fmt.Errorf("invalid policy for definitions: %q", policy)
	}

	var written []access.ID

	for _, crd := range crds {
		err := write(ctx, client, manager, crd)
		if policy == v2.CRDsCreate && apierrors.IsAlreadyExists(err) {
			continue
		}

		if err != nil {
			return written, fmt.Errorf("%s: %w", describe(crd), err)
		}

		written = append(written, access.Of(crd).ID)
	}

	return written, nil
}

func create(ctx context.Context, client *access.Client, manager string, crd *unstructured.Unstructured) error {
	_, err := client.Create(ctx, crd, manager)

	return err //nolint:wrapcheck // the caller says of what
}

func replace(ctx context.Context, client *access.Client, manager string, crd *unstructured.Unstructured) error {
	body, err := crd.MarshalJSON()
	if err != nil {
		return err //nolint:wrapcheck // the caller says of what
	}

	_, err = client.Apply(ctx, access.Of(crd), body, access.ApplyOptions{Manager: manager, Force: true})

	return err //nolint:wrapcheck // the caller says of what
}

// Clone returns a chart that Helm may change, which it does when it chooses subcharts. The files are those of the original.
func Clone(c *chart.Chart) *chart.Chart {
	out := &chart.Chart{
		Raw: c.Raw, Lock: c.Lock, Templates: c.Templates, Schema: c.Schema, Files: c.Files, Values: cloneValues(c.Values),
	}

	if c.Metadata != nil {
		m := *c.Metadata
		m.Dependencies = slices.Clone(m.Dependencies)

		for i, d := range m.Dependencies {
			if d != nil {
				changed := *d
				m.Dependencies[i] = &changed
			}
		}

		out.Metadata = &m
	}

	for _, d := range c.Dependencies() {
		out.AddDependency(Clone(d))
	}

	return out
}

func cloneValues(values map[string]any) map[string]any {
	if values == nil {
		return nil
	}

	out := make(map[string]any, len(values))
	for k, v := range values {
		out[k] = cloneValue(v)
	}

	return out
}

func cloneValue(v any) any {
	switch v := v.(type) {
	case map[string]any:
		return cloneValues(v)
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = cloneValue(e)
		}

		return out
	default:
		return v
	}
}
