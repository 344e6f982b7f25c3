package kms

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// Entries of the Secret.
const (
	entryAWS   = "sops.aws-kms"
	entryAzure = "sops.azure-kv"
	entryGCP   = "sops.gcp-kms"
	entryVault = "sops.vault-token"
)

// maxEntry bounds an entry, in bytes: reading a private key cannot be stopped, and signing takes longer than anybody waits if its
// numbers are long enough.
const maxEntry = 32 << 10

// entries are what a Secret says. Nil and empty mean that it says nothing.
type entries struct {
	aws   *awsKeys
	azure *principal
	gcp   *serviceKey
	vault string
}

// readSecret reads the entries for key services, and none of the others. Errors name the entry and quote nothing of it.
func readSecret(data map[string][]byte) (e entries, err error) {
	for name, raw := range data {
		if err := e.read(name, raw); err != nil {
			return entries{}, fmt.Errorf("key %q of the decryption Secret: %w", name, err)
		}
	}

	return e, nil
}

func (e *entries) read(name string, raw []byte) (err error) {
	known := []string{entryAWS, entryAzure, entryGCP, entryVault}
	if !slices.Contains(known, name) {
		// A key that is misspelt would let somebody else's identity stand in.
		if strings.HasPrefix(name, "sops.") && !strings.HasSuffix(name, ".asc") && !strings.HasSuffix(name, ".agekey") {
			return fmt.Errorf("it is none of %s, and ends neither in .asc nor .agekey", strings.Join(known, ", "))
		}

		return nil
	}

	raw = bytes.TrimSpace(raw)

	switch {
	case len(raw) == 0:
		return errors.New("it is empty")
	case len(raw) > maxEntry:
		return fmt.Errorf("it has more than %d bytes", maxEntry)
	}

	switch name {
	case entryAWS:
		e.aws, err = readAWS(raw)
	case entryAzure:
		e.azure, err = readAzure(raw)
	case entryGCP:
		e.gcp, err = readGCP(raw)
	case entryVault:
		e.vault, err = readToken(raw)
	}

	return err
}

// fields reads a flat object of YAML or JSON, whose fields have to be among the known ones.
func fields(raw []byte, known ...string) (map[string]string, error) {
	var object map[string]any
	if yaml.Unmarshal(raw, &object) != nil || object == nil { // the error may quote it
		return nil, errors.New("it is no object of YAML or JSON")
	}

	got := map[string]string{}

	for name, value := range object {
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("it has a field that is none of %s", strings.Join(known, ", "))
		}

		switch v := value.(type) {
		case nil:
		case string:
			got[name] = strings.TrimSpace(v)
		case bool:
			got[name] = fmt.Sprint(v)
		default:
			return nil, fmt.Errorf("field %q is no text", name)
		}
	}

	return got, nil
}

// readToken reads a token, which has to fit into a header.
func readToken(raw []byte) (string, error) {
	for _, b := range raw {
		if b <= ' ' || b > '~' {
			return "", errors.New("it is no token")
		}
	}

	return string(raw), nil
}
