package storage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strconv"

	"helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/storage/driver"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"github.com/weir-dev/weir/reconcilers/access"
)

// Methods of apply, as Helm 4 writes them into a record.
const (
	// ServerSide says that the objects of a release were applied on the server's side.
	ServerSide = "ssa"
	// ClientSide says that they were not. It is what a record without a method means.
	ClientSide = "csa"
)

// secretType is the type of the Secrets.
const secretType = "helm.sh/release.v1" //nolint:gosec // a type

const (
	nameLabel     = "name"
	ownerLabel    = "owner"
	statusLabel   = "status"
	versionLabel  = "version"
	createdLabel  = "createdAt"
	modifiedLabel = "modifiedAt"
	owner         = "helm"
)

// Options of Secrets. The zero value of each field stands for its default.
type Options struct {
	// Manager is the field manager. It is required.
	Manager string
	// Skipped is told of each record that was left out, as a *CorruptError. By default, nobody is.
	Skipped func(error)
	// Clock says when a record was written. The default is the machine's.
	Clock clock.PassiveClock
	// Memory of the reconcile, of the same namespace and client. By default, everything is read each time.
	Memory *Memory
}

// Secrets are the records of the releases of one namespace. It is not safe for concurrent use.
type Secrets struct {
	// Helm passes no context on.
	ctx       context.Context //nolint:containedctx // see above
	client    *access.Client
	namespace string
	manager   string
	skipped   func(error)
	clock     clock.PassiveClock
	memory    *Memory

	method  string
	note    Note
	unknown map[string]unknown            // by key, of what was read
	bare    map[*release.Release]struct{} // those without content
}

var _ driver.Driver = (*Secrets)(nil)

// New returns the records in a namespace, for as long as the context lasts.
func New(ctx context.Context, client *access.Client, namespace string, o Options) *Secrets {
	if o.Skipped == nil {
		o.Skipped = func(error) {}
	}

	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}

	return &Secrets{
		ctx: ctx, client: client, namespace: namespace, manager: o.Manager, skipped: o.Skipped, clock: o.Clock,
		memory: o.Memory, unknown: map[string]unknown{}, bare: map[*release.Release]struct{}{},
	}
}

// CorruptError says that a record cannot be read.
type CorruptError struct {
	// Namespace and Name of the Secret.
	Namespace, Name string
	// Err is the reason. It holds nothing of the content.
	Err error
}

// Error implements error.
func (e *CorruptError) Error() string {
	return fmt.Sprintf("Secret '%s/%s' is no usable record of a release: %s", e.Namespace, e.Name, e.Err)
}

// Unwrap returns the reason.
func (e *CorruptError) Unwrap() error { return e.Err }

// Name implements driver.Driver.
func (s *Secrets) Name() string { return driver.SecretsDriverName }

// Use says by which method the releases are applied that are created from now on: ServerSide or ClientSide.
func (s *Secrets) Use(method string) { s.method = method }

// Method returns how the objects of a release were applied: ServerSide or ClientSide. It is read if that was not done before.
func (s *Secrets) Method(name string, revision int) (string, error) {
	key := Key(name, revision)
	if _, ok := s.unknown[key]; !ok {
		if _, err := s.Get(key); err != nil {
			return "", err
		}
	}

	var method string
	if err := json.Unmarshal(s.unknown[key].fields[methodField], &method); err != nil || method != ServerSide {
		return ClientSide, nil //nolint:nilerr // as Helm takes what it does not know
	}

	return ServerSide, nil
}

// Get implements driver.Driver. A record that cannot be read is a *CorruptError.
func (s *Secrets) Get(key string) (*release.Release, error) {
	if raw := s.memory.read(key); raw != nil {
		return s.decode(raw)
	}

	item, err := s.client.Read(s.ctx, s.ref(key), true)
	if apierrors.IsNotFound(err) {
		return nil, driver.ErrReleaseNotFound
	}

	if err != nil {
		return nil, fmt.Errorf("read Secret '%s/%s': %w", s.namespace, key, err)
	}

	s.memory.keep(key, item.Raw)

	return s.decode(item.Raw)
}

// secret is what is read of a Secret.
type secret struct {
	Metadata struct {
		Name   string            `json:"name"`
		Labels map[string]string `json:"labels"`
	} `json:"metadata"`
	Data struct {
		Release []byte `json:"release"`
	} `json:"data"`
}

func (s *Secrets) decode(raw []byte) (*release.Release, error) {
	var in secret
	if err := json.Unmarshal(raw, &in); err != nil {
		return nil, fmt.Errorf("decode Secret in namespace %q: %w", s.namespace, withoutContent(err))
	}

	r, u, err := decode(in.Metadata.Name, in.Data.Release)
	if err != nil {
		return nil, &CorruptError{Namespace: s.namespace, Name: in.Metadata.Name, Err: err}
	}

	r.Labels = own(in.Metadata.Labels)
	s.unknown[in.Metadata.Name] = u

	return r, nil
}

// own returns the labels that are not those of the driver.
func own(labels map[string]string) map[string]string {
	out := maps.Clone(labels)
	for _, l := range driver.GetSystemLabels() {
		delete(out, l)
	}

	return out
}

// Create implements driver.Driver. A release that is too large is a *SizeError. One that exists but cannot be read is replaced.
func (s *Secrets) Create(key string, r *release.Release) error {
	u, err := s.fresh()
	if err != nil {
		return err
	}

	content, err := fit(r, u, maxSize-growth)
	if err != nil {
		return err
	}

	obj := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Secret", "type": secretType, "data": map[string]any{"release": content},
	}}
	obj.SetNamespace(s.namespace)
	obj.SetName(key)
	obj.SetLabels(s.labels(r, createdLabel))

	made, err := s.client.Create(s.ctx, obj, s.manager)
	if apierrors.IsAlreadyExists(err) {
		s.memory.forget()

		made, err = s.replace(key, obj)
	}

	switch {
	case errors.Is(err, driver.ErrReleaseExists):
		return err
	case err != nil:
		s.memory.forget()

		return fmt.Errorf("create Secret '%s/%s': %w", s.namespace, key, err)
	}

	s.unknown[key] = u
	s.memory.wrote(metaOf(made), content)

	return nil
}

// replace writes a record in the place of one that cannot be read: otherwise, no revision could be written any more.
func (s *Secrets) replace(key string, obj *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	m, err := s.client.GetMeta(s.ctx, s.ref(key))
	if err != nil {
		return nil, err //nolint:wrapcheck // the caller says of what
	}

	_, err = s.Get(key)

	corrupt := &CorruptError{}
	if !errors.As(err, &corrupt) || m.Labels[ownerLabel] != owner {
		return nil, errors.Join(driver.ErrReleaseExists, err)
	}

	s.skipped(corrupt)

	if err := s.client.Delete(s.ctx, s.ref(key), access.DeleteOptions{UID: m.UID, ResourceVersion: m.ResourceVersion}); err != nil {
		return nil, err //nolint:wrapcheck // the caller says of what
	}

	return s.client.Create(s.ctx, obj, s.manager) //nolint:wrapcheck // the caller says of what
}

// metaOf returns the metadata of a Secret.
func metaOf(u *unstructured.Unstructured) *metav1.PartialObjectMetadata {
	m := &metav1.PartialObjectMetadata{}
	m.Namespace, m.Name, m.Labels = u.GetNamespace(), u.GetName(), u.GetLabels()
	m.UID, m.ResourceVersion = u.GetUID(), u.GetResourceVersion()

	return m
}

// labels of the Secret of a release.
func (s *Secrets) labels(r *release.Release, written string) map[string]string {
	labels := own(r.Labels)
	if labels == nil {
		labels = map[string]string{}
	}

	labels[nameLabel], labels[ownerLabel] = r.Name, owner
	labels[versionLabel] = strconv.Itoa(r.Version)
	labels[written] = strconv.FormatInt(s.clock.Now().Unix(), 10)

	if r.Info != nil {
		labels[statusLabel] = r.Info.Status.String()
	}

	return labels
}

// Update implements driver.Driver. It keeps what others have written into the record and the Secret.
func (s *Secrets) Update(key string, r *release.Release) error {
	if _, ok := s.bare[r]; ok {
		return fmt.Errorf("update Secret '%s/%s': only the name and the status of this revision were read", s.namespace, key)
	}

	if _, ok := s.unknown[key]; !ok {
		if _, err := s.Get(key); err != nil {
			return err
		}
	}

	content, err := fit(r, s.unknown[key], maxSize)
	if err != nil {
		return err
	}

	body, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"labels": s.labels(r, modifiedLabel)},
		"data":     map[string]any{"release": content},
	})
	if err != nil {
		return fmt.Errorf("encode Secret '%s/%s': %w", s.namespace, key, err)
	}

	meta, err := s.client.Patch(s.ctx, s.ref(key), types.MergePatchType, body, access.PatchOptions{Manager: s.manager})
	if err != nil {
		s.memory.forget()
	}

	if apierrors.IsNotFound(err) {
		return driver.ErrReleaseNotFound
	}

	if err != nil {
		return fmt.Errorf("update Secret '%s/%s': %w", s.namespace, key, err)
	}

	s.memory.wrote(meta, content)

	return nil
}

// Delete implements driver.Driver. The release that it returns has no content if the record could not be read.
func (s *Secrets) Delete(key string) (*release.Release, error) {
	m, err := s.look(key)
	if err != nil {
		return nil, err
	}

	s.memory.deleted(key)

	err = s.client.Delete(s.ctx, s.ref(key), access.DeleteOptions{UID: m.UID, Propagation: metav1.DeletePropagationBackground})
	if err != nil && !apierrors.IsNotFound(err) {
		s.memory.forget()

		return nil, fmt.Errorf("delete Secret '%s/%s': %w", s.namespace, key, err)
	}

	delete(s.unknown, key)

	return s.stub(m), nil
}

// look returns the metadata of a record.
func (s *Secrets) look(key string) (*metav1.PartialObjectMetadata, error) {
	if m := s.memory.meta(key); m != nil {
		return m, nil
	}

	m, err := s.client.GetMeta(s.ctx, s.ref(key))
	if apierrors.IsNotFound(err) {
		return nil, driver.ErrReleaseNotFound
	}

	if err != nil {
		return nil, fmt.Errorf("read Secret '%s/%s': %w", s.namespace, key, err)
	}

	return m, nil
}

func (s *Secrets) ref(key string) access.Ref {
	return access.Ref{ID: access.ID{Kind: "Secret", Namespace: s.namespace, Name: key}, Version: "v1"}
}
