package ingest_test

import (
	"bytes"
	"compress/zlib"
	"crypto/sha1" //nolint:gosec // Git's
	"fmt"
	"io"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/google/go-cmp/cmp"

	"github.com/weir-dev/weir/reconcilers/ingest"
	"github.com/weir-dev/weir/test/gitserver"
)

// history makes a repository with many versions of files, small and large, so that its pack has chains of deltas.
func history(t *testing.T) *gitserver.Repository {
	t.Helper()

	r := newRepository(t)
	random := rand.New(rand.NewPCG(1, 2))

	large := make([]byte, 4<<20+1) // larger than what is held in memory
	for i := range large {
		large[i] = byte(random.UintN(256))
	}

	var small strings.Builder
	for i := range 2000 {
		fmt.Fprintf(&small, "line %d: %d\n", i, random.Uint64())
	}

	for i := range 30 {
		c := gitserver.Change{Files: map[string]string{
			"dir/small.txt":                small.String() + fmt.Sprintf("version %d\n", i),
			fmt.Sprintf("dir/%d/a.txt", i): fmt.Sprint(i),
		}}
		if i%15 == 0 {
			copy(large[i*1000:], fmt.Sprintf("version %d", i))
			c.Files["large.bin"] = string(large)
		}

		commit(t, r, c)
	}

	if err := r.Tag(t.Context(), "v1", "main", "Annotated"); err != nil {
		t.Fatal(err)
	}

	return r
}

func newRepository(t *testing.T) *gitserver.Repository {
	t.Helper()

	all, err := gitserver.NewRepositories(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}

	r, err := all.Create(t.Context(), "r")
	if err != nil {
		t.Fatal(err)
	}

	return r
}

func commit(t *testing.T, r *gitserver.Repository, c gitserver.Change) plumbing.Hash {
	t.Helper()

	hash, err := r.Commit(t.Context(), "main", "Change files", c)
	if err != nil {
		t.Fatal(err)
	}

	return plumbing.NewHash(hash)
}

// pack makes a pack of all objects of the repository.
func pack(t *testing.T, r *gitserver.Repository, args ...string) []byte {
	t.Helper()

	args = append([]string{"-C", r.Dir, "pack-objects", "--all", "--stdout", "--quiet", "--no-reuse-delta"}, args...)

	out, err := exec.CommandContext(t.Context(), "git", args...).Output()
	if err != nil {
		t.Fatal(err)
	}

	return out
}

func git(t *testing.T, r *gitserver.Repository, args ...string) string {
	t.Helper()

	out, err := r.Git(t.Context(), args...)
	if err != nil {
		t.Fatal(err)
	}

	return out
}

func TestReadPack(t *testing.T) {
	r := history(t)
	head := plumbing.NewHash(git(t, r, "rev-parse", "main"))

	cases := map[string]struct {
		reason string
		args   []string
	}{
		"OffsetDeltas": {reason: "Bases of deltas may be given by offset.", args: []string{"--delta-base-offset"}},
		"RefDeltas":    {reason: "Bases of deltas may be given by hash."},
		"NoDeltas":     {reason: "Objects may be whole.", args: []string{"--depth=0"}},
		"LongChains":   {reason: "Chains may be long.", args: []string{"--delta-base-offset", "--depth=500", "--window=20"}},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			raw := pack(t, r, tc.args...)

			p, err := ingest.ReadPack(t.Context(), bytes.NewReader(raw), t.TempDir(), head, ingest.PackLimits{})
			if err != nil {
				t.Fatalf("%s\n%v", tc.reason, err)
			}
			defer p.Close()

			// Every blob that git knows comes out with the content that its hash stands for.
			var blobs int
			for line := range strings.Lines(git(t, r, "cat-file", "--batch-check", "--batch-all-objects")) {
				hash, rest, _ := strings.Cut(line, " ")
				if !p.Has(plumbing.NewHash(hash)) {
					t.Fatalf("object %s is missing", hash)
				}

				if strings.HasPrefix(rest, "blob") {
					blobs++
					checkBlob(t, p, hash)
				}
			}

			if blobs < 60 {
				t.Errorf("only %d blobs", blobs)
			}

			tag := plumbing.NewHash(git(t, r, "rev-parse", "v1"))
			if c, err := p.Commit(t.Context(), tag); err != nil || c.Hash != head || c.Message != "Change files" {
				t.Errorf("commit of the tag: %v, %v", c, err)
			}
		})
	}
}

func checkBlob(t *testing.T, p *ingest.Pack, hash string) {
	t.Helper()

	h := plumbing.NewHash(hash)

	size, err := p.Size(h)
	if err != nil {
		t.Fatal(err)
	}

	in, err := p.Open(t.Context(), h)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()

	sum := sha1.New() //nolint:gosec // Git's
	fmt.Fprintf(sum, "blob %d\x00", size)

	if n, err := io.Copy(sum, in); err != nil || n != size {
		t.Fatalf("blob %s: %d of %d bytes: %v", hash, n, size, err)
	}

	if got := fmt.Sprintf("%x", sum.Sum(nil)); got != hash {
		t.Fatalf("blob %s has the content of %s", hash, got)
	}
}

func TestReadPackLimits(t *testing.T) {
	r := newRepository(t)
	head := commit(t, r, gitserver.Change{Files: map[string]string{
		"README.md":    "read me",
		"data/big.bin": strings.Repeat("\x00", 3<<20),
		"z/last.txt":   "last",
	}})
	raw := pack(t, r)

	cases := map[string]struct {
		reason string
		limits ingest.PackLimits
		want   string
	}{
		"File": {
			reason: "The file is named, first of those that it may be.",
			limits: ingest.PackLimits{FileBytes: 1 << 20},
			want:   `read pack: one of "data/big.bin", "z/": the limit of 1048576 bytes per file is exceeded`,
		},
		"Pack": {
			reason: "The bytes on the wire are limited.",
			limits: ingest.PackLimits{Bytes: 100},
			want:   "the limit of 100 bytes per pack is exceeded",
		},
		"Inflated": {
			reason: "The inflated bytes are limited.",
			limits: ingest.PackLimits{Inflated: 1 << 20},
			want:   "the limit of 1048576 inflated bytes per pack is exceeded",
		},
		"Objects": {
			reason: "The number of objects is limited.",
			limits: ingest.PackLimits{Objects: 3},
			want:   "the limit of 3 objects per pack is exceeded",
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := ingest.ReadPack(t.Context(), bytes.NewReader(raw), t.TempDir(), head, tc.limits)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s\ngot:  %v\nwant: %s", tc.reason, err, tc.want)
			}
		})
	}
}

func TestReadPackNamesTheOnlyCandidate(t *testing.T) {
	r := newRepository(t)
	head := commit(t, r, gitserver.Change{Files: map[string]string{
		"a.txt": "a", "sub/sparse.img": strings.Repeat("\x00", 3<<20),
	}})

	_, err := ingest.ReadPack(t.Context(), bytes.NewReader(pack(t, r)), t.TempDir(), head, ingest.PackLimits{FileBytes: 1 << 20})

	want := `read pack: "sub/sparse.img": the limit of 1048576 bytes per file is exceeded`
	if diff := cmp.Diff(want, fmt.Sprint(err)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestReadPackMalformed(t *testing.T) {
	r := history(t)
	head := plumbing.NewHash(git(t, r, "rev-parse", "main"))
	raw := pack(t, r, "--delta-base-offset")
	flipped := bytes.Clone(raw)
	flipped[len(raw)/2] ^= 0xff

	cases := map[string]struct {
		reason string
		pack   []byte
	}{
		"Empty":     {reason: "Nothing is no pack."},
		"NoPack":    {reason: "Something else is no pack.", pack: []byte("<html>not found</html>")},
		"Truncated": {reason: "Half a pack is no pack.", pack: raw[:len(raw)/2]},
		"NoEnd":     {reason: "A pack ends with its checksum.", pack: raw[:len(raw)-20]},
		"Corrupt":   {reason: "Compressed data has a checksum.", pack: flipped},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if _, err := ingest.ReadPack(t.Context(), bytes.NewReader(tc.pack), t.TempDir(), head, ingest.PackLimits{}); err == nil {
				t.Error(tc.reason)
			}
		})
	}
}

func FuzzReadPack(f *testing.F) {
	// Made by hand: a commit of a tree of one file, and a delta.
	f.Add([]byte("PACK\x00\x00\x00\x02\x00\x00\x00\x00" + strings.Repeat("\x00", 20)))
	f.Add(handmadePack(f))

	f.Fuzz(func(t *testing.T, raw []byte) {
		limits := ingest.PackLimits{Bytes: 1 << 20, Inflated: 1 << 22, Objects: 1000, FileBytes: 1 << 20}

		p, err := ingest.ReadPack(t.Context(), bytes.NewReader(raw), t.TempDir(), plumbing.ZeroHash, limits)
		if err != nil {
			return
		}
		defer p.Close()

		if p.Bytes() > int64(len(raw)) {
			t.Errorf("%d bytes of %d", p.Bytes(), len(raw))
		}
	})
}

// handmadePack returns a pack of a blob and a delta of it.
func handmadePack(t testing.TB) []byte {
	t.Helper()

	var b bytes.Buffer
	b.WriteString("PACK\x00\x00\x00\x02\x00\x00\x00\x02")

	start := b.Len()
	b.WriteByte(3<<4 | 10)
	deflate(t, &b, "0123456789")

	distance := b.Len() - start
	delta := "\x0a\x08\x91\x02\x05\x03abc" // copy 5 bytes from 2, insert 3
	b.WriteByte(byte(6<<4 | len(delta)))
	b.WriteByte(byte(distance))
	deflate(t, &b, delta)
	b.WriteString(strings.Repeat("\x00", 20))

	return b.Bytes()
}

func deflate(t testing.TB, b *bytes.Buffer, content string) {
	t.Helper()

	w := zlib.NewWriter(b)
	if _, err := io.WriteString(w, content); err != nil {
		t.Fatal(err)
	}

	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestReadPackDelta(t *testing.T) {
	p, err := ingest.ReadPack(t.Context(), bytes.NewReader(handmadePack(t)), t.TempDir(), plumbing.ZeroHash, ingest.PackLimits{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()

	in, err := p.Open(t.Context(), plumbing.ComputeHash(plumbing.BlobObject, []byte("23456abc")))
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()

	if got, err := io.ReadAll(in); err != nil || string(got) != "23456abc" {
		t.Errorf("got %q, %v", got, err)
	}
}

// What a pack keeps in memory counts: small packs hold large trees.
func TestWeight(t *testing.T) {
	r := history(t)
	head := plumbing.NewHash(git(t, r, "rev-parse", "main"))

	p, err := ingest.ReadPack(t.Context(), bytes.NewReader(pack(t, r)), t.TempDir(), head, ingest.PackLimits{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()

	c, err := p.Commit(t.Context(), head)
	if err != nil {
		t.Fatal(err)
	}

	read := int64(0)

	err = p.Walk(t.Context(), c, ingest.WalkOptions{}, func(n ingest.Node) error {
		if n.Dir || n.Path != "dir/small.txt" {
			return nil
		}

		in, err := p.Open(t.Context(), n.Hash)
		if err != nil {
			return err
		}
		defer in.Close()

		read, err = io.Copy(io.Discard, in)

		return err
	})
	if err != nil {
		t.Fatal(err)
	}

	if least := p.Bytes() + read; read == 0 || p.Weight() < least {
		t.Errorf("the pack weighs %d, less than its file and what it has cached: %d", p.Weight(), least)
	}
}
