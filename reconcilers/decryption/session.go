package decryption

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/decryption/sops"
	"github.com/weir-dev/weir/reconcilers/flight"
)

// Session decrypts for one object, with the keys that it had when the session was opened. It is for one run, and must not be used
// by more than one at a time.
type Session struct {
	decryption *Decryption
	namespace  string
	asked      time.Duration // how long it has waited for key services
	print      flight.Fingerprint
	where      string            // the keys come from
	local      map[string][]byte // the Secret with private keys
	identities *Identities
	services   sops.Keys // or nil
}

// Fingerprint stands for who decrypts, with which keys. What one session has decrypted must be given to others only if they have
// the same.
func (s *Session) Fingerprint() string { return hex.EncodeToString(s.print[:]) }

// File returns the content of a file in the clear, or as it is if it is not encrypted, and the values in it that were. Name is that
// of the file, and as the one under which the content is going to be used: both tell formats by their extensions. No name to
// use it under stands for a file with variables.
func (s *Session) File(ctx context.Context, name, as string, data []byte) (content []byte, values []string, err error) {
	if !sops.Marked(data) {
		return data, nil, nil
	}

	from, to := formats(name, as, data)
	if from == "" {
		return data, nil, nil
	}

	c, err := sops.Decrypt(ctx, data, from, to, s)
	if errors.Is(err, sops.ErrNotEncrypted) {
		return data, nil, nil
	}

	if err != nil {
		return nil, nil, fmt.Errorf("decryption failed for '%s': %w", name, err)
	}

	return c.Content, c.Values, nil
}

// formats returns from which format into which a file goes, or nothing if it is not encrypted.
func formats(name, as string, data []byte) (from, to sops.Format) {
	from, to = sops.FormatOf(name), sops.FormatOf(as)

	if as == "" {
		to = sops.Dotenv
	}

	if from == sops.Binary { // the name says nothing
		from, _ = sops.Detect(data)
	}

	if to == sops.Binary || from == sops.Binary {
		to = from
	}

	return from, to
}

// Object decrypts an object in place, if it is encrypted and does not say to be left alone, or the data in a Secret that are
// files by themselves. It returns the values that were encrypted.
func (s *Session) Object(ctx context.Context, u *unstructured.Unstructured) ([]string, error) {
	if strings.EqualFold(u.GetAnnotations()[kustomizev1.DecryptAnnotation], meta.DisabledValue) {
		return nil, nil
	}

	values, err := sops.DecryptObject(ctx, u.Object, s)

	if errors.Is(err, sops.ErrNotEncrypted) && isSecret(u) {
		values, err = s.secretData(ctx, u)
	} else if isSecret(u) {
		values = append(values, decoded(values)...)
	}

	if err != nil && !errors.Is(err, sops.ErrNotEncrypted) {
		return nil, fmt.Errorf("decryption failed for '%s': %w", access.Of(u).ID, err)
	}

	return values, nil
}

func isSecret(u *unstructured.Unstructured) bool {
	return u.GetKind() == meta.KindSecret && u.GroupVersionKind().Group == ""
}

// secretData decrypts the data of a Secret that are encrypted files.
func (s *Session) secretData(ctx context.Context, u *unstructured.Unstructured) ([]string, error) {
	data, _ := u.Object["data"].(map[string]any)

	var all []string

	for _, key := range slices.Sorted(maps.Keys(data)) {
		encoded, _ := data[key].(string)

		content, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil {
			continue // the API server says it better
		}

		from, ok := sops.Detect(content)
		if !ok {
			continue
		}

		to := sops.FormatOf(key)

		switch {
		case from == sops.Binary && to == sops.JSON:
			from = sops.JSON // they look the same
		case from == sops.Binary, to == sops.Binary:
			to = from
		}

		c, err := sops.Decrypt(ctx, content, from, to, s)
		if errors.Is(err, sops.ErrNotEncrypted) {
			continue
		}

		if err != nil {
			return nil, fmt.Errorf("key '%s': %w", key, err)
		}

		data[key] = base64.StdEncoding.EncodeToString(c.Content)
		all = append(all, c.Values...)
	}

	return all, nil
}

// decoded returns what those values are that are base64.
func decoded(values []string) []string {
	var all []string

	for _, v := range values {
		if plain, err := base64.StdEncoding.DecodeString(v); err == nil && len(plain) > 0 {
			all = append(all, string(plain))
		}
	}

	return all
}

// Unwrap implements sops.Keys. Data keys are kept for a while, for those with the same fingerprint.
func (s *Session) Unwrap(ctx context.Context, r sops.Recipient) ([]byte, error) {
	if r.Kind == sops.Age || r.Kind == sops.PGP || s.services == nil {
		return s.join(ctx, r)
	}

	if s.asked >= maxAsking {
		return nil, fmt.Errorf("it was not asked, for other key services took longer than %s", maxAsking)
	}

	began := s.decryption.options.Now()
	defer func() { s.asked += s.decryption.options.Now().Sub(began) }()

	var key []byte

	err := s.decryption.options.Lane.Bounded(ctx, s.namespace, maxAsking-s.asked, func(ctx context.Context) (err error) {
		key, err = s.join(ctx, r)

		return err
	})

	return key, err //nolint:wrapcheck // package sops names the recipient
}

// join gets a data key, together with all who want it at this time.
func (s *Session) join(ctx context.Context, r sops.Recipient) ([]byte, error) {
	d := s.decryption

	key, release, err := d.dataKeys.Join(ctx, s.keyOf(r), d.options.Now().Add(-dataKeyAge), func(ctx context.Context) ([]byte, error) {
		return s.unwrap(ctx, r)
	})
	if err != nil {
		return nil, err //nolint:wrapcheck // package sops names the recipient
	}

	release() // it is only memory

	return slices.Clone(key), nil
}

// keyOf stands for the recipient and who asks.
func (s *Session) keyOf(r sops.Recipient) flight.Fingerprint {
	parts := []string{
		string(s.print[:]), string(r.Kind), r.Recipient, r.Fingerprint, r.ARN, r.Role, r.Profile, r.ResourceID,
		r.VaultURL, r.Name, r.Version, r.Address, r.EnginePath, r.KeyName, r.Encrypted,
	}
	for _, key := range slices.Sorted(maps.Keys(r.Context)) {
		parts = append(parts, key, r.Context[key])
	}

	return flight.FingerprintOf(parts...)
}

func (s *Session) unwrap(ctx context.Context, r sops.Recipient) ([]byte, error) {
	extension := map[sops.Kind]string{sops.Age: ageExtension, sops.PGP: pgpExtension}[r.Kind]

	switch {
	case extension != "" && !s.holds(extension):
		return nil, &sops.NoKeyError{Reason: s.without(extension)}
	case extension != "":
		key, err := s.identities.Unwrap(ctx, r)
		if _, none := errors.AsType[*sops.NoKeyError](err); none {
			return nil, &sops.NoKeyError{Reason: "no key for it in " + s.where}
		}

		return key, err
	case s.services != nil:
		return s.services.Unwrap(ctx, r) //nolint:wrapcheck // package sops names the recipient
	default:
		return nil, &sops.NoKeyError{}
	}
}

// holds tells whether the Secret has a key that ends so.
func (s *Session) holds(extension string) bool {
	for key := range s.local {
		if path.Ext(key) == extension {
			return true
		}
	}

	return false
}

func (s *Session) without(extension string) string {
	if s.local == nil {
		return s.where
	}

	return fmt.Sprintf("%s has no key that ends with '%s'", s.where, extension)
}
