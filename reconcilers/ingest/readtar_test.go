package ingest_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-dev/weir/reconcilers/ingest"
)

func TestReadTar(t *testing.T) {
	type want struct {
		files []string
		err   string
	}

	cases := map[string]struct {
		reason  string
		entries []entry
		limits  ingest.Limits
		want    want
	}{
		"Files": {
			reason: "Files come in their order, with clean names; directories and links that stay inside do not.",
			entries: []entry{
				{name: "./b/x", content: "bx"}, {name: "a", content: "run", mode: 0o755}, {name: "d/", kind: tar.TypeDir},
				{name: "l", kind: tar.TypeSymlink, link: "a"}, {name: "a", content: "again"},
			},
			want: want{files: []string{"b/x false bx", "a true run", "a false again"}},
		},
		"Escape": {
			reason:  "A name that leads out of the tree is refused.",
			entries: []entry{{name: "c/../../x", content: "x"}},
			want:    want{err: `"c/../../x": the name leads out of the tree`},
		},
		"SymbolicLinkOut": {
			reason:  "So is a link that does.",
			entries: []entry{{name: "c/l", kind: tar.TypeSymlink, link: "../../etc"}},
			want:    want{err: `"c/l": the symbolic link leads out of the tree: "../../etc"`},
		},
		"HardLink": {
			reason:  "Nothing is there any more for a hard link to lead to.",
			entries: []entry{{name: "a", content: "x"}, {name: "b", kind: tar.TypeLink, link: "a"}},
			want:    want{files: []string{"a false x"}, err: `"b": the archive holds a hard link: "a"`},
		},
		"LargeFile": {
			reason:  "A file over the limit is refused before it is read.",
			entries: []entry{{name: "a", content: "12345"}},
			limits:  ingest.Limits{FileBytes: 4},
			want:    want{err: `"a": the limit of 4 bytes per file is exceeded`},
		},
		"LargeTree": {
			reason:  "So are too many bytes in all.",
			entries: []entry{{name: "a", content: "12345"}, {name: "b", content: "12345"}},
			limits:  ingest.Limits{Bytes: 9},
			want:    want{files: []string{"a false 12345"}, err: `"b": the limit of 9 bytes in all files is exceeded`},
		},
		"ManyEntries": {
			reason:  "And too many entries.",
			entries: []entry{{name: "a"}, {name: "b/", kind: tar.TypeDir}, {name: "c"}},
			limits:  ingest.Limits{Entries: 2},
			want:    want{files: []string{"a false "}, err: `"c": the limit of 2 entries is exceeded`},
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			for kind, raw := range map[string][]byte{
				"plain": archive(t, tc.entries...), "zipped": zipped(t, archive(t, tc.entries...)),
			} {
				var got want

				_, err := ingest.ReadTar(t.Context(), bytes.NewReader(raw), tc.limits,
					func(f ingest.TarFile, r io.Reader) error {
						content, err := io.ReadAll(r)
						got.files = append(got.files, fmt.Sprintf("%s %t %s", f.Name, f.Executable, content))

						return err
					})
				if err != nil {
					got.err = err.Error()
				}

				if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(want{})); diff != "" {
					t.Errorf("%s\n%s: -want, +got:\n%s", tc.reason, kind, diff)
				}
			}
		})
	}
}

func TestReadTarStops(t *testing.T) {
	raw := zipped(t, archive(t, entry{name: "a", content: strings.Repeat("\x00", 40<<20)}))
	count := func(_ ingest.TarFile, r io.Reader) error {
		_, err := io.Copy(io.Discard, r)

		return err
	}

	_, err := ingest.ReadTar(t.Context(), bytes.NewReader(raw), ingest.Limits{}, count)
	if _, ok := errors.AsType[*ingest.LimitError](err); !ok {
		t.Errorf("a bomb: %v", err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()

	if _, err := ingest.ReadTar(ctx, bytes.NewReader(raw), ingest.Limits{}, count); !errors.Is(err, context.Canceled) {
		t.Errorf("a context that ended: %v", err)
	}
}
