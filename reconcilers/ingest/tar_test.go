package ingest_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"github.com/weir-dev/weir/reconcilers/ingest"
)

// zstandard compresses with zstd.
func zstandard(t testing.TB, content []byte, o ...zstd.EOption) []byte {
	t.Helper()

	w, err := zstd.NewWriter(nil, append(o, zstd.WithEncoderConcurrency(1))...)
	if err != nil {
		t.Fatal(err)
	}

	return w.EncodeAll(content, nil)
}

// patched returns the archive with its first header changed.
func patched(archive []byte, change func(header []byte)) []byte {
	archive = bytes.Clone(archive)
	header := archive[:512]
	change(header)

	copy(header[148:156], "        ") // of the sum itself

	sum := 0
	for _, b := range header {
		sum += int(b)
	}

	copy(header[148:156], fmt.Sprintf("%06o\x00 ", sum))

	return archive
}

// sparseGNU returns an archive of one file, a GiB of which is a hole.
func sparseGNU(t testing.TB) []byte {
	t.Helper()

	return patched(archive(t, entry{name: "hole", content: "data"}), func(h []byte) {
		h[156] = tar.TypeGNUSparse
		copy(h[257:265], "ustar  \x00")
		clear(h[345:500])
		copy(h[386:], "00000000000\x0000000000004\x00") // four bytes at the start
		copy(h[483:], "10000000000\x00")                // of a GiB
	})
}

// sparsePAX returns another one, as GNU tar writes it today.
func sparsePAX(t testing.TB) []byte {
	t.Helper()

	records := pax("GNU.sparse.major", "1") + pax("GNU.sparse.minor", "0") + pax("GNU.sparse.name", "hole") +
		pax("GNU.sparse.realsize", "1073741824")

	header := patched(archive(t, entry{name: "PaxHeaders/hole", content: records}),
		func(h []byte) { h[156] = tar.TypeXHeader })

	data := "1\n0\n4\n" // one piece, of four bytes at the start
	data += strings.Repeat("\x00", 512-len(data)) + "data"

	return append(header[:1024], archive(t, entry{name: "GNUSparseFile.0/hole", content: data})...)
}

// pax returns a record of an extended header.
func pax(key, value string) string {
	rest := " " + key + "=" + value + "\n"

	size := len(rest)
	for size != len(rest)+len(fmt.Sprint(size)) {
		size = len(rest) + len(fmt.Sprint(size))
	}

	return fmt.Sprint(size) + rest
}

func TestReadTarForms(t *testing.T) {
	failed := errors.New("failed")
	plain := archive(t,
		entry{name: "./", kind: tar.TypeDir},
		entry{name: "chart/", kind: tar.TypeDir},
		entry{name: "./chart/Chart.yaml", content: "name: chart"},
		entry{name: "chart/link", kind: tar.TypeSymlink, link: "Chart.yaml"},
		entry{name: "chart/run.sh", content: "#!", mode: 0o755},
		entry{name: "chart/Chart.yaml", content: "again"},
	)
	want := []string{"chart/Chart.yaml 11 false name: chart", "chart/run.sh 2 true #!", "chart/Chart.yaml 5 false again"}
	half := len(plain) / 2

	cases := map[string]struct {
		reason string
		raw    []byte
		limits ingest.Limits
		fail   bool
		want   []string
		err    string
	}{
		"Plain": {reason: "The files come in order.", raw: plain, want: want},
		"Gzip":  {reason: "Gzip is unpacked.", raw: zipped(t, plain), want: want},
		"Zstd":  {reason: "Zstd is unpacked.", raw: zstandard(t, plain), want: want},
		"GzipMembers": {
			reason: "Several gzip streams are one.",
			raw:    append(append(zipped(t, plain[:half]), zipped(t, nil)...), zipped(t, plain[half:])...), want: want,
		},
		"ZstdFrames": {
			reason: "Several zstd streams are one.",
			raw:    append(zstandard(t, plain[:half]), zstandard(t, plain[half:])...), want: want,
		},
		"Failure": {reason: "The error of the function ends it.", raw: plain, fail: true, want: want[:1], err: "failed"},
		"SparseGNU": {
			reason: "Holes would cost nothing in the archive, and all outside.", raw: sparseGNU(t),
			err: `"hole": sparse files are not supported`,
		},
		"SparsePAX": {
			reason: "Holes would cost nothing in the archive, and all outside.", raw: sparsePAX(t),
			err: `"hole": sparse files are not supported`,
		},
		"ZstdBomb": {
			reason: "What compresses too well is a bomb.",
			raw:    zstandard(t, archive(t, entry{name: "zeros", content: strings.Repeat("\x00", 40<<20)})),
			err:    "the limit of 200 inflated bytes per compressed byte is exceeded", want: []string{"zeros 41943040 false "},
		},
		"ZstdWindow": {
			reason: "A stream that wants a lot of memory does not get it.",
			raw: zstandard(t, archive(t, entry{name: "a", content: strings.Repeat("x", 20<<20)}),
				zstd.WithWindowSize(16<<20), zstd.WithSingleSegment(false)),
			err: "window size exceeded",
		},
		"HugeHeader": {
			reason: "What describes an entry is bounded as well.",
			raw: append(patched(archive(t, entry{name: "x", content: strings.Repeat("x", 2<<20)}),
				func(h []byte) { h[156] = tar.TypeXHeader }), plain...),
			err: "read archive: archive/tar: header field too long",
		},
		"ManyHeaders": {
			reason: "And so are headers that describe nothing.",
			raw: bytes.Repeat(patched(archive(t, entry{name: "x", content: pax("comment", strings.Repeat("x", 900<<10))}),
				func(h []byte) { h[156] = tar.TypeXHeader })[:512+(900<<10)+512], 40),
			limits: ingest.Limits{Bytes: 1 << 20, Entries: 10},
			err:    "bytes in all files is exceeded",
		},
		"ZstdBroken": {reason: "What is no stream is an error.", raw: []byte("\x28\xb5\x2f\xfd"), err: "read archive"},
		"Raw": {
			reason: "What does not come to an end is given up.",
			raw:    bytes.Repeat(zipped(t, nil), 33<<20/len(zipped(t, nil))+1),
			limits: ingest.Limits{Bytes: 1 << 10, Entries: 1},
			err:    "bytes per archive is exceeded",
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var got []string

			_, err := ingest.ReadTar(t.Context(), bytes.NewReader(tc.raw), tc.limits,
				func(f ingest.TarFile, content io.Reader) error {
					got = append(got, fmt.Sprint(f.Name, " ", f.Size, " ", f.Executable, " "))
					if f.Name == "zeros" {
						return nil
					}

					b, err := io.ReadAll(content)
					got[len(got)-1] += string(b)

					if tc.fail {
						err = failed
					}

					return err
				})
			if (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
				t.Errorf("%s\ngot:  %v\nwant: %s", tc.reason, err, tc.err)
			}

			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s\n-want +got:\n%s", tc.reason, diff)
			}
		})
	}
}
