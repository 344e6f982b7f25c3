package meta

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Artifact describes a file that a source has put into the artifact storage.
type Artifact struct {
	// Path of the file, relative to the root of the storage.
	// +required
	Path string `json:"path"`

	// URL at which the file is served.
	// +required
	URL string `json:"url"`

	// Revision names the upstream state, for example main@sha1:<commit> or 1.2.3@sha256:<digest>.
	// +required
	Revision string `json:"revision"`

	// Digest of the file itself, not of the upstream, as <algorithm>:<checksum>.
	// +kubebuilder:validation:Pattern=`^[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[a-zA-Z0-9=_-]+$`
	// +required
	Digest string `json:"digest"`

	// LastUpdateTime is when the file was written.
	// +required
	LastUpdateTime metav1.Time `json:"lastUpdateTime"`

	// Size of the file in bytes.
	// +optional
	Size *int64 `json:"size,omitempty"`

	// Metadata of the upstream, such as the annotations of an OCI manifest.
	// +optional
	Metadata map[string]string `json:"metadata,omitempty"`
}

// HasRevision tells whether the artifact is of the revision. A nil artifact has none.
func (in *Artifact) HasRevision(revision string) bool {
	return in != nil && in.Revision == revision
}

// HasDigest tells whether the artifact has the digest. A nil artifact has none.
func (in *Artifact) HasDigest(digest string) bool {
	return in != nil && in.Digest == digest
}
