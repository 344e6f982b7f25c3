package build

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weir-dev/weir/reconcilers/ingest"
)

func TestBadDirectories(t *testing.T) {
	const decode = "failed to decode Kubernetes YAML from "

	cases := map[string]struct {
		reason string
		want   []string
	}{
		"Duplicate": {
			reason: "No namespace and the default one are the same to the library.",
			want:   []string{"kustomize build failed", "b.yaml", "may not add resource with an already registered id: ConfigMap"},
		},
		"DuplicateClusterScoped": {
			reason: "The namespace of a cluster-scoped object does not tell it apart.",
			want:   []string{"b.yaml", "already registered id: ClusterRole"},
		},
		"NotKubernetes": {
			reason: "YAML that is not Kubernetes must be excluded at the source.",
			want:   []string{decode + "values.yaml: an object has no kind"},
		},
		"NoName":       {reason: "An object needs a name.", want: []string{decode + "a.yaml: an object of kind ConfigMap has no metadata.name"}},
		"Scalar":       {reason: "Text is not an object.", want: []string{decode + "a.yaml: ", "cannot unmarshal"}},
		"Sequence":     {reason: "A sequence is not an object.", want: []string{decode + "a.yaml: ", "cannot unmarshal"}},
		"Malformed":    {reason: "What is not YAML names the file and the line.", want: []string{decode + "a.yaml: yaml: line"}},
		"DuplicateKey": {reason: "A key that is there twice is an error.", want: []string{decode + "a.yaml: ", "already defined"}},
		"NonStringKey": {reason: "JSON has string keys only.", want: []string{decode + "a.yaml: data: a key is not a string"}},
		"BadSeparator": {reason: "Only a comment may follow a separator.", want: []string{decode + "a.yaml: invalid document separator: --- foo"}},
		"NaN":          {reason: "JSON has no NaN.", want: []string{decode + "a.yaml: data: x: unsupported number NaN"}},
		"ItemsNotList": {reason: "The items of a list are a list.", want: []string{decode + "a.yaml: items of a FooList are not a list"}},
		"AliasLoop":    {reason: "An endless alias would overflow the stack of the library.", want: []string{decode + "a.yaml: ", ingest.ErrAliasLoop.Error()}},
		"AliasBomb":    {reason: "A thousand million values must not be expanded.", want: []string{decode + "a.yaml: ", ingest.ErrAliasSize.Error()}},
		"UnknownAlias": {reason: "An alias needs an anchor.", want: []string{decode + "a.yaml: ", "unknown anchor 'd'"}},
	}

	entries, err := os.ReadDir(filepath.Join("testdata", "errors"))
	if err != nil {
		t.Fatal(err)
	}

	if got, want := len(entries), len(cases); got != want {
		t.Errorf("testdata/errors has %d cases, the table %d", got, want)
	}

	b := New(Options{})

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			dir, err := filepath.Abs(filepath.Join("testdata", "errors", name))
			if err != nil {
				t.Fatal(err)
			}

			_, err = b.Build(context.Background(), Request{Dir: dir})
			wantError(t, tc.reason, err, tc.want...)

			if _, err := throughLibrary(t, b, dir); err == nil {
				t.Errorf("%s\nthe library accepts it", tc.reason)
			}
		})
	}
}

func wantError(t *testing.T, reason string, err error, want ...string) {
	t.Helper()

	if err == nil {
		t.Fatalf("%s\nBuild(): no error, want one with %q", reason, want)
	}

	for _, w := range want {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%s\nBuild(): error %q\nlacks %q", reason, err, w)
		}
	}
}
