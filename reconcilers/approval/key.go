package approval

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/types"
)

// Source returns the secret that the keys are derived from, the same one after a restart and for all replicas.
type Source func(ctx context.Context) ([]byte, error)

// Key returns the key of the digests of plans for the object with the UID. Without a source, the error says that the field, which
// asks for plans, is not possible.
func (s Source) Key(ctx context.Context, uid types.UID, field string) ([]byte, error) {
	if s == nil {
		return nil, fmt.Errorf("%s is not possible: there is no key for the digests of plans", field)
	}

	secret, err := s(ctx)
	if err != nil {
		return nil, fmt.Errorf("get the key for the digests of plans: %w", err)
	}

	if len(secret) == 0 {
		return nil, errors.New("get the key for the digests of plans: it is empty")
	}

	return sign(secret, string(uid)), nil
}

// Digest returns the digest of parts in their order, as "sha256:<hex>". Whoever lacks the key cannot try out what the parts are.
func Digest(key []byte, parts ...string) string {
	return "sha256:" + hex.EncodeToString(sign(key, fmt.Sprintf("%q", parts)))
}

func sign(key []byte, text string) []byte {
	mac := hmac.New(sha256.New, key)
	_, _ = mac.Write([]byte(text))

	return mac.Sum(nil)
}
