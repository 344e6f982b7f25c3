package sops

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

const (
	dataKeySize = 32
	nonceSize   = 32

	valuePrefix = "ENC[AES256_GCM,"
)

var (
	errNotEncrypted = errors.New("it is not encrypted, though the metadata say that it is")
	errMalformed    = errors.New("it is malformed")
	errForged       = errors.New("it was changed or moved, or encrypted with another data key")
	errType         = errors.New("it is not of the type that it claims to be")
)

// values decrypts single values with the data key of a file.
type values struct{ aead cipher.AEAD }

func newValues(dataKey []byte) (*values, error) {
	if len(dataKey) != dataKeySize {
		return nil, fmt.Errorf("the data key has %d bytes, not %d", len(dataKey), dataKeySize)
	}

	block, err := aes.NewCipher(dataKey)
	if err != nil {
		return nil, err
	}

	aead, err := cipher.NewGCMWithNonceSize(block, nonceSize)
	if err != nil {
		return nil, err
	}

	return &values{aead}, nil
}

// isEncrypted tells whether a text has the form of an encrypted value.
func isEncrypted(text string) bool { return strings.HasPrefix(strings.TrimSpace(text), valuePrefix) }

// open decrypts a value that stands at the place given. It returns a string, int, float64, bool, time.Time or *comment.
func (v *values) open(text, place string) (any, error) {
	if text == "" {
		return "", nil // empty values are left as they are
	}

	if !isEncrypted(text) {
		return nil, errNotEncrypted
	}

	parts, err := parseValue(strings.TrimSpace(text))
	if err != nil {
		return nil, err
	}

	plain, err := v.aead.Open(nil, parts.nonce, parts.sealed, []byte(place))
	if err != nil {
		return nil, errForged
	}

	return typed(string(plain), parts.kind)
}

type encryptedValue struct {
	nonce, sealed []byte
	kind          string
}

// parseValue takes ENC[AES256_GCM,data:…,iv:…,tag:…,type:…] apart.
func parseValue(text string) (encryptedValue, error) {
	inner, ok := strings.CutSuffix(strings.TrimPrefix(text, valuePrefix), "]")
	if !ok {
		return encryptedValue{}, errMalformed
	}

	fields := strings.Split(inner, ",")
	names := []string{"data:", "iv:", "tag:", "type:"}

	if len(fields) != len(names) {
		return encryptedValue{}, errMalformed
	}

	for i, name := range names {
		if fields[i], ok = strings.CutPrefix(fields[i], name); !ok {
			return encryptedValue{}, errMalformed
		}
	}

	var (
		raw [3][]byte
		err error
	)

	for i := range raw {
		if raw[i], err = base64.StdEncoding.DecodeString(fields[i]); err != nil {
			return encryptedValue{}, errMalformed
		}
	}

	if len(raw[1]) != nonceSize || len(raw[2]) != aes.BlockSize {
		return encryptedValue{}, errMalformed
	}

	return encryptedValue{nonce: raw[1], sealed: append(raw[0], raw[2]...), kind: fields[3]}, nil
}

// typed turns the text of a value into its type. Its errors do not quote it.
func typed(text, kind string) (any, error) {
	var (
		value any
		err   error
	)

	switch kind {
	case "str", "bytes":
		return text, nil
	case "int":
		value, err = strconv.Atoi(text)
	case "float":
		value, err = strconv.ParseFloat(text, 64)
	case "bool":
		value, err = strconv.ParseBool(text)
	case "time":
		value, err = time.Parse(time.RFC3339, text)
	case "comment":
		return &comment{text: text}, nil
	default:
		return nil, errType
	}

	if err != nil {
		return nil, errType
	}

	return value, nil
}
