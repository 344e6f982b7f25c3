package ingest_test

import (
	"archive/tar"
	"bytes"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weir-dev/weir/reconcilers/ingest"
)

func FuzzReadTar(f *testing.F) {
	plain := archive(f, entry{name: "a/b", content: "b"}, entry{name: "l", kind: tar.TypeSymlink, link: "a"})

	f.Add(plain)
	f.Add(zipped(f, plain))
	f.Add(zstandard(f, plain))
	f.Add(append(zipped(f, plain[:512]), zipped(f, plain[512:])...))
	f.Add(append(zstandard(f, plain[:512]), zstandard(f, plain[512:])...))
	f.Add(zipped(f, archive(f, entry{name: "zeros", content: strings.Repeat("\x00", 1<<20)})))
	f.Add(zstandard(f, archive(f, entry{name: "zeros", content: strings.Repeat("\x00", 1<<20)})))
	f.Add(archive(f, entry{name: "a"}, entry{name: "b", kind: tar.TypeLink, link: "a"}))
	f.Add(sparseGNU(f))
	f.Add(sparsePAX(f))
	f.Add([]byte{0x28, 0xb5, 0x2f, 0xfd})

	f.Fuzz(func(t *testing.T, raw []byte) {
		limits := ingest.Limits{Bytes: 1 << 20, FileBytes: 1 << 19, Entries: 100, Depth: 10, PathBytes: 100}

		var bytesRead int64

		got, err := ingest.ReadTar(t.Context(), bytes.NewReader(raw), limits, func(file ingest.TarFile, content io.Reader) error {
			n, err := io.Copy(io.Discard, content)
			bytesRead += n

			if err == nil && n != file.Size {
				t.Errorf("%q has %d bytes, not %d", file.Name, n, file.Size)
			}

			if strings.HasPrefix(file.Name, "/") || strings.Contains("/"+file.Name+"/", "/../") || len(file.Name) > limits.PathBytes {
				t.Errorf("got %q", file.Name)
			}

			return err
		})

		if bytesRead > limits.Bytes || err == nil && (got.Bytes != bytesRead || got.Entries > limits.Entries) {
			t.Errorf("limits do not hold: read %d bytes of %+v, %v", bytesRead, got, err)
		}
	})
}

func FuzzNames(f *testing.F) {
	for _, name := range []string{"a", "a/b", "../a", "/a", `a\..\..\b`, "a//b/.", "a/..", ".", "", "a/b/", "\x00", "é", "\xff"} {
		f.Add(name, "target")
		f.Add("link", name)
		f.Add(name, name)
	}

	f.Fuzz(func(t *testing.T, name, target string) {
		var raw bytes.Buffer

		w := tar.NewWriter(&raw)

		for _, h := range []*tar.Header{
			{Name: "first", Typeflag: tar.TypeReg, Size: 1},
			{Name: name, Typeflag: tar.TypeSymlink, Linkname: target},
			{Name: name, Typeflag: tar.TypeReg, Size: 1},
			{Name: name + "/in", Typeflag: tar.TypeReg, Size: 1},
			{Name: name + "/link", Typeflag: tar.TypeLink, Linkname: target},
		} {
			if w.WriteHeader(h) != nil {
				continue
			}

			if h.Size > 0 {
				if _, err := io.WriteString(w, "x"); err != nil {
					t.Fatal(err)
				}
			}
		}

		outer := t.TempDir()
		dir := filepath.Join(outer, "in")

		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}

		_, _ = ingest.Untar(t.Context(), &raw, dir, ingest.Limits{})

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

func FuzzRedact(f *testing.F) {
	for _, raw := range []string{
		"https://user:secret@example.com/a?token=x#y", "ssh://git@example.com:22/a", "git@example.com:a", "https://us er@x", "//a@b", "?x",
		"mailto:secret@example.com",
	} {
		f.Add(raw)
	}

	f.Fuzz(func(t *testing.T, raw string) {
		got := ingest.Redact(raw)

		u, err := url.Parse(got)
		if err != nil {
			return // not all that can be read can be read again: a space in the name of a host, say
		}

		if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
			t.Errorf("%q of %q may hold a secret", got, raw)
		}
	})
}
