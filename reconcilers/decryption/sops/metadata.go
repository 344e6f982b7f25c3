package sops

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
)

const (
	metadataKey = "sops"

	maxRecipients = 256
	// maxRemote bounds the recipients that are asked over the network. The file says where they are.
	maxRemote = 32
	maxField  = 64 << 10
)

// ErrNotEncrypted says that a file has no metadata of SOPS, for errors.Is.
var ErrNotEncrypted = errors.New("no SOPS metadata")

// metadata is what a file says of itself, as far as it matters to those who decrypt it.
type metadata struct {
	// groups of recipients. Each recipient of a group can decrypt the same part of the data key.
	groups [][]Recipient
	// threshold is how many parts it takes.
	threshold int
	rules     *rules
}

func parseMetadata(m map[string]any) (*metadata, error) {
	r, err := rulesOf(m)
	if err != nil {
		return nil, err
	}

	parsed := &metadata{rules: r, threshold: 1}

	top, err := recipients(m)
	if err != nil {
		return nil, err
	}

	switch {
	case len(top) > 0:
		parsed.groups = [][]Recipient{top}
	default:
		if parsed.groups, err = groupsOf(m); err != nil {
			return nil, err
		}
	}

	if len(parsed.groups) > 1 {
		if parsed.threshold, err = threshold(m, len(parsed.groups)); err != nil {
			return nil, err
		}
	}

	return parsed, checkRecipients(parsed.groups)
}

func groupsOf(m map[string]any) ([][]Recipient, error) {
	listed, ok := m["key_groups"].([]any)
	if !ok || len(listed) == 0 {
		return nil, errors.New("it names nobody who can decrypt it")
	}

	if len(listed) > maxRecipients {
		return nil, fmt.Errorf("more than %d key groups", maxRecipients)
	}

	groups := make([][]Recipient, 0, len(listed))

	for i, item := range listed {
		fields, ok := item.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("key group %d is malformed", i)
		}

		group, err := recipients(fields)
		if err != nil {
			return nil, fmt.Errorf("key group %d: %w", i, err)
		}

		groups = append(groups, group)
	}

	return groups, nil
}

// threshold returns how many of the groups it takes. Without a number, it takes them all.
func threshold(m map[string]any, groups int) (int, error) {
	written := text(m, "shamir_threshold")
	if written == "" || written == "0" {
		return groups, nil
	}

	n, err := strconv.Atoi(written)
	if err != nil || n < 2 || n > groups {
		return 0, fmt.Errorf("shamir_threshold is not between 2 and %d, the number of key groups", groups)
	}

	return n, nil
}

func checkRecipients(groups [][]Recipient) error {
	var all, remote int

	for _, group := range groups {
		all += len(group)

		for _, r := range group {
			if !r.local() {
				remote++
			}
		}
	}

	if all > maxRecipients || remote > maxRemote {
		return fmt.Errorf("more than %d recipients, or %d key services", maxRecipients, maxRemote)
	}

	return nil
}

func (r Recipient) local() bool { return r.Kind == Age || r.Kind == PGP }

// kinds are those of recipients, those first that can be tried without asking anybody.
func kinds() []Kind {
	return []Kind{Age, PGP, AWSKMS, GCPKMS, AzureKV, VaultTransit, huaweiKMS}
}

// huaweiKMS is there only to be named: nothing decrypts for it.
const huaweiKMS Kind = "hckms"

// recipients reads the recipients of one group, the local ones first.
func recipients(m map[string]any) ([]Recipient, error) {
	var all []Recipient

	for _, kind := range kinds() {
		some, err := recipientsOf(kind, m[string(kind)])
		if err != nil {
			return nil, err
		}

		all = append(all, some...)
	}

	return all, nil
}

func recipientsOf(kind Kind, value any) ([]Recipient, error) {
	if value == nil || value == "" { // an empty list, written flat
		return nil, nil
	}

	listed, ok := value.([]any)
	if !ok {
		return nil, fmt.Errorf("%s is not a list", kind)
	}

	if len(listed) > maxRecipients {
		return nil, fmt.Errorf("more than %d recipients", maxRecipients)
	}

	all := make([]Recipient, 0, len(listed))

	for i, item := range listed {
		fields, ok := item.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("%s %d is malformed", kind, i)
		}

		r := recipient(kind, fields)
		if r.tooLong() {
			return nil, fmt.Errorf("a field of %s %d has more than %d bytes", kind, i, maxField)
		}

		all = append(all, r)
	}

	return all, nil
}

func recipient(kind Kind, m map[string]any) Recipient {
	return Recipient{
		Kind: kind, Encrypted: text(m, "enc"),
		Recipient:   text(m, "recipient"),
		Fingerprint: text(m, "fp"),
		ARN:         text(m, "arn"), Role: text(m, "role"), Profile: text(m, "aws_profile"), Context: texts(m, "context"),
		ResourceID: text(m, "resource_id"),
		VaultURL:   text(m, "vault_url"), Name: text(m, "name"), Version: text(m, "version"),
		Address: text(m, "vault_address"), EnginePath: text(m, "engine_path"), KeyName: text(m, "key_name"),
	}
}

func (r Recipient) tooLong() bool {
	long := func(s string) bool { return len(s) > maxField }
	size := 0

	for key, value := range r.Context {
		size += len(key) + len(value)
	}

	return size > maxField || slices.ContainsFunc([]string{
		r.Encrypted, r.Recipient, r.Fingerprint, r.ARN, r.Role, r.Profile, r.ResourceID, r.VaultURL, r.Name, r.Version,
		r.Address, r.EnginePath, r.KeyName,
	}, long)
}

// text returns a field as text. Files in formats without types have everything as text, and YAML takes some texts for numbers.
func text(m map[string]any, key string) string {
	switch v := m[key].(type) {
	case string:
		return v
	case int, int64, uint64, float64, bool:
		return fmt.Sprint(v)
	default:
		return ""
	}
}

func texts(m map[string]any, key string) map[string]string {
	fields, ok := m[key].(map[string]any)
	if !ok || len(fields) == 0 {
		return nil
	}

	all := make(map[string]string, len(fields))
	for k := range fields {
		all[k] = text(fields, k)
	}

	return all
}
