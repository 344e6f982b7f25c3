package meta_test

import (
	"testing"

	"github.com/weir-dev/weir/api/meta"
)

func TestMarks(t *testing.T) {
	cases := map[string]struct {
		reason   string
		marks    map[string]string
		disabled bool
		enabled  bool
	}{
		"None":     {reason: "A mark that is missing says nothing."},
		"Other":    {reason: "The mark of another key says nothing.", marks: map[string]string{"b": "disabled"}},
		"Unknown":  {reason: "Another value says nothing.", marks: map[string]string{"a": "false"}},
		"Disabled": {reason: "The case does not matter.", marks: map[string]string{"a": "Disabled"}, disabled: true},
		"Enabled":  {reason: "The case does not matter.", marks: map[string]string{"a": "ENABLED"}, enabled: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := meta.Disabled(tc.marks, "a"); got != tc.disabled {
				t.Errorf("%s\ndisabled is %v, want %v", tc.reason, got, tc.disabled)
			}

			if got := meta.Enabled(tc.marks, "a"); got != tc.enabled {
				t.Errorf("%s\nenabled is %v, want %v", tc.reason, got, tc.enabled)
			}
		})
	}
}

func TestArtifact(t *testing.T) {
	var none *meta.Artifact
	if none.HasRevision("") || none.HasDigest("") {
		t.Error("an artifact that does not exist has a revision or digest")
	}

	artifact := &meta.Artifact{Revision: "main@sha1:1", Digest: "sha256:2"}
	if !artifact.HasRevision("main@sha1:1") || artifact.HasRevision("main@sha1:2") {
		t.Error("an artifact has another revision than its own")
	}

	if !artifact.HasDigest("sha256:2") || artifact.HasDigest("sha256:1") {
		t.Error("an artifact has another digest than its own")
	}
}

func TestValuesKey(t *testing.T) {
	for set, want := range map[string]string{"": "values.yaml", "prod.yaml": "prod.yaml"} {
		if got := (&meta.ValuesReference{ValuesKey: set}).GetValuesKey(); got != want {
			t.Errorf("key %q means %q, want %q", set, got, want)
		}
	}
}
