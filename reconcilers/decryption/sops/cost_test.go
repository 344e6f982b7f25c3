package sops_test

import (
	"context"
	"strings"
	"testing"

	"github.com/weir-dev/weir/reconcilers/decryption/sops"
)

// TestRulesAndPathsAreBounded holds that nobody who may write a file keeps a worker busy for hours with it: what nothing can stop
// is refused before.
func TestRulesAndPathsAreBounded(t *testing.T) {
	k := sops.KeysFunc(func(context.Context, sops.Recipient) ([]byte, error) { return make([]byte, 32), nil })

	rule := func(field, pattern string) string {
		return "\nsops: {" + field + ": '" + pattern + "', age: [{enc: x}]}\n"
	}

	const small, large = "^(a?){900}b$", "^(a?){999}(a?){999}(a?){999}(a?){999}(a?){999}(a?){999}(a?){999}b$"

	for name, c := range map[string]struct {
		reason, file, want string
	}{
		"Repetitions": {"a short rule may stand for a long one", "a: x" + rule("encrypted_regex", large), "encrypted_regex costs too much"},
		"Comments":    {"in a rule for comments, too", "a: x" + rule("encrypted_comment_regex", large), "encrypted_comment_regex costs too much"},
		"Matching":    {"each key is matched", "? " + strings.Repeat("a", 200<<10) + "\n: x" + rule("encrypted_regex", small), "it costs too much to match"},
		"OnlyKeys": {
			"also where there is no value", "? " + strings.Repeat("a", 200<<10) + "\n: []" + rule("encrypted_regex", small), "it costs too much to match",
		},
		"MatchingComments": {
			"and each comment", "#" + strings.Repeat("a", 200<<10) + "\na: x" + rule("encrypted_comment_regex", small), "it costs too much to match",
		},
		"LongPath": {
			"each value is authenticated with the keys above it",
			"? " + strings.Repeat("a", 20<<10) + "\n: {b: {}}" + rule("encrypted_regex", "x"), "the keys that lead to a value have more than 16384 bytes",
		},
		"Usual": {
			"what people write passes", "data: {a: {b: x}}" + rule("unencrypted_regex", "^(apiVersion|kind|metadata|data|type|immutable|[a-z.]{1,100})$"), "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := sops.Decrypt(t.Context(), []byte(c.file), sops.YAML, sops.YAML, k)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%s: error is %v, want %q", c.reason, err, c.want)
			}
		})
	}
}

// TestObjectsAreBounded holds that for objects.
func TestObjectsAreBounded(t *testing.T) {
	k := sops.KeysFunc(func(context.Context, sops.Recipient) ([]byte, error) { return make([]byte, 32), nil })

	for name, c := range map[string]struct {
		key   string
		value any
		want  string
	}{
		"Matching": {strings.Repeat("a", 200<<10), []any{}, "it costs too much to match"},
		"LongPath": {"x" + strings.Repeat("b", 20<<10), map[string]any{}, "the keys that lead to a value have more than 16384 bytes"},
	} {
		_, err := sops.DecryptObject(t.Context(), map[string]any{
			c.key: c.value,
			"sops": map[string]any{
				"encrypted_regex": "^(a?){900}b$", "age": []any{map[string]any{"enc": "x"}},
			},
		}, k)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error is %v, want %q", name, err, c.want)
		}
	}
}
