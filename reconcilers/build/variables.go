package build

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

const variablePattern = `^[_[:alpha:]][_[:alpha:][:digit:]]*$`

var variableName = regexp.MustCompile(variablePattern)

// Variables are what is substituted after a build. The zero value is empty and ready to use. They are not safe for
// concurrent use.
type Variables struct {
	values map[string]string
	secret map[string]bool
}

// Set gives the variable a value, without the newlines in it, and overrides an earlier one. The value of a secret
// variable never shows up in an error. An invalid name is an error.
func (v *Variables) Set(name, value string, secret bool) error {
	if !variableName.MatchString(name) {
		return fmt.Errorf("'%s' var name is invalid, must match '%s'", name, variablePattern)
	}

	if v.values == nil {
		v.values, v.secret = map[string]string{}, map[string]bool{}
	}

	v.values[name] = strings.ReplaceAll(value, "\n", "")
	v.secret[name] = secret

	return nil
}

// Len returns the number of variables.
func (v *Variables) Len() int {
	if v == nil {
		return 0
	}

	return len(v.values)
}

// Digest identifies the names and values. It is empty if there are none.
func (v *Variables) Digest() string {
	if v.Len() == 0 {
		return ""
	}

	hash := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(v.values)) {
		fmt.Fprintf(hash, "%d:%s%d:%s", len(name), name, len(v.values[name]), v.values[name])
	}

	return hex.EncodeToString(hash.Sum(nil))
}

// minSecret is the length from which on the value of a secret variable is masked: masking shorter ones would make
// messages unreadable and give the value away by the holes.
const minSecret = 3

// Redact returns the text with the values of secret variables masked, as they are and as messages write them.
func (v *Variables) Redact(text string) string {
	if v.Len() == 0 {
		return text
	}

	var secrets []string

	for name, value := range v.values {
		if v.secret[name] && len(value) >= minSecret {
			secrets = append(secrets, written(value)...)
		}
	}

	return replaced(text, secrets)
}

// hasSecrets tells whether any value must not show up.
func (v *Variables) hasSecrets() bool {
	if v == nil {
		return false
	}

	for _, secret := range v.secret {
		if secret {
			return true
		}
	}

	return false
}

func (v *Variables) get(name string) (string, bool) {
	if v == nil {
		return "", false
	}

	value, ok := v.values[name]

	return value, ok
}

// getOrEmpty returns an empty value for a variable that is not set.
func (v *Variables) getOrEmpty(name string) (string, bool) {
	value, _ := v.get(name)

	return value, true
}
