package platform

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/weir-dev/weir/api/meta"
)

// fieldOwner marks what this package applies.
const fieldOwner = client.FieldOwner("platform")

// Client reads and writes any objects of a cluster.
type Client struct {
	client.Client

	// Config leads to the cluster.
	Config *rest.Config
}

// NewClient returns a client of the cluster.
func NewClient(config *rest.Config) (*Client, error) {
	c, err := client.New(config, client.Options{Scheme: runtime.NewScheme()})
	if err != nil {
		return nil, fmt.Errorf("make client: %w", err)
	}

	return &Client{Client: c, Config: config}, nil
}

// Object returns an object of the kind, which is in the cluster or is to be.
func Object(kind schema.GroupVersionKind, namespace, name string) *unstructured.Unstructured {
	o := &unstructured.Unstructured{}
	o.SetGroupVersionKind(kind)
	o.SetNamespace(namespace)
	o.SetName(name)

	return o
}

// Decode reads objects from a stream of YAML.
func Decode(manifest []byte) ([]*unstructured.Unstructured, error) {
	var objects []*unstructured.Unstructured

	reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(manifest)))

	for {
		doc, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return objects, nil
		}

		if err != nil {
			return nil, fmt.Errorf("read manifest: %w", err)
		}

		content, err := yaml.YAMLToJSON(doc)
		if err != nil {
			return nil, fmt.Errorf("decode manifest: %w", err)
		}

		if string(content) == "null" { // only comments
			continue
		}

		o := &unstructured.Unstructured{}
		if err := o.UnmarshalJSON(content); err != nil {
			return nil, fmt.Errorf("decode manifest: %w", err)
		}

		objects = append(objects, o)
	}
}

// Apply applies the objects on the server's side, one after the other.
func (c *Client) Apply(ctx context.Context, objects ...*unstructured.Unstructured) error {
	for _, o := range objects {
		// The object is the caller's: the answer must not get into it.
		config := client.ApplyConfigurationFromUnstructured(o.DeepCopy())
		if err := c.Client.Apply(ctx, config, fieldOwner, client.ForceOwnership); err != nil {
			return fmt.Errorf("apply %s: %w", Name(o), err)
		}
	}

	return nil
}

// Edit changes the object by a JSON merge patch, as a person would by hand, and returns what the server made of it.
func (c *Client) Edit(
	ctx context.Context, kind schema.GroupVersionKind, namespace, name, patch string,
) (*unstructured.Unstructured, error) {
	o := Object(kind, namespace, name)
	if err := c.Patch(ctx, o, client.RawPatch(types.MergePatchType, []byte(patch)), client.FieldOwner("by-hand")); err != nil {
		return nil, fmt.Errorf("edit %s: %w", Name(o), err)
	}

	return o, nil
}

// Request asks for a reconcile of the object now, as a webhook or `flux reconcile` does, and returns the token by which
// the answer is known.
func (c *Client) Request(ctx context.Context, kind schema.GroupVersionKind, namespace, name string) (string, error) {
	token := time.Now().Format(time.RFC3339Nano)
	_, err := c.Edit(ctx, kind, namespace, name,
		fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, meta.ReconcileRequestAnnotation, token))

	return token, err
}

// Name returns Kind/namespace/name, or Kind/name.
func Name(o *unstructured.Unstructured) string {
	if o.GetNamespace() == "" {
		return o.GetKind() + "/" + o.GetName()
	}

	return o.GetKind() + "/" + o.GetNamespace() + "/" + o.GetName()
}
