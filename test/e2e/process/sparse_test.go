package process

import (
	"bytes"
	"compress/zlib"
	"crypto/sha1" //nolint:gosec // Git's
	"encoding/binary"
	"encoding/hex"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/weir-dev/weir/test/gitserver"
)

// A file of 10 GiB of zeros. Its name in Git takes ten seconds to compute, and is always the same.
const (
	sparseSize = 10 << 30
	sparseID   = "1119181c4708377b56e8dedc83bba16a2ce4a254"
)

// addSparse puts the large file into the repository as Git would: a pack of 10 MB. It is put together from copies of one
// compressed piece, in no time, where Git would read and compress 10 GiB.
func addSparse(t *testing.T, repo *gitserver.Repository) {
	t.Helper()

	pack, checksum := sparsePack()
	id := must(hex.DecodeString(sparseID))(t)
	base := filepath.Join(repo.Dir, "objects", "pack", "pack-"+hex.EncodeToString(pack[len(pack)-sha1.Size:]))

	for name, content := range map[string][]byte{".pack": pack, ".idx": packIndex(id, checksum, pack)} {
		if err := os.WriteFile(base+name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// sparsePack returns a pack with the one object, and the object's checksum for the index.
func sparsePack() (pack []byte, checksum uint32) {
	var b bytes.Buffer

	b.WriteString("PACK")
	b.Write(binary.BigEndian.AppendUint32(nil, 2)) // version
	b.Write(binary.BigEndian.AppendUint32(nil, 1)) // objects

	start := b.Len()
	b.Write(objectHeader(3, sparseSize)) // a blob
	b.Write(zeros(sparseSize))

	checksum = crc32.ChecksumIEEE(b.Bytes()[start:])
	sum := sha1.Sum(b.Bytes()) //nolint:gosec // Git's
	b.Write(sum[:])

	return b.Bytes(), checksum
}

// objectHeader is the kind and the size of an object in a pack: four bits of the size, then seven each.
func objectHeader(kind byte, size uint64) []byte {
	header := []byte{kind<<4 | byte(size&0xf)}

	for size >>= 4; size > 0; size >>= 7 {
		header[len(header)-1] |= 0x80
		header = append(header, byte(size&0x7f))
	}

	return header
}

// zeros returns size zeros, compressed by zlib. What a flush leaves between two pieces is complete in itself, so the same
// piece can follow over and over.
func zeros(size uint64) []byte {
	const piece = 64 << 20

	var b bytes.Buffer

	w, _ := zlib.NewWriterLevel(&b, zlib.BestCompression) //nolint:errcheck // the level is known
	block := make([]byte, 1<<20)

	flushed := func() []byte {
		from := b.Len()
		for range piece / len(block) {
			_, _ = w.Write(block) //nolint:errcheck // to memory
		}

		_ = w.Flush() //nolint:errcheck // to memory

		return bytes.Clone(b.Bytes()[from:])
	}

	first, next := flushed(), flushed()
	out := slices.Concat(first, bytes.Repeat(next, int(size/piece)-1)) //nolint:gosec // a few
	out = append(out, 1, 0, 0, 0xff, 0xff)                             // the last block: stored, empty

	const base = 65521 // of Adler-32: with zeros, the first sum stays 1 and the second counts them

	return binary.BigEndian.AppendUint32(out, uint32(size%base)<<16|1) //nolint:gosec // below the base
}

// packIndex is the index, version 2, of a pack with one object.
func packIndex(id []byte, checksum uint32, pack []byte) []byte {
	index := []byte{0xff, 't', 'O', 'c', 0, 0, 0, 2}

	for first := range 256 {
		count := uint32(0)
		if first >= int(id[0]) {
			count = 1
		}

		index = binary.BigEndian.AppendUint32(index, count)
	}

	index = append(index, id...)
	index = binary.BigEndian.AppendUint32(index, checksum)
	index = binary.BigEndian.AppendUint32(index, 12) // where the object is
	index = append(index, pack[len(pack)-sha1.Size:]...)
	sum := sha1.Sum(index) //nolint:gosec // Git's

	return append(index, sum[:]...)
}

// TestSparse shows that Git takes the crafted pack for what it is.
func TestSparse(t *testing.T) {
	repos := must(gitserver.NewRepositories(t.TempDir()))(t)
	repo := must(repos.Create(t.Context(), "sparse"))(t)
	addSparse(t, repo)

	if got := must(repo.Git(t.Context(), "cat-file", "-s", sparseID))(t); got != "10737418240" {
		t.Errorf("git says that the file has %s bytes", got)
	}

	// The whole of a small one, which takes no time.
	r := must(zlib.NewReader(bytes.NewReader(zeros(3 << 26))))(t)

	var content bytes.Buffer
	if _, err := content.ReadFrom(r); err != nil || content.Len() != 3<<26 || len(bytes.Trim(content.Bytes(), "\x00")) > 0 {
		t.Errorf("the stream holds %d bytes, error %v", content.Len(), err)
	}
}

// treeEntry is an entry of a tree: a file with its name and its object.
func treeEntry(t *testing.T, name, id string) []byte {
	t.Helper()

	return append([]byte("100644 "+name+"\x00"), must(hex.DecodeString(id))(t)...)
}
