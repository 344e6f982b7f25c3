package access

import (
	"context"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
)

// CreateEvent creates an event of events.k8s.io/v1. The body is the event in the protobuf encoding of Kubernetes, and the answer
// is dropped: events are written by the thousand and never read back. A request that fails is not tried again here.
func (c *Client) CreateEvent(ctx context.Context, namespace string, body []byte) error {
	if err := checkSegments(namespace); err != nil {
		return err
	}
	req := c.event("POST", namespace).SetHeader("Content-Type", "application/vnd.kubernetes.protobuf").Body(body)
	_, err := c.do(ctx, eventKind(), req)
	return err
}

// PatchEvent changes an event with a merge patch, as CreateEvent creates one.
func (c *Client) PatchEvent(ctx context.Context, namespace, name string, patch []byte) error {
	if err := checkSegments(namespace, name); err != nil {
		return err
	}
	req := c.event("PATCH", namespace, name).SetHeader("Content-Type", string(types.MergePatchType)).Body(patch)
	_, err := c.do(ctx, eventKind(), req)
	return err
}

// event starts a request for an event. Every API server serves the kind, so that it needs no discovery.
func (c *Client) event(verb, namespace string, name ...string) *rest.Request {
	gk := eventKind()
	segments := append([]string{"apis", gk.Group, "v1", "namespaces", namespace, "events"}, name...)
	return c.request(verb).SetHeader("Accept", acceptMeta).AbsPath(segments...).MaxRetries(0)
}

func eventKind() schema.GroupKind { return schema.GroupKind{Group: "events.k8s.io", Kind: "Event"} }
