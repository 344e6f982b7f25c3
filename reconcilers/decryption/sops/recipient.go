package sops

import (
	"context"
	"fmt"
	"strings"
)

// Kind says by what means a data key was encrypted.
type Kind string

// The kinds of recipients, as they are called in files.
const (
	Age          Kind = "age"
	PGP          Kind = "pgp"
	AWSKMS       Kind = "kms"
	GCPKMS       Kind = "gcp_kms"
	AzureKV      Kind = "azure_kv"
	VaultTransit Kind = "hc_vault"
)

// Recipient is somebody who can decrypt the data key of a file, and the data key encrypted to them. All but Kind and Encrypted
// is what the file says: whoever wrote it chose it, addresses included. Only the fields of its kind are set.
type Recipient struct {
	Kind Kind

	// Recipient of age.
	Recipient string

	// Fingerprint of the OpenPGP key or subkey, in hexadecimal.
	Fingerprint string

	// ARN of the key in AWS KMS, the role to assume for it, the profile and the encryption context.
	ARN, Role, Profile string
	Context            map[string]string

	// ResourceID of the key in Google Cloud KMS: projects/…/locations/…/keyRings/…/cryptoKeys/….
	ResourceID string

	// VaultURL, Name and Version of the key in Azure Key Vault.
	VaultURL, Name, Version string

	// Address of HashiCorp Vault or OpenBao, the path of its transit engine and the name of the key in it.
	Address, EnginePath, KeyName string

	// Encrypted is the data key, encrypted, as it is in the file: armored for age and PGP, base64 or base64url for the others.
	Encrypted string
}

// String names the recipient in messages: its kind and its key, nothing of the data key.
func (r Recipient) String() string { return strings.TrimSpace(string(r.Kind) + " " + r.Key()) }

// Key names the key as its service or owner knows it. It is quoted if it holds anything unusual.
func (r Recipient) Key() string {
	switch r.Kind {
	case Age:
		return plain(r.Recipient)
	case PGP:
		return plain(r.Fingerprint)
	case AWSKMS:
		return plain(r.ARN)
	case GCPKMS:
		return plain(r.ResourceID)
	case AzureKV:
		return plain(joined(r.VaultURL, "keys", r.Name, r.Version))
	case VaultTransit:
		return plain(joined(r.Address, "v1", r.EnginePath, "keys", r.KeyName))
	default:
		return ""
	}
}

func joined(base string, parts ...string) string {
	all := []string{strings.TrimRight(base, "/")}

	for _, p := range parts {
		if p = strings.Trim(p, "/"); p != "" {
			all = append(all, p)
		}
	}

	return strings.Join(all, "/")
}

// plain bounds and quotes what a file says before it gets into messages.
func plain(text string) string {
	const most = 300

	if len(text) > most {
		text = text[:most] + "…"
	}

	if q := fmt.Sprintf("%q", text); text == "" || q != `"`+text+`"` {
		return q
	}

	return text
}

// Keys decrypts data keys. Its errors say why it could not, name the key or the service and hold no secret. A *NoKeyError says
// that the recipient is somebody else.
type Keys interface {
	Unwrap(ctx context.Context, r Recipient) ([]byte, error)
}

// KeysFunc is a function as Keys.
type KeysFunc func(ctx context.Context, r Recipient) ([]byte, error)

// Unwrap implements Keys.
func (f KeysFunc) Unwrap(ctx context.Context, r Recipient) ([]byte, error) { return f(ctx, r) }

// NoKeyError says that there is no key for a recipient, or nobody to ask.
type NoKeyError struct {
	// Reason is optional.
	Reason string
}

// Error implements error.
func (e *NoKeyError) Error() string {
	if e.Reason == "" {
		return "no key for it"
	}

	return e.Reason
}
