package build

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// TestMaskKnowsHowMessagesWrite holds that what was decrypted is found in messages in each of the ways in which they write it.
func TestMaskKnowsHowMessagesWrite(t *testing.T) {
	t.Parallel()

	const odd = "it's <hot> & \"so\"\x01 \\ on"

	inJSON, err := json.Marshal(map[string][]string{"a": {odd}})
	if err != nil {
		t.Fatal(err)
	}

	inYAML, _ := yaml.Marshal(map[string]string{"a": "it's: <hot>"})
	long := strings.Repeat("abcdefgh", 1000)
	pem := "-----BEGIN KEY-----\n" + strings.Repeat("MIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n", 200) + "-----END KEY-----\n"

	for name, c := range map[string]struct {
		reason string
		values []string
		text   string
		want   string
	}{
		"AsItIs":  {"as it is", []string{odd}, "a " + odd + " b", "a ***** b"},
		"Go":      {"in quotes of Go", []string{odd}, fmt.Sprintf("a %q b", odd), `a "*****" b`},
		"JSON":    {"in JSON, as plans write it", []string{odd}, string(inJSON), `{"a":["*****"]}`},
		"YAML":    {"in quotes of YAML", []string{"it's: <hot>"}, string(inYAML), "a: '*****'\n"},
		"Base64":  {"as Secrets have it", []string{odd}, "data: " + base64.StdEncoding.EncodeToString([]byte(odd)), "data: *****"},
		"Lines":   {"line by line", []string{"first\nsecond"}, `"first\nsecond" first`, `"*****\n*****" *****`},
		"Longest": {"nothing shows because part of it was masked", []string{"abc", "abcdef"}, "abcdef abc", "***** *****"},
		"Long":    {"a long line from its beginning on", []string{long}, "x: " + long[:700] + "\ny: " + long + "\nz", "x: *****\ny: *****\nz"},
		"Key":     {"more than some kilobytes in short lines", []string{pem}, pem, strings.Repeat("*****\n", 202)},
		"Bytes":   {"what is no text has one form", []string{"\xff\xfe\xfd"}, base64.StdEncoding.EncodeToString([]byte("\xff\xfe\xfd")), "*****"},
		"Short":   {"short values would be told by the holes", []string{"ab"}, "ab", "ab"},
		"Many":    {"what is too much to look for hides all", []string{manyLines()}, "x", hidden},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			m := &Mask{}
			m.Add(c.values...)

			if got := m.Hide(c.text); got != c.want {
				t.Errorf("%s: %q is shown as %q, want %q", c.reason, c.text, got, c.want)
			}
		})
	}
}

// TestMaskInLongTexts holds that a plan of many pages is masked as a short message is.
func TestMaskInLongTexts(t *testing.T) {
	t.Parallel()

	m := &Mask{}
	m.Add("abc", "abcdef", "zzz")

	if got, want := m.Hide(strings.Repeat("abcdef abc-", 20_000)), strings.Repeat("***** *****-", 20_000); got != want {
		t.Errorf("a long text is shown as %q…", got[:min(len(got), 100)])
	}
}

// TestLongErrorsAreMaskedBeforeTheyAreCut holds that the rest of a value that was cut does not show.
func TestLongErrorsAreMaskedBeforeTheyAreCut(t *testing.T) {
	t.Parallel()

	m := &Mask{}
	m.Add("correct-horse-battery-staple")

	for shift := range 30 {
		err := &pathError{errors.New(strings.Repeat("x", shift) + strings.Repeat("correct-horse-battery-staple ", 1000)), m}
		if text := err.Error(); strings.Contains(text, "horse") || strings.Contains(text, "ple ") {
			t.Fatalf("%d: shown is %q", shift, text)
		}
	}
}

func manyLines() string {
	var text strings.Builder
	for i := range maxMasked + 1 {
		fmt.Fprintln(&text, "line", i)
	}

	return text.String()
}

// TestSubstitutionQuotesNothingDecrypted holds that what a parser quotes of an object does not show, which is not a whole value.
func TestSubstitutionQuotesNothingDecrypted(t *testing.T) {
	t.Parallel()

	v := variablesOf(t, variable{"none", "", false})

	for name, c := range map[string]struct {
		reason    string
		decrypted []string
		want      string
	}{
		"Open":   {"what is not secret helps", nil, "post build failed for 'ConfigMap.v1.[noGrp]/a': the result is not a YAML object: yaml: unknown anchor 'hunter2' referenced"},
		"Secret": {"else it is left out", []string{"${none}*hunter2"}, "post build failed for 'ConfigMap.v1.[noGrp]/a': the result is not a YAML object"},
	} {
		m := &Mask{}
		m.Add(c.decrypted...)

		objects := []*unstructured.Unstructured{{Object: map[string]any{
			"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "a"}, "data": map[string]any{"key": "${none}*hunter2"},
		}}}

		err := m.quiet(substitute(t.Context(), objects, v, false))
		if err == nil || err.Error() != c.want {
			t.Errorf("%s: %s: error is %v, want %q", name, c.reason, err, c.want)
		}
	}
}
