package registry

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/weir-dev/weir/reconcilers/flight"
)

// accepted are the media types of manifests that can be read.
func accepted() []string {
	return []string{
		string(types.OCIManifestSchema1), string(types.DockerManifestSchema2),
		string(types.OCIImageIndex), string(types.DockerManifestList),
	}
}

// manifestKey is a manifest, or an index, in a repository.
type manifestKey struct {
	repository flight.Fingerprint
	digest     string
}

// Manifest is a manifest, or an index that leads to one. It is shared and must not be changed.
type Manifest struct {
	// Digest of the manifest.
	Digest v1.Hash

	// Config says what the artifact is, by its media type.
	Config v1.Descriptor

	// Layers in their order.
	Layers []v1.Descriptor

	// Annotations of the manifest.
	Annotations map[string]string

	bytes    int64
	children []v1.Descriptor // of an index
}

// maxIndexes bounds how many indexes lead to a manifest.
const maxIndexes = 3

// Manifest returns the manifest with the digest. If that is the digest of an index, it is the manifest for linux/amd64, or the
// only one.
func (r *Repository) Manifest(ctx context.Context, digest v1.Hash) (*Manifest, error) {
	for range maxIndexes + 1 {
		m, err := r.manifest(ctx, digest)
		if err != nil || m.children == nil {
			return m, err
		}

		if digest, err = choose(m.children); err != nil {
			return nil, fmt.Errorf("index %s: %w", m.Digest, err)
		}
	}

	return nil, fmt.Errorf("more than %d indexes lead to the manifest", maxIndexes)
}

func (r *Repository) manifest(ctx context.Context, digest v1.Hash) (*Manifest, error) {
	key := manifestKey{repository: r.key, digest: digest.String()}

	m, release, err := r.all.manifests.Join(ctx, key, time.Time{}, func(ctx context.Context) (*Manifest, error) {
		raw, mediaType, err := r.getManifest(ctx, digest.String())
		if err != nil {
			return nil, err
		}

		got, err := hashOf(raw, digest.Algorithm)
		if err != nil {
			return nil, err
		}

		if got != digest {
			return nil, fmt.Errorf("the registry has another manifest under %s", digest)
		}

		return readManifest(raw, mediaType, digest)
	})
	if err != nil {
		return nil, err
	}

	release()

	return m, nil
}

// lookGet asks for a whole manifest, and keeps it for those who want to read it.
func (r *Repository) lookGet(ctx context.Context, reference string) (v1.Descriptor, error) {
	raw, mediaType, err := r.getManifest(ctx, reference)
	if err != nil {
		return v1.Descriptor{}, err
	}

	algorithm, _, ok := strings.Cut(reference, ":")
	if !ok {
		algorithm = "sha256"
	}

	digest, err := hashOf(raw, algorithm)
	if err != nil {
		return v1.Descriptor{}, err
	}

	if ok && digest.String() != reference {
		return v1.Descriptor{}, fmt.Errorf("the registry has another manifest under %s", reference)
	}

	m, err := readManifest(raw, mediaType, digest)
	if err != nil {
		return v1.Descriptor{}, err
	}

	key := manifestKey{repository: r.key, digest: digest.String()}
	if _, release, err := r.all.manifests.Join(ctx, key, time.Time{}, func(context.Context) (*Manifest, error) {
		return m, nil
	}); err == nil {
		release()
	}

	return v1.Descriptor{MediaType: types.MediaType(mediaType), Size: int64(len(raw)), Digest: digest}, nil
}

func (r *Repository) getManifest(ctx context.Context, reference string) (raw []byte, mediaType string, err error) {
	limit := r.all.options.Limits.ManifestBytes

	resp, err := r.request(ctx, http.MethodGet, "/manifests/"+reference, limit, accepted()...) //nolint:bodyclose // discard does
	if err != nil {
		return nil, "", err
	}
	defer discard(resp.Body)

	if raw, err = io.ReadAll(&frugal{ReadCloser: resp.Body}); err != nil {
		return nil, "", fmt.Errorf("read manifest: %w", err)
	}

	return raw, resp.Header.Get("Content-Type"), nil
}

func hashOf(raw []byte, algorithm string) (v1.Hash, error) {
	h, err := v1.Hasher(algorithm)
	if err != nil {
		return v1.Hash{}, fmt.Errorf("digest algorithm %q is not available", algorithm)
	}

	h.Write(raw)

	return v1.Hash{Algorithm: algorithm, Hex: hex.EncodeToString(h.Sum(nil))}, nil
}

// document is all that a manifest or an index may hold and that is of interest.
type document struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	Config        *v1.Descriptor    `json:"config"`
	Layers        []v1.Descriptor   `json:"layers"`
	Annotations   map[string]string `json:"annotations"`
	Manifests     []v1.Descriptor   `json:"manifests"`
	FSLayers      json.RawMessage   `json:"fsLayers"`
}

// readManifest reads a manifest or an index. What could be taken for both is refused: what one reader verifies must be what
// another one uses.
func readManifest(raw []byte, mediaType string, digest v1.Hash) (*Manifest, error) {
	var d document
	if err := json.NewDecoder(bytes.NewReader(raw)).Decode(&d); err != nil {
		return nil, fmt.Errorf("manifest %s is no JSON object of a manifest", digest)
	}

	mediaType, _, _ = strings.Cut(mediaType, ";")
	if d.MediaType != "" {
		mediaType = d.MediaType
	}

	m := &Manifest{Digest: digest, Annotations: d.Annotations, bytes: int64(len(raw))}
	index, image := d.Manifests != nil, d.Config != nil || d.Layers != nil

	switch {
	case index && image:
		return nil, fmt.Errorf("%s is both a manifest and an index", digest)
	case d.SchemaVersion != 2, d.FSLayers != nil:
		return nil, fmt.Errorf("manifest %s: schema version %d is not supported", digest, d.SchemaVersion)
	case index && !types.MediaType(mediaType).IsImage():
		m.children = d.Manifests
	case image && !types.MediaType(mediaType).IsIndex():
		m.Layers = d.Layers

		if d.Config != nil {
			m.Config = *d.Config
		}
	default:
		return nil, fmt.Errorf("%s with the media type %.100q holds nothing of it", digest, mediaType)
	}

	return m, checkDescriptors(m)
}

// checkDescriptors refuses digests and sizes that no content has.
func checkDescriptors(m *Manifest) error {
	for _, d := range slices.Concat(m.Layers, m.children) {
		switch {
		case d.Digest.Hex == "":
			return fmt.Errorf("manifest %s: something without a digest", m.Digest)
		case d.Size < 0:
			return fmt.Errorf("manifest %s: negative size of %s", m.Digest, d.Digest)
		}
	}

	return nil
}

// choose returns the manifest of an index for linux/amd64, or the only one. One without a platform is for all.
func choose(children []v1.Descriptor) (v1.Hash, error) {
	var candidates []v1.Descriptor

	for _, d := range children {
		if d.Platform != nil && d.Platform.OS == "unknown" { // it says something about another one
			continue
		}

		if d.MediaType.IsImage() || d.MediaType.IsIndex() || d.MediaType == "" {
			candidates = append(candidates, d)
		}
	}

	for _, d := range candidates {
		if p := d.Platform; p == nil || p.OS == "linux" && p.Architecture == "amd64" {
			return d.Digest, nil
		}
	}

	if len(candidates) == 1 {
		return candidates[0].Digest, nil
	}

	return v1.Hash{}, fmt.Errorf("none of its %d manifests is for linux/amd64", len(candidates))
}
