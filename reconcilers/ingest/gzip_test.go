package ingest_test

import (
	"bytes"
	"testing"

	"github.com/weir-dev/weir/reconcilers/ingest"
)

func TestGunzip(t *testing.T) {
	zip := func(content string) []byte {
		out, err := ingest.Gzip([]byte(content))
		if err != nil {
			t.Fatal(err)
		}

		return out
	}
	whole := zip("manifests")

	cases := map[string]struct {
		reason  string
		content []byte
		most    int64
		want    string
		err     bool
	}{
		"Whole":     {"What was compressed comes back.", whole, 9, "manifests", false},
		"Empty":     {"Nothing is something that can be compressed.", zip(""), 9, "", false},
		"Large":     {"More than is asked for is refused.", whole, 8, "", true},
		"Bomb":      {"So is much more, whatever its size.", zip(string(bytes.Repeat([]byte{0}, 64<<20))), 1 << 20, "", true},
		"Truncated": {"A part of it is no content.", whole[:len(whole)-4], 9, "", true},
		"Plain":     {"What is not compressed is not taken for what it holds.", []byte("manifests"), 9, "", true},
		"Nothing":   {"Nothing is no gzip.", nil, 9, "", true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := ingest.Gunzip(tc.content, tc.most)
			if string(got) != tc.want || (err != nil) != tc.err {
				t.Errorf("%s: got %q, error %v", tc.reason, got, err)
			}
		})
	}
}

func TestSqueeze(t *testing.T) {
	content := bytes.Repeat([]byte("a line of a manifest, and then another one\nwhich is like it: "), 1000)

	out, err := ingest.Squeeze(content)
	if err != nil {
		t.Fatal(err)
	}

	if got, err := ingest.Gunzip(out, int64(len(content))); err != nil || !bytes.Equal(got, content) {
		t.Errorf("what was squeezed comes back: %v", err)
	}
}
