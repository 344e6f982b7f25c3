package secrets

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
)

// Keys of Secrets.
const (
	Username = "username"
	Password = "password"
	Bearer   = "bearerToken"

	CA   = "ca.crt"
	Cert = "tls.crt"
	Key  = "tls.key"

	LegacyCA   = "caFile"
	LegacyCert = "certFile"
	LegacyKey  = "keyFile"

	Address = "address"
)

// Reader reads Secrets. One that does not exist is an IsNotFound error.
type Reader interface {
	Secret(ctx context.Context, namespace, name string) (*corev1.Secret, error)
}

// ReaderFunc is a function as Reader.
type ReaderFunc func(ctx context.Context, namespace, name string) (*corev1.Secret, error)

// Secret implements Reader.
func (f ReaderFunc) Secret(ctx context.Context, namespace, name string) (*corev1.Secret, error) {
	return f(ctx, namespace, name)
}

// Get reads the Secret that a reference names. Its error says which one could not be read.
func Get(ctx context.Context, r Reader, namespace, name string) (*corev1.Secret, error) {
	s, err := r.Secret(ctx, namespace, name)
	if err != nil {
		return nil, fmt.Errorf("failed to get secret '%s/%s': %w", namespace, name, err)
	}

	return s, nil
}

// BasicAuth returns username and password. One without the other is an error; neither is none.
func BasicAuth(s *corev1.Secret) (username, password string, err error) {
	username, password = string(s.Data[Username]), string(s.Data[Password])
	if (username == "") != (password == "") {
		return "", "", wrong(s, "'%s' and '%s' have to be set together", Username, Password)
	}

	return username, password, nil
}

// wrong says what is wrong with a Secret.
func wrong(s *corev1.Secret, format string, args ...any) error {
	if s.Name == "" {
		return fmt.Errorf(format, args...)
	}

	return fmt.Errorf("secret '%s/%s': %w", s.Namespace, s.Name, fmt.Errorf(format, args...))
}

// errEmpty says that nothing of what is looked for is there: a misspelt key must not mean less protection.
var errEmpty = errors.New("none of the keys is there")
