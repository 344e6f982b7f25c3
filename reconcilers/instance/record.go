package instance

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/distribution"
	"github.com/weir-dev/weir/reconcilers/ingest"
)

const (
	// recordName is that of the Secret beside the instance that holds the last good release.
	recordName = "flux-last-release"

	// recordType is the type of that Secret.
	recordType corev1.SecretType = "fluxcd.controlplane.io/release"

	// The entries of that Secret: the objects as gzipped YAML, and what else belongs to the release, as JSON.
	objectsEntry, releaseEntry = "objects.yaml.gz", "release.json"

	// maxRecord is how many bytes of objects a Secret takes, with room for the rest of it.
	maxRecord = corev1.MaxSecretSize - 32<<10

	// maxObjects bounds the objects of a record that is read, in bytes.
	maxObjects = 32 << 20
)

// record is a release that was good: what may come back when the next one is not.
type record struct {
	set     *distribution.Set
	details details
}

// details are what belongs to a release beside its objects.
type details struct {
	Revision string                  `json:"revision"`
	Spec     string                  `json:"spec"` // digest
	Images   []fluxv1.ComponentImage `json:"images"`

	// Artifact is where the manifests came from; nil for those that an operator carried.
	Artifact *fluxv1.DistributionArtifact `json:"artifact,omitempty"`

	// Operator is the image that the release has for the operator, if that follows releases. It has passed the gate.
	Operator string `json:"operator,omitempty"`

	// Verify says whose signatures were asked for.
	Verify *fluxv1.DistributionVerification `json:"verify,omitempty"`
}

// unusableError says why there is no good release to go back to, or to keep.
type unusableError struct {
	missing bool // there is none at all
	err     error
}

func (e *unusableError) Error() string { return e.err.Error() }

func (e *unusableError) Unwrap() error { return e.err }

// lastGood returns the last good release. The error is an *unusableError if there is none that may be applied: it is not of the revision
// that the status names, or it was not verified as is asked for now.
func (r *reconciler) lastGood(ctx context.Context, obj *fluxv1.FluxInstance, s *scope) (*record, error) {
	revision := obj.Status.LastAppliedRevision
	if good := s.memory.good; good == nil || good.details.Revision != revision {
		loaded, err := r.load(ctx, obj, revision)
		if err != nil {
			return nil, err
		}
		s.memory.good = loaded
	}
	good := s.memory.good
	if !atLeast(good.details.Verify, obj.Spec.Distribution.Verify) {
		return nil, &unusableError{err: fmt.Errorf("%s was not verified as spec.distribution.verify asks", revision)}
	}
	return good, nil
}

// load reads the record from its Secret.
func (r *reconciler) load(ctx context.Context, obj *fluxv1.FluxInstance, revision string) (*record, error) {
	live, err := r.Home.Client.Read(ctx, recordRef(obj), true)
	if apierrors.IsNotFound(err) {
		return nil, &unusableError{missing: true, err: fmt.Errorf("there is no record of %s", revision)}
	}
	if apierrors.IsForbidden(err) { // for as long as nobody grants it
		return nil, &unusableError{err: fmt.Errorf("get %q: %w", recordRef(obj), err)}
	}
	if err != nil {
		return nil, fmt.Errorf("get %q: %w", recordRef(obj), err)
	}
	secret := &corev1.Secret{}
	if err := json.Unmarshal(live.Raw, secret); err != nil {
		return nil, fmt.Errorf("decode %q: %w", recordRef(obj), err)
	}
	good, err := decode(secret, revision, obj.Status.LastReleaseDigest)
	if err != nil {
		return nil, &unusableError{err: fmt.Errorf("the record in %q is not to be trusted: %w", recordRef(obj), err)}
	}
	return good, nil
}

// decode reads a record, and refuses one that is not of the revision, or whose details have another digest.
func decode(secret *corev1.Secret, revision, digest string) (*record, error) {
	if secret.Type != recordType {
		return nil, fmt.Errorf("its type is %q, not %q", secret.Type, recordType)
	}
	if have := digestOf(secret.Data[releaseEntry]); have != digest {
		return nil, fmt.Errorf("%q has the digest %s, and the status names %q", releaseEntry, have, digest)
	}
	good := &record{}
	if err := json.Unmarshal(secret.Data[releaseEntry], &good.details); err != nil {
		return nil, fmt.Errorf("decode %q: %w", releaseEntry, err)
	}
	content, err := ingest.Gunzip(secret.Data[objectsEntry], maxObjects)
	if err != nil {
		return nil, fmt.Errorf("decompress %q: %w", objectsEntry, err)
	}
	if good.set, err = distribution.ReadSet(revision, content, good.details.Images); err != nil {
		return nil, err
	}
	good.details.Revision = revision
	return good, nil
}

// keepRecord writes the record of what is good now, unless it is there already. The error is an *unusableError if that cannot be.
func (r *reconciler) keepRecord(ctx context.Context, obj *fluxv1.FluxInstance, s *scope) error {
	spec, err := specDigest(obj)
	if err != nil {
		return err
	}
	good := &record{set: s.set, details: details{
		Revision: s.set.Revision(), Spec: spec, Images: s.set.Images, Verify: obj.Spec.Distribution.Verify,
	}}
	if r.leads(obj) {
		good.details.Operator = s.set.Operator.String()
	}
	if s.release != nil {
		good.details.Artifact = s.release.Artifact
	}
	if r.kept(ctx, obj, s, good) {
		return nil
	}
	body, digest, err := encode(obj, good)
	if err != nil {
		return err
	}
	_, err = r.Home.Client.Apply(ctx, recordRef(obj), body, access.ApplyOptions{Manager: Manager, Force: true})
	if apierrors.IsForbidden(err) || apierrors.IsInvalid(err) || apierrors.IsRequestEntityTooLargeError(err) {
		return &unusableError{err: fmt.Errorf("write %q: %w", recordRef(obj), err)}
	}
	if err != nil {
		return fmt.Errorf("write %q: %w", recordRef(obj), err)
	}
	s.memory.good, obj.Status.LastReleaseDigest = good, digest
	return nil
}

// kept tells whether the record is there as it should be. The Secret is read once in the life of a process.
func (r *reconciler) kept(ctx context.Context, obj *fluxv1.FluxInstance, s *scope, good *record) bool {
	if s.memory.good == nil && obj.Status.LastAppliedRevision == good.details.Revision {
		if loaded, err := r.load(ctx, obj, good.details.Revision); err == nil {
			s.memory.good = loaded
		}
	}
	have := s.memory.good
	return have != nil && reflect.DeepEqual(have.details, good.details)
}

// encode makes the Secret, and the digest of its details.
func encode(obj *fluxv1.FluxInstance, good *record) (body []byte, digest string, err error) {
	content, err := good.set.YAML()
	if err != nil {
		return nil, "", err
	}
	objects, err := ingest.Gzip(content)
	if err != nil {
		return nil, "", fmt.Errorf("compress the objects: %w", err)
	}
	if n := len(objects); n > maxRecord {
		return nil, "", &unusableError{err: fmt.Errorf("its objects have %d bytes, compressed, and a Secret takes %d", n, maxRecord)}
	}
	release, err := json.Marshal(good.details)
	if err != nil {
		return nil, "", fmt.Errorf("encode the record: %w", err)
	}
	body, err = json.Marshal(&corev1.Secret{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
		ObjectMeta: metav1.ObjectMeta{
			Namespace: obj.Namespace, Name: recordName,
			Labels: map[string]string{"app.kubernetes.io/managed-by": Manager},
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: fluxv1.GroupVersion.String(), Kind: fluxv1.FluxInstanceKind, Name: obj.Name, UID: obj.UID,
			}},
		},
		Type: recordType,
		Data: map[string][]byte{objectsEntry: objects, releaseEntry: release},
	})
	return body, digestOf(release), err
}

func recordRef(obj *fluxv1.FluxInstance) access.Ref {
	return access.Ref{ID: access.ID{Kind: "Secret", Namespace: obj.Namespace, Name: recordName}, Version: "v1"}
}

// atLeast tells whether what was verified as had would pass as asked, as far as the settings tell.
func atLeast(had, asked *fluxv1.DistributionVerification) bool {
	switch {
	case asked == nil:
		return true
	case had == nil || had.Provider != asked.Provider:
		return false
	case !reflect.DeepEqual(had.SecretRef, asked.SecretRef), !reflect.DeepEqual(had.TrustedRootSecretRef, asked.TrustedRootSecretRef):
		return false
	}
	return !slices.ContainsFunc(had.MatchOIDCIdentity, func(i fluxv1.SignerIdentity) bool {
		return !slices.Contains(asked.MatchOIDCIdentity, i)
	})
}

// artifact is the digest of that of the release.
func (s *scope) artifact() string {
	if s.release == nil || s.release.Artifact == nil {
		return ""
	}
	return s.release.Artifact.Digest
}
