package source_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-dev/weir/reconcilers/artifact"
	"github.com/weir-dev/weir/reconcilers/source"
)

// tree writes files into a new directory. A name that ends in ! is executable, one with an arrow a symbolic link.
func tree(t *testing.T, files ...string) string {
	t.Helper()

	dir := t.TempDir()

	for _, f := range files {
		name, content, _ := strings.Cut(f, "=")
		link, to, isLink := strings.Cut(name, "->")
		mode := os.FileMode(0o600)

		if rest, ok := strings.CutSuffix(name, "!"); ok {
			name, mode = rest, 0o700
		}

		full := filepath.Join(dir, link)
		if !isLink {
			full = filepath.Join(dir, name)
		}

		if err := os.MkdirAll(filepath.Dir(full), 0o700); err != nil {
			t.Fatal(err)
		}

		write := func() error { return os.WriteFile(full, []byte(content), mode) }
		if isLink {
			write = func() error { return os.Symlink(to, full) }
		}

		if err := write(); err != nil {
			t.Fatal(err)
		}
	}

	return dir
}

func newStore(t *testing.T) *artifact.Store {
	t.Helper()

	s, err := artifact.NewStore(artifact.StoreOptions{Root: t.TempDir(), Address: "here"})
	if err != nil {
		t.Fatal(err)
	}

	return s
}

// names lists an archive.
func names(t *testing.T, content artifact.Content) (names []string, raw []byte) {
	t.Helper()

	var out bytes.Buffer
	if err := content(&out); err != nil {
		t.Fatal(err)
	}

	raw = bytes.Clone(out.Bytes())

	zip, err := gzip.NewReader(&out)
	if err != nil {
		t.Fatal(err)
	}

	for r := tar.NewReader(zip); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return names, raw
		}

		if err != nil {
			t.Fatal(err)
		}

		name := h.Name
		if h.Typeflag == tar.TypeReg && h.Mode == 0o700 {
			name += "!"
		}

		names = append(names, name)
	}
}

func TestArchive(t *testing.T) {
	files := []string{
		"app/deployment.yaml=a", "app/run.sh!=b", "app/logo.png=c", ".git/config=d", "docs/readme.md=e", "link->app", "zero=",
	}

	cases := map[string]struct {
		reason string
		more   []string
		spec   *string
		bare   bool
		want   []string
	}{
		"Defaults": {
			reason: "without rules, Git's own files and pictures are left out; links never come along",
			want:   []string{"app/", "app/deployment.yaml", "app/run.sh!", "docs/", "docs/readme.md", "zero"},
		},
		"Spec": {
			reason: "rules of the object take the place of the default ones, but for Git's own files",
			spec:   new("/docs\n"),
			want:   []string{"app/", "app/deployment.yaml", "app/logo.png", "app/run.sh!", "zero"},
		},
		"Files": {
			reason: "rules in a file hold in its directory, and the object has the last word",
			more:   []string{"app/.sourceignore=*.yaml\n*.sh\n", ".sourceignore=zero\n"},
			spec:   new("!app/run.sh\n"),
			want:   []string{".sourceignore", "app/", "app/.sourceignore", "app/logo.png", "app/run.sh!", "docs/", "docs/readme.md"},
		},
		"AllowList": {
			reason: "all is left out but what is taken in again",
			spec:   new("/*\n!/docs\n"),
			want:   []string{"docs/", "docs/readme.md"},
		},
		"Bare": {
			reason: "a bucket has no rules but those that somebody wrote",
			bare:   true,
			want: []string{
				".git/", ".git/config", "app/", "app/deployment.yaml", "app/logo.png", "app/run.sh!", "docs/", "docs/readme.md", "zero",
			},
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			dir, again := tree(t, append(files, tc.more...)...), tree(t, append(tc.more, files...)...)

			rules, err := source.ReadRules(t.Context(), dir, tc.spec)
			if err != nil {
				t.Fatal(err)
			}

			r := rules.Tree()
			if tc.bare {
				r = rules.Bare()
			}

			store := newStore(t)

			got, raw := names(t, source.Archive(t.Context(), store, dir, r))
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
			}

			if _, same := names(t, source.Archive(t.Context(), store, again, r)); !bytes.Equal(raw, same) {
				t.Error("the same files give other bytes")
			}
		})
	}
}

func TestArchiveFails(t *testing.T) {
	dir := tree(t, "a=1")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()

	if err := source.Archive(ctx, newStore(t), dir, source.Rules{})(io.Discard); !errors.Is(err, context.Canceled) {
		t.Errorf("an archive that nobody wants any more: %v", err)
	}

	big := tree(t, ".sourceignore=#"+strings.Repeat("#", 1<<20-1), "a/.sourceignore=x")
	if _, err := source.ReadRules(t.Context(), big, nil); err == nil || !strings.Contains(err.Error(), `"a/.sourceignore": the files of ignore rules have more than 1048576 bytes`) {
		t.Errorf("too large rules: %v", err)
	}

	many := strings.Repeat("a\n", 10_001)
	for name, want := range map[string]string{
		"spec": "spec.ignore: there are more than 10000 ignore rules, or lines of them",
		"file": `"b/.sourceignore": there are more than 10000 ignore rules, or lines of them`,
	} {
		dir, spec := tree(t, "b/.sourceignore="+many), (*string)(nil)
		if name == "spec" {
			dir, spec = tree(t, "a=1"), &many
		}

		if _, err := source.ReadRules(t.Context(), dir, spec); err == nil || err.Error() != want {
			t.Errorf("too many rules in the %s: %v", name, err)
		}
	}
}
