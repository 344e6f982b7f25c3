package ingest_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-dev/weir/reconcilers/ingest"
)

// entry is one entry of an archive.
type entry struct {
	name, content, link string
	kind                byte
	mode                int64
}

func archive(t testing.TB, entries ...entry) []byte {
	t.Helper()

	var b bytes.Buffer
	w := tar.NewWriter(&b)

	for _, e := range entries {
		if e.kind == 0 {
			e.kind = tar.TypeReg
		}

		if e.mode == 0 {
			e.mode = 0o644
		}

		h := &tar.Header{Name: e.name, Typeflag: e.kind, Linkname: e.link, Mode: e.mode, Size: int64(len(e.content))}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}

		if _, err := w.Write([]byte(e.content)); err != nil {
			t.Fatal(err)
		}
	}

	if err := w.Close(); err != nil {
		t.Fatal(err)
	}

	return b.Bytes()
}

func zipped(t testing.TB, content []byte) []byte {
	t.Helper()

	var b bytes.Buffer
	w := gzip.NewWriter(&b)

	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}

	if err := w.Close(); err != nil {
		t.Fatal(err)
	}

	return b.Bytes()
}

// list returns what is in the directory: "path/" of directories, "path mode content" of files, "path -> target" of links.
func list(t testing.TB, dir string) []string {
	t.Helper()

	var got []string
	err := filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if err != nil || p == dir {
			return err
		}

		rel, _ := filepath.Rel(dir, p)

		switch {
		case e.IsDir():
			got = append(got, rel+"/")
		case e.Type().IsRegular():
			info, err := e.Info()
			if err != nil {
				return err
			}

			content, err := os.ReadFile(p)
			got = append(got, fmt.Sprintf("%s %o %s", rel, info.Mode().Perm(), content))

			return err
		default:
			got = append(got, rel+" "+e.Type().String())
		}

		return nil
	})
	if err != nil {
		t.Fatal(err)
	}

	return got
}

func TestUntar(t *testing.T) {
	cases := map[string]struct {
		reason  string
		entries []entry
		want    []string
		err     string
	}{
		"FilesAndDirectories": {
			reason: "Parents need no entry of their own, and modes are reduced to what matters.",
			entries: []entry{
				{name: "./", kind: tar.TypeDir},
				{name: "./a.yaml", content: "a", mode: 0o777 &^ 0o111},
				{name: "d/e/run.sh", content: "#!", mode: 0o101},
				{name: "empty/", kind: tar.TypeDir, mode: 0o1777},
				{name: "d//e/./f", content: "f"},
			},
			want: []string{"a.yaml 600 a", "d/", "d/e/", "d/e/f 600 f", "d/e/run.sh 700 #!", "empty/"},
		},
		"LastWins": {
			reason:  "A name that comes twice means the last one.",
			entries: []entry{{name: "a", content: "first"}, {name: "a", content: "second", mode: 0o755}},
			want:    []string{"a 700 second"},
		},
		"FileOverDirectory": {
			reason:  "An empty directory gives way.",
			entries: []entry{{name: "a/", kind: tar.TypeDir}, {name: "a", content: "file"}},
			want:    []string{"a 600 file"},
		},
		"FileAsDirectory": {
			reason:  "A file is no directory.",
			entries: []entry{{name: "a", content: "file"}, {name: "a/b", content: "b"}},
			want:    []string{"a 600 file"},
			err:     "make directory",
		},
		"LinkInside": {
			reason:  "Symbolic links that stay inside are dropped.",
			entries: []entry{{name: "a", content: "a"}, {name: "d/l", kind: tar.TypeSymlink, link: "../a"}},
			want:    []string{"a 600 a"},
		},
		"HardLinkInside": {
			reason:  "A hard link is a file like any other.",
			entries: []entry{{name: "a", content: "a"}, {name: "d/l", kind: tar.TypeLink, link: "a"}},
			want:    []string{"a 600 a", "d/", "d/l 600 a"},
		},
		"Devices": {
			reason: "Devices and pipes are dropped.",
			entries: []entry{
				{name: "null", kind: tar.TypeChar}, {name: "disk", kind: tar.TypeBlock}, {name: "pipe", kind: tar.TypeFifo},
			},
		},
		"Parent": {
			reason:  "Names do not lead out.",
			entries: []entry{{name: "a/../../b", content: "b"}},
			err:     `"a/../../b": the name leads out of the tree`,
		},
		"ParentInside": {
			reason:  "Names do not even try.",
			entries: []entry{{name: "a/../b", content: "b"}},
			err:     `"a/../b": the name leads out of the tree`,
		},
		"Backslash": {
			reason:  "Names do not lead out on Windows either.",
			entries: []entry{{name: `a\..\..\b`, content: "b"}},
			err:     `the name leads out of the tree`,
		},
		"Absolute": {
			reason:  "Names are relative.",
			entries: []entry{{name: "/etc/passwd", content: "root"}},
			err:     `"/etc/passwd": the name is absolute`,
		},
		"AbsoluteLink": {
			reason:  "Symbolic links do not lead out.",
			entries: []entry{{name: "etc", kind: tar.TypeSymlink, link: "/etc"}, {name: "etc/passwd", content: "root"}},
			err:     `"etc": the symbolic link leads out of the tree: "/etc"`,
		},
		"ClimbingLink": {
			reason:  "Symbolic links do not lead out.",
			entries: []entry{{name: "d/up", kind: tar.TypeSymlink, link: "../../x"}},
			err:     `"d/up": the symbolic link leads out of the tree: "../../x"`,
		},
		"HardLinkOutside": {
			reason:  "Hard links do not lead out.",
			entries: []entry{{name: "d/l", kind: tar.TypeLink, link: "../outside"}},
			err:     `"d/l": the hard link leads out of the tree: "../outside"`,
		},
		"HardLinkToNothing": {
			reason:  "Hard links lead to what came before.",
			entries: []entry{{name: "l", kind: tar.TypeLink, link: "later"}},
			err:     `"l": the hard link leads to nothing: "later"`,
		},
		"HardLinkToItself": {
			reason:  "Hard links do not eat themselves.",
			entries: []entry{{name: "a", content: "a"}, {name: "a", kind: tar.TypeLink, link: "a"}},
			want:    []string{"a 600 a"},
			err:     `the hard link leads to nothing`,
		},
		"HardLinkOverDirectory": {
			reason: "An empty directory gives way to a link, and is there again when something comes into it.",
			entries: []entry{
				{name: "a", content: "a"}, {name: "d/", kind: tar.TypeDir}, {name: "d", kind: tar.TypeLink, link: "a"},
				{name: "d", content: "d"},
			},
			want: []string{"a 600 a", "d 600 d"},
		},
		"ThroughDroppedLink": {
			reason:  "What lies behind a dropped link is an ordinary directory.",
			entries: []entry{{name: "l", kind: tar.TypeSymlink, link: "d"}, {name: "l/f", content: "f"}},
			want:    []string{"l/", "l/f 600 f"},
		},
	}

	for name, tc := range cases {
		for _, form := range []string{"Plain", "Gzip"} {
			t.Run(name+form, func(t *testing.T) {
				outer := t.TempDir()
				dir := filepath.Join(outer, "in")
				if err := os.Mkdir(dir, 0o700); err != nil {
					t.Fatal(err)
				}

				raw := archive(t, tc.entries...)
				if form == "Gzip" {
					raw = zipped(t, raw)
				}

				_, err := ingest.Untar(t.Context(), bytes.NewReader(raw), dir, ingest.Limits{})
				if fmt.Sprint(err) == "<nil>" != (tc.err == "") || tc.err != "" && !strings.Contains(err.Error(), tc.err) {
					t.Errorf("%s\ngot:  %v\nwant: %s", tc.reason, err, tc.err)
				}

				if diff := cmp.Diff(tc.want, list(t, dir)); diff != "" {
					t.Errorf("%s\n-want +got:\n%s", tc.reason, diff)
				}

				if outside, _ := os.ReadDir(outer); len(outside) != 1 {
					t.Errorf("something was written outside: %v", outside)
				}
			})
		}
	}
}

func TestUntarLimits(t *testing.T) {
	zeros := strings.Repeat("\x00", 40<<20)

	cases := map[string]struct {
		reason  string
		limits  ingest.Limits
		entries []entry
		want    string
	}{
		"Bytes": {
			reason:  "All files together are limited.",
			limits:  ingest.Limits{Bytes: 10},
			entries: []entry{{name: "a", content: "123456"}, {name: "b", content: "123456"}},
			want:    `"b": the limit of 10 bytes in all files is exceeded`,
		},
		"File": {
			reason:  "One file is limited.",
			limits:  ingest.Limits{FileBytes: 5},
			entries: []entry{{name: "a", content: "123456"}},
			want:    `"a": the limit of 5 bytes per file is exceeded`,
		},
		"Entries": {
			reason:  "Entries are limited, dropped ones too.",
			limits:  ingest.Limits{Entries: 2},
			entries: []entry{{name: "a"}, {name: "l", kind: tar.TypeSymlink, link: "a"}, {name: "c"}},
			want:    `"c": the limit of 2 entries is exceeded`,
		},
		"ImpliedEntries": {
			reason:  "Directories that are made on the way are entries.",
			limits:  ingest.Limits{Entries: 3},
			entries: []entry{{name: "a/b/c/d"}},
			want:    `the limit of 3 entries is exceeded`,
		},
		"Depth": {
			reason:  "The depth is limited.",
			limits:  ingest.Limits{Depth: 3},
			entries: []entry{{name: "a/b/c/d"}},
			want:    `"a/b/c/d": the limit of 3 path elements is exceeded`,
		},
		"Path": {
			reason:  "The path is limited.",
			limits:  ingest.Limits{PathBytes: 3},
			entries: []entry{{name: "long"}},
			want:    `"long": the limit of 3 bytes per path is exceeded`,
		},
		"Paths": {
			reason:  "All paths together are limited, for they are held in memory.",
			limits:  ingest.Limits{Entries: 1300},
			entries: longNames(1300),
			want:    `the limit of 1256576 bytes in all paths is exceeded`,
		},
		"HardLinks": {
			reason: "A second name counts like a copy: it costs as much to read.",
			limits: ingest.Limits{Bytes: 10},
			entries: []entry{
				{name: "a", content: "1234"}, {name: "b", kind: tar.TypeLink, link: "a"}, {name: "c", kind: tar.TypeLink, link: "b"},
			},
			want: `"c": the limit of 10 bytes in all files is exceeded`,
		},
		"Ratio": {
			reason:  "What compresses too well is a bomb.",
			entries: []entry{{name: "zeros", content: zeros}},
			want:    `the limit of 200 inflated bytes per compressed byte is exceeded`,
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			raw := zipped(t, archive(t, tc.entries...))

			_, err := ingest.Untar(t.Context(), bytes.NewReader(raw), t.TempDir(), tc.limits)
			if over := (*ingest.LimitError)(nil); !errors.As(err, &over) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s\ngot:  %v\nwant: %s", tc.reason, err, tc.want)
			}
		})
	}
}

// longNames are links that are dropped, with names of a thousand bytes.
func longNames(n int) []entry {
	entries := make([]entry, 0, n)
	for i := range n {
		entries = append(entries, entry{name: fmt.Sprintf("%01000d", i), kind: tar.TypeSymlink, link: "x"})
	}

	return entries
}

func TestUntarReturnsWhatItWrote(t *testing.T) {
	raw := archive(t, entry{name: "a/b", content: "12345"}, entry{name: "c", content: "123"})

	got, err := ingest.Untar(t.Context(), bytes.NewReader(raw), t.TempDir(), ingest.Limits{})
	if err != nil {
		t.Fatal(err)
	}

	if want := (ingest.Unpacked{Bytes: 8, Entries: 3}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestUntarEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()

	_, err := ingest.Untar(ctx, bytes.NewReader(archive(t, entry{name: "a"})), t.TempDir(), ingest.Limits{})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("unexpected error: %v", err)
	}
}

func FuzzUntar(f *testing.F) {
	f.Add(archive(f, entry{name: "a/b", content: "b"}, entry{name: "l", kind: tar.TypeSymlink, link: "../x"}))
	f.Add(archive(f, entry{name: "a", content: "a"}, entry{name: "l", kind: tar.TypeLink, link: "a"}))
	f.Add(archive(f, entry{name: "../x", content: "x"}))
	f.Add(zipped(f, archive(f, entry{name: "a", content: strings.Repeat("x", 1000)})))
	f.Add([]byte{0x1f, 0x8b})
	f.Add([]byte("no archive"))

	f.Fuzz(func(t *testing.T, raw []byte) {
		outer := t.TempDir()
		dir := filepath.Join(outer, "in")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}

		limits := ingest.Limits{Bytes: 1 << 20, FileBytes: 1 << 19, Entries: 100, Depth: 10, PathBytes: 100}
		got, _ := ingest.Untar(t.Context(), bytes.NewReader(raw), dir, limits)

		if got.Bytes > limits.Bytes || got.Entries > limits.Entries {
			t.Errorf("limits do not hold: %+v", got)
		}

		if outside, _ := os.ReadDir(outer); len(outside) != 1 {
			t.Errorf("something was written outside: %v", outside)
		}

		err := filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
			if err == nil && !e.IsDir() && !e.Type().IsRegular() {
				t.Errorf("%q is %s", p, e.Type())
			}

			return err
		})
		if err != nil {
			t.Error(err)
		}
	})
}
