package access

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/validate/content"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/client-go/rest"
)

// ErrNoNamespace says that an object of a namespaced kind was named without its namespace.
var ErrNoNamespace = errors.New("the server could not find the requested resource")

const (
	acceptJSON = "application/json"
	acceptMeta = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1," +
		"application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"
	acceptMetaList = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1," +
		"application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
)

// Client sends requests to one cluster under one identity. Its methods may be called concurrently. Errors of the API
// server are returned as they are (k8s.io/apimachinery/pkg/api/errors); a kind that is not served is an error of type
// *meta.NoKindMatchError.
type Client struct {
	factory  *Factory
	identity string
}

// Identity returns the user that the client acts as, or an empty string for the process itself.
func (c *Client) Identity() string { return c.identity }

// Factory returns what made the client: the cluster.
func (c *Client) Factory() *Factory { return c.factory }

// Mapping returns where the kind is served: in the version, or in the preferred one if version is empty. Only the
// first look-up, and look-ups of unknown kinds now and then, send requests.
func (c *Client) Mapping(ctx context.Context, gk schema.GroupKind, version string) (Mapping, error) {
	return c.factory.kinds.find(ctx, gk, version)
}

// Deletable returns the kinds whose objects can be listed and deleted, sorted. It asks the API server each time.
func (c *Client) Deletable(ctx context.Context) ([]schema.GroupKind, error) {
	return c.factory.kinds.deletable(ctx)
}

// Get reads an object.
func (c *Client) Get(ctx context.Context, ref Ref) (*unstructured.Unstructured, error) {
	req, err := c.named(ctx, "GET", ref, "")
	if err != nil {
		return nil, err
	}
	return c.object(ctx, ref, req)
}

// GetMeta reads the metadata of an object.
func (c *Client) GetMeta(ctx context.Context, ref Ref) (*metav1.PartialObjectMetadata, error) {
	req, err := c.named(ctx, "GET", ref, "")
	if err != nil {
		return nil, err
	}
	return c.meta(ctx, ref, req)
}

// Read reads an object, whole or its metadata, without decoding more than it must.
func (c *Client) Read(ctx context.Context, ref Ref, full bool) (Item, error) {
	if !full {
		m, err := c.GetMeta(ctx, ref)
		return Item{Meta: m}, err
	}
	req, err := c.named(ctx, "GET", ref, "")
	if err != nil {
		return Item{}, err
	}
	raw, err := c.do(ctx, ref.GroupKind(), req)
	return Item{Raw: raw}, err
}

// ApplyOptions says how to apply.
type ApplyOptions struct {
	// Manager is the field manager. It is required.
	Manager string
	// Force takes over the fields that other managers own and that the object sets differently.
	Force bool
	// DryRun does everything but store the outcome.
	DryRun bool
	// Strict makes unknown and duplicate fields an error that names them.
	Strict bool
}

// Apply applies an object on the server's side. The body is the object as JSON; the reference has to agree with it.
// The answer is the metadata of the outcome, with managed fields. An apply that changes nothing is not stored: the
// resource version stays. The outcome of a dry run that would create the object has no resource version.
func (c *Client) Apply(ctx context.Context, ref Ref, body []byte, o ApplyOptions) (*metav1.PartialObjectMetadata, error) {
	req, err := c.applying(ctx, ref, body, o)
	if err != nil {
		return nil, err
	}
	return c.meta(ctx, ref, req)
}

// Try returns what would become of an object if it was applied. Nothing is stored.
func (c *Client) Try(ctx context.Context, ref Ref, body []byte, o ApplyOptions) (*unstructured.Unstructured, error) {
	o.DryRun = true
	req, err := c.applying(ctx, ref, body, o)
	if err != nil {
		return nil, err
	}
	return c.object(ctx, ref, req)
}

func (c *Client) applying(ctx context.Context, ref Ref, body []byte, o ApplyOptions) (*rest.Request, error) {
	req, err := c.named(ctx, "PATCH", ref, "")
	if err != nil {
		return nil, err
	}
	req.SetHeader("Content-Type", string(types.ApplyYAMLPatchType)).Body(body).Param("fieldManager", o.Manager)
	if o.Force {
		req.Param("force", "true")
	}
	if o.Strict {
		req.Param("fieldValidation", metav1.FieldValidationStrict)
	}
	dryRun(req, o.DryRun)
	return req, nil
}

// Create creates an object and returns it as it was stored. Manager is the field manager. An object with a generateName
// needs no name.
func (c *Client) Create(ctx context.Context, obj *unstructured.Unstructured, manager string) (*unstructured.Unstructured, error) {
	ref := Of(obj)
	body, err := json.Marshal(obj.Object)
	if err != nil {
		return nil, fmt.Errorf("encode %q: %w", ref, err)
	}
	m, err := c.Mapping(ctx, ref.GroupKind(), ref.Version)
	if err != nil {
		return nil, err
	}
	if m.Namespaced && ref.Namespace == "" {
		return nil, ErrNoNamespace
	}
	if err := checkSegments(ref.Namespace); err != nil {
		return nil, err
	}
	req := c.request("POST").AbsPath(path(m, ref.Namespace, "")...).Body(body).Param("fieldManager", manager)
	return c.object(ctx, ref, req)
}

// Replace puts an object in the place of the one that is there, and returns the metadata of the outcome. One without a resource
// version replaces whatever is there. Manager is the field manager.
func (c *Client) Replace(ctx context.Context, obj *unstructured.Unstructured, manager string) (*metav1.PartialObjectMetadata, error) {
	ref := Of(obj)
	body, err := json.Marshal(obj.Object)
	if err != nil {
		return nil, fmt.Errorf("encode %q: %w", ref, err)
	}
	req, err := c.named(ctx, "PUT", ref, "")
	if err != nil {
		return nil, err
	}
	return c.meta(ctx, ref, req.Body(body).Param("fieldManager", manager))
}

// Logs returns the last lines of what a container of a pod has written, no more than so many bytes of them.
func (c *Client) Logs(ctx context.Context, namespace, pod, container string, lines, size int64) ([]byte, error) {
	ref := Ref{ID: ID{Kind: "Pod", Namespace: namespace, Name: pod}}
	req, err := c.named(ctx, "GET", ref, "log")
	if err != nil {
		return nil, err
	}
	req.SetHeader("Accept", "*/*").Param("container", container).
		Param("tailLines", strconv.FormatInt(lines, 10)).Param("limitBytes", strconv.FormatInt(size, 10))
	return c.do(ctx, schema.GroupKind{}, req)
}

// PatchOptions says how to patch.
type PatchOptions struct {
	// Manager is the field manager. It is required.
	Manager string
	// Subresource to patch, such as "status". Empty stands for the object itself.
	Subresource string
	// DryRun does everything but store the outcome.
	DryRun bool
}

// Patch changes an object with a JSON patch or a merge patch and returns the metadata of the outcome.
func (c *Client) Patch(ctx context.Context, ref Ref, t types.PatchType, patch []byte, o PatchOptions) (*metav1.PartialObjectMetadata, error) {
	req, err := c.named(ctx, "PATCH", ref, o.Subresource)
	if err != nil {
		return nil, err
	}
	req.SetHeader("Content-Type", string(t)).Body(patch).Param("fieldManager", o.Manager)
	dryRun(req, o.DryRun)
	return c.meta(ctx, ref, req)
}

// DeleteOptions says what to delete, and how.
type DeleteOptions struct {
	// UID that the object must have. Otherwise the error is a conflict. Empty deletes whatever has the name.
	UID types.UID
	// ResourceVersion that the object must have. Otherwise the error is a conflict. Empty deletes any version.
	ResourceVersion string
	// Propagation is what happens to dependents. Empty stands for the kind's default.
	Propagation metav1.DeletionPropagation
}

// Delete asks for the deletion of an object. It does not wait for finalizers.
func (c *Client) Delete(ctx context.Context, ref Ref, o DeleteOptions) error {
	req, err := c.named(ctx, "DELETE", ref, "")
	if err != nil {
		return err
	}
	opts := metav1.DeleteOptions{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "DeleteOptions"}}
	if o.UID != "" || o.ResourceVersion != "" {
		opts.Preconditions = &metav1.Preconditions{}
	}
	if o.UID != "" {
		opts.Preconditions.UID = &o.UID
	}
	if o.ResourceVersion != "" {
		opts.Preconditions.ResourceVersion = &o.ResourceVersion
	}
	if o.Propagation != "" {
		opts.PropagationPolicy = &o.Propagation
	}
	body, err := json.Marshal(opts)
	if err != nil {
		return fmt.Errorf("encode delete options: %w", err)
	}
	_, err = c.do(ctx, ref.GroupKind(), req.Body(body))
	return err
}

func (c *Client) request(verb string) *rest.Request {
	req := c.factory.rest.Verb(verb).SetHeader("Accept", acceptJSON)
	if c.identity != "" {
		req.SetHeader("Impersonate-User", c.identity)
	}
	return req
}

// named starts a request for one object.
func (c *Client) named(ctx context.Context, verb string, ref Ref, subresource string) (*rest.Request, error) {
	if ref.Name == "" {
		return nil, fmt.Errorf("%s %q: the object has no name", strings.ToLower(verb), ref.Kind)
	}
	m, err := c.Mapping(ctx, ref.GroupKind(), ref.Version)
	if err != nil {
		return nil, err
	}
	if m.Namespaced && ref.Namespace == "" {
		return nil, ErrNoNamespace
	}
	if err := checkSegments(ref.Namespace, ref.Name); err != nil {
		if verb == "GET" || verb == "DELETE" { // no object has such a name
			return nil, apierrors.NewNotFound(m.GroupVersionResource.GroupResource(), ref.Name)
		}
		return nil, err
	}
	segments := path(m, ref.Namespace, ref.Name)
	if subresource != "" {
		segments = append(segments, subresource)
	}
	return c.request(verb).AbsPath(segments...), nil
}

func (c *Client) object(ctx context.Context, ref Ref, req *rest.Request) (*unstructured.Unstructured, error) {
	raw, err := c.do(ctx, ref.GroupKind(), req)
	if err != nil {
		return nil, err
	}
	obj := &unstructured.Unstructured{}
	if err := utiljson.Unmarshal(raw, &obj.Object); err != nil {
		return nil, fmt.Errorf("decode %q: %w", ref, err)
	}
	return obj, nil
}

func (c *Client) meta(ctx context.Context, ref Ref, req *rest.Request) (*metav1.PartialObjectMetadata, error) {
	raw, err := c.do(ctx, ref.GroupKind(), req.SetHeader("Accept", acceptMeta))
	if err != nil {
		return nil, err
	}
	obj, err := decode(raw)
	if err != nil {
		return nil, fmt.Errorf("decode metadata of %q: %w", ref, err)
	}
	m, ok := obj.(*metav1.PartialObjectMetadata)
	if !ok {
		return nil, fmt.Errorf("decode metadata of %q: got %T", ref, obj)
	}
	return m, nil
}

// do sends a request when there is a place for it, and returns the body of the answer.
func (c *Client) do(ctx context.Context, gk schema.GroupKind, req *rest.Request) ([]byte, error) {
	if err := c.factory.limiter.acquire(ctx); err != nil {
		return nil, err
	}
	ctx, cancel := c.factory.limit(ctx)
	defer cancel()
	result := req.Do(ctx)
	err := result.Error()
	c.factory.limiter.release(err == nil || isAnswer(err))
	if err != nil {
		c.unserved(gk, err)
		return nil, err
	}
	return result.Raw()
}

// unserved forgets a kind whose address the API server does not know, such as that of a deleted definition.
func (c *Client) unserved(gk schema.GroupKind, err error) {
	var status apierrors.APIStatus
	if !apierrors.IsNotFound(err) || !errors.As(err, &status) {
		return
	}
	if d := status.Status().Details; d == nil || d.Name == "" {
		c.factory.kinds.forget(gk)
	}
}

// isAnswer tells an answer to the request itself from one that says that there is too much to do.
func isAnswer(err error) bool {
	var status apierrors.APIStatus
	return errors.As(err, &status) && !apierrors.IsTooManyRequests(err) && !apierrors.IsTimeout(err) &&
		!apierrors.IsServerTimeout(err)
}

func dryRun(req *rest.Request, on bool) {
	if on {
		req.Param("dryRun", metav1.DryRunAll)
	}
}

// checkSegments refuses names that would make a path lead somewhere else, such as to an object of another kind.
func checkSegments(names ...string) error {
	for _, name := range names {
		if problems := content.IsPathSegmentName(name); len(problems) > 0 {
			return fmt.Errorf("invalid resource name %q: %s", name, strings.Join(problems, ", "))
		}
	}
	return nil
}

func path(m Mapping, namespace, name string) []string {
	segments := make([]string, 0, 8)
	if m.Group == "" {
		segments = append(segments, "api", m.Version)
	} else {
		segments = append(segments, "apis", m.Group, m.Version)
	}
	if m.Namespaced && namespace != "" {
		segments = append(segments, "namespaces", namespace)
	}
	segments = append(segments, m.Resource)
	if name != "" {
		segments = append(segments, name)
	}
	return segments
}
