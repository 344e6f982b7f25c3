package distribution

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
)

// YAML returns the objects as the stream of documents of which Digest is the digest.
func (s *Set) YAML() ([]byte, error) { return encode(s.Objects) }

// ReadSet makes the set of a revision from what YAML has returned, and from its images. It refuses a stream that is not that of
// the revision.
func ReadSet(revision string, content []byte, images []fluxv1.ComponentImage) (*Set, error) {
	version, digest, _ := strings.Cut(revision, "@")
	sum := sha256.Sum256(content)
	if got := "sha256:" + hex.EncodeToString(sum[:]); got != digest {
		return nil, fmt.Errorf("its objects have the digest %s, and revision %s does not", got, revision)
	}
	objects, err := parse(content)
	if err != nil {
		return nil, err
	}
	return &Set{Version: version, Digest: digest, Objects: objects, Images: images}, nil
}
