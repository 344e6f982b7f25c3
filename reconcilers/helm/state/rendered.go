package state

import (
	"encoding/json"

	"github.com/opencontainers/go-digest"

	v2 "github.com/weir-dev/weir/api/helm/v2"
)

// ObserveRendering writes down with which post-renderers and common metadata a release was made. It is to be called as soon as the
// release is ready: what is not written down is a change.
func ObserveRendering(obj *v2.HelmRelease) {
	obj.Status.ObservedPostRenderersDigest = postRenderersDigest(obj)
	obj.Status.ObservedCommonMetadataDigest = commonMetadataDigest(obj)
}

func postRenderersDigest(obj *v2.HelmRelease) string {
	if obj.Spec.PostRenderers == nil {
		return ""
	}

	return fieldDigest(obj.Spec.PostRenderers)
}

func commonMetadataDigest(obj *v2.HelmRelease) string {
	if obj.Spec.CommonMetadata == nil {
		return ""
	}

	return fieldDigest(obj.Spec.CommonMetadata)
}

// fieldDigest returns the SHA-256 of the JSON of a field and a line feed.
func fieldDigest(field any) string {
	d := digest.SHA256.Digester()
	if err := json.NewEncoder(d.Hash()).Encode(field); err != nil {
		return "" // a field that came as JSON can be written as JSON
	}

	return d.Digest().String()
}
