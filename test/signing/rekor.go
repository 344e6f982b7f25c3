package signing

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"

	"github.com/cyberphone/json-canonicalization/go/src/webpki.org/jsoncanonicalizer"
	"github.com/go-openapi/runtime"
	"github.com/sigstore/rekor/pkg/generated/models"
	"github.com/sigstore/rekor/pkg/types"
	_ "github.com/sigstore/rekor/pkg/types/dsse/v0.0.1"         // a kind of entry
	_ "github.com/sigstore/rekor/pkg/types/hashedrekord/v0.0.1" // a kind of entry
	"github.com/sigstore/rekor/pkg/util"
	"github.com/sigstore/sigstore/pkg/signature"
)

// enter answers a request to log an entry as Rekor does.
func (s *Sigstore) enter(w http.ResponseWriter, req *http.Request) {
	answer, err := s.entry(req)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)

		return
	}

	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusCreated)
	_ = json.NewEncoder(w).Encode(answer) //nolint:errcheck,errchkjson // the client notices
}

// entry is a whole answer of the log: the entry with the promise to include it, and the proof that it is.
func (s *Sigstore) entry(req *http.Request) (map[string]any, error) {
	ctx := req.Context()

	proposed, err := models.UnmarshalProposedEntry(req.Body, runtime.JSONConsumer())
	if err != nil {
		return nil, err
	}

	impl, err := types.CreateVersionedEntry(proposed)
	if err != nil {
		return nil, err
	}

	body, err := types.CanonicalizeEntry(ctx, impl)
	if err != nil {
		return nil, err
	}

	id, err := keyID(s.logs)
	if err != nil {
		return nil, err
	}

	_, at := s.times()
	entry := map[string]any{
		"body": base64.StdEncoding.EncodeToString(body), "integratedTime": at.Unix(), "logID": hex.EncodeToString(id),
		"logIndex": s.next(),
	}

	promise, err := s.promise(entry)
	if err != nil {
		return nil, err
	}

	leaf := sha256.Sum256(append([]byte{0}, body...))

	proof, err := s.proof(ctx, leaf)
	if err != nil {
		return nil, err
	}

	entry["verification"] = map[string]any{"signedEntryTimestamp": promise, "inclusionProof": proof}

	return map[string]any{hex.EncodeToString(leaf[:]): entry}, nil
}

// promise signs an entry.
func (s *Sigstore) promise(entry map[string]any) ([]byte, error) {
	b, err := json.Marshal(entry)
	if err != nil {
		return nil, err
	}

	canonical, err := jsoncanonicalizer.Transform(b)
	if err != nil {
		return nil, err
	}

	sum := sha256.Sum256(canonical)

	return ecdsa.SignASN1(rand.Reader, s.logs, sum[:])
}

// proof signs a tree that has one leaf.
func (s *Sigstore) proof(ctx context.Context, leaf [sha256.Size]byte) (map[string]any, error) {
	signer, err := signature.LoadECDSASignerVerifier(s.logs, crypto.SHA256)
	if err != nil {
		return nil, err
	}

	checkpoint, err := util.CreateAndSignCheckpoint(ctx, "rekor.localhost", 1, 1, leaf[:], signer)
	if err != nil {
		return nil, err
	}

	return map[string]any{
		"checkpoint": string(bytes.Clone(checkpoint)), "hashes": []string{}, "logIndex": 0, "treeSize": 1,
		"rootHash": hex.EncodeToString(leaf[:]),
	}, nil
}
