package report

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/ingest"
)

// object is what is told of an object of a Flux kind.
type object struct {
	kind, uid, name, namespace string
	ready, reason, message     string // of the condition Ready
	suspended                  bool
	revision                   string
	url, ref, source, path     string
	registry                   string // of an instance
	resources                  int    // entries of the inventory
	size                       int64  // of the artifact, in bytes
	sourceKind, sourceSpace    string
}

// failing tells whether somebody should look at the object. What waits for something else is not the one to look at.
func (o *object) failing() bool {
	return !o.suspended && o.ready == string(metav1.ConditionFalse) && o.reason != meta.DependencyNotReadyReason
}

// fields are those of all Flux kinds that are told of.
type fields struct {
	Metadata struct {
		UID, Name, Namespace string
	}
	Spec struct {
		Suspend      bool
		URL          string
		Endpoint     string
		BucketName   string
		Image        string
		Path         string
		Version      string
		Ref          reference
		SourceRef    namedRef
		ChartRef     namedRef
		Chart        chart
		Distribution struct{ Registry string }

		ImageRepositoryRef namedRef
	}
	Status struct {
		Conditions []condition
		Artifact   struct {
			Revision string
			Size     int64
		}
		LastAppliedRevision, LastAttemptedRevision   string
		LastExportedRevision, ObservedSourceRevision string

		Inventory struct{ Entries []struct{} }
	}
}

type condition struct{ Type, Status, Reason, Message string }

type namedRef struct{ Kind, Name, Namespace string }

type reference struct{ Name, SemVer, Tag, Digest, Commit, Branch string }

// String is the part that counts, which is the one that source-controller goes by.
func (r reference) String() string {
	return cmp.Or(r.Commit, r.Digest, r.Name, r.SemVer, r.Tag, r.Branch)
}

// chart is that of a HelmRelease, or the name that a HelmChart has in its place.
type chart struct{ Spec struct{ SourceRef namedRef } }

// UnmarshalJSON implements json.Unmarshaler.
func (c *chart) UnmarshalJSON(raw []byte) error {
	if len(raw) == 0 || raw[0] != '{' {
		return nil
	}
	type plain chart
	return json.Unmarshal(raw, (*plain)(c))
}

// words keeps one copy of each text: thousands of objects have the same reason, namespace and source.
type words map[string]string

func (w words) one(s string) string {
	if have, ok := w[s]; ok {
		return have
	}
	w[s] = s
	return s
}

// read takes from an object what is told of it. A field of another type than usual, of a kind of the same name that somebody else
// made, is left out.
func (w words) read(kind string, raw []byte) (object, error) {
	var f fields
	if err := json.Unmarshal(raw, &f); err != nil {
		if _, ok := errors.AsType[*json.UnmarshalTypeError](err); !ok {
			return object{}, fmt.Errorf("read a %s: %w", kind, err)
		}
	}
	o := object{
		kind: kind, uid: f.Metadata.UID, name: f.Metadata.Name, namespace: w.one(f.Metadata.Namespace),
		ready: string(metav1.ConditionUnknown), suspended: f.Spec.Suspend,
		revision: w.one(cmp.Or(
			f.Status.Artifact.Revision, f.Status.LastAppliedRevision, f.Status.LastAttemptedRevision,
			f.Status.LastExportedRevision, f.Status.ObservedSourceRevision)),
		url:      w.one(cmp.Or(address(cmp.Or(f.Spec.URL, f.Spec.Endpoint)), f.Spec.Image)),
		ref:      w.one(cmp.Or(f.Spec.Ref.String(), f.Spec.BucketName, f.Spec.Version)),
		path:     w.one(f.Spec.Path),
		registry: f.Spec.Distribution.Registry, resources: len(f.Status.Inventory.Entries), size: f.Status.Artifact.Size,
	}
	from := first(f.Spec.SourceRef, f.Spec.ChartRef, f.Spec.Chart.Spec.SourceRef, f.Spec.ImageRepositoryRef)
	o.source, o.sourceKind = w.one(from.Name), w.one(from.Kind)
	o.sourceSpace = w.one(cmp.Or(from.Namespace, o.namespace))
	for _, c := range f.Status.Conditions {
		if c.Type == meta.ReadyCondition {
			o.ready, o.reason, o.message = w.one(c.Status), w.one(c.Reason), c.Message
		}
	}
	return o, nil
}

// address is where something comes from. Users may put credentials into it.
func address(url string) string {
	if url == "" {
		return ""
	}
	return ingest.Redact(url)
}

func first(refs ...namedRef) namedRef {
	for _, r := range refs {
		if r.Name != "" {
			return r
		}
	}
	return namedRef{}
}

// disabled tells whether an object of the operator's own kinds is suspended, which is said by an annotation.
func disabled(raw []byte) (bool, error) {
	var o metav1.PartialObjectMetadata
	if err := json.Unmarshal(raw, &o); err != nil {
		return false, fmt.Errorf("read metadata: %w", err)
	}
	return meta.Disabled(o.Annotations, fluxv1.ReconcileAnnotation), nil
}
