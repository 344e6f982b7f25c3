package build

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	k8sjson "sigs.k8s.io/json"
)

// Set is what a build yields. It belongs to the caller: nothing else holds its objects.
type Set struct {
	// Objects in the order of the build.
	Objects []*unstructured.Unstructured
	// Digests of the objects as sha256:<hex>, in the same order. Equal digests mean equal objects.
	Digests []string
	// Digest of the whole: the SHA-256 of the objects as a YAML stream, as sha256:<hex>.
	Digest string
	// Mask hides what was decrypted for the set from messages about it.
	Mask *Mask
	// Fetched says that the objects depend on what was fetched from somewhere else, which may change.
	Fetched bool
}

// encoded is a set as bytes: small, and safe to share.
type encoded struct {
	// stream is a YAML stream with one line of JSON per document.
	stream  []byte
	digests []string
	digest  string
	mask    *Mask
}

const documentEnd = "---\n"

func encode(objects []*unstructured.Unstructured) (*encoded, error) {
	var buffer bytes.Buffer

	e := &encoded{digests: make([]string, len(objects))}

	for i, u := range objects {
		data, err := json.Marshal(u.Object)
		if err != nil {
			return nil, fmt.Errorf("encode %s %q: %w", u.GetKind(), u.GetName(), err)
		}

		e.digests[i] = digest(data)

		if i > 0 {
			buffer.WriteString(documentEnd)
		}

		buffer.Write(data)
		buffer.WriteByte('\n')
	}

	e.stream = buffer.Bytes()
	e.digest = digest(e.stream)

	return e, nil
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)

	return "sha256:" + hex.EncodeToString(sum[:])
}

// set returns a Set with the objects given, or with objects read from the stream.
func (e *encoded) set(objects []*unstructured.Unstructured) (*Set, error) {
	if objects == nil && len(e.digests) > 0 {
		var err error
		if objects, err = e.decode(); err != nil {
			return nil, err
		}
	}

	return &Set{Objects: objects, Digests: e.digests, Digest: e.digest, Mask: e.mask}, nil
}

func (e *encoded) decode() ([]*unstructured.Unstructured, error) {
	objects := make([]*unstructured.Unstructured, len(e.digests))
	rest := e.stream

	for i := range objects {
		var line []byte

		line, rest, _ = bytes.Cut(rest, []byte("\n"))
		rest = bytes.TrimPrefix(rest, []byte(documentEnd))

		objects[i] = &unstructured.Unstructured{}
		if err := k8sjson.UnmarshalCaseSensitivePreserveInts(line, &objects[i].Object); err != nil {
			return nil, fmt.Errorf("decode cached object: %w", err)
		}
	}

	return objects, nil
}

// size is what the encoded set takes in memory, in bytes and roughly.
func (e *encoded) size() int64 {
	const perDigest, fixed = 96, 256

	return int64(len(e.stream)+len(e.digests)*perDigest+fixed) + e.mask.bytes()
}
