package distribution

import (
	"fmt"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
)

// Image is a reference to a container image, taken apart.
type Image struct {
	// Repository with its registry, as it was written.
	Repository string

	// Tag, or empty.
	Tag string

	// Digest as <algorithm>:<hex>, or empty.
	Digest string
}

// ParseImage takes a reference apart. Unlike others it keeps the repository as it was written.
func ParseImage(reference string) (Image, error) {
	if _, err := name.ParseReference(reference); err != nil {
		return Image{}, fmt.Errorf("parse image reference %q: %w", reference, err)
	}
	i := Image{Repository: imageName(reference)}
	rest, digest, _ := strings.Cut(reference, "@")
	i.Digest = digest
	i.Tag = strings.TrimPrefix(rest[len(i.Repository):], ":")
	return i, nil
}

// imageName is the part of a reference before its tag and digest.
func imageName(reference string) string {
	rest, _, _ := strings.Cut(reference, "@")
	if colon := strings.LastIndexByte(rest, ':'); colon > strings.LastIndexByte(rest, '/') {
		return rest[:colon]
	}
	return rest
}

// Canonical returns the repository as statuses tell it: with its registry, where the reference leaves that out or abbreviates it.
func (i Image) Canonical() string {
	r, err := name.NewRepository(i.Repository)
	if err != nil {
		return i.Repository
	}
	return r.Name()
}

// String returns the reference.
func (i Image) String() string {
	s := i.Repository
	if i.Tag != "" {
		s += ":" + i.Tag
	}
	if i.Digest != "" {
		s += "@" + i.Digest
	}
	return s
}

// repositoryName is the last part of the name of Weir's image in a registry that mirrors it.
const repositoryName = "weir"

// fluxRegistries are where the images of other builds of the same distribution are published. A manifest written for them
// names one of these; none of them has an image of Weir. Docs: docs/decisions/0001-one-image.md.
func fluxRegistries() []string {
	return []string{
		"fluxcd",
		"docker.io/fluxcd",
		"index.docker.io/fluxcd",
		"ghcr.io/fluxcd",
		"ghcr.io/controlplaneio-fluxcd",
		"709825985650.dkr.ecr.us-east-1.amazonaws.com/controlplane/fluxcd",
	}
}

// isFluxRegistry tells whether the registry is one of fluxRegistries. The enterprise builds have one path per variant
// under a common prefix.
func isFluxRegistry(registry string) bool {
	if strings.HasPrefix(registry, "ghcr.io/controlplaneio-fluxcd/") {
		return true
	}
	return slices.Contains(fluxRegistries(), registry)
}

// componentImage is the image that every component runs: the operator's own, from the registry of the instance, unless
// that is a registry of Flux images. The version stands in for a tag that the operator's reference lacks: with a
// digest it decides nothing, and clients require a tag.
func componentImage(own Image, registry, version string) Image {
	registry = strings.TrimRight(registry, "/")
	if !isFluxRegistry(registry) {
		own.Repository = registry + "/" + repositoryName
	}
	if own.Tag == "" && own.Digest != "" {
		own.Tag = version
	}
	return own
}
